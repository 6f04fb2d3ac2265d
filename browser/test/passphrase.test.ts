import { describe, expect, test } from "vitest";
import { GENERATED_BITS, generatePassphrase, judge } from "../src/passphrase.ts";

describe("a generated pass-phrase", () => {
  test("has five groups of four, passes its own judgement and carries at least 80 bits", () => {
    const made = generatePassphrase();
    expect(made).toMatch(/^([acdefhjkmnprtuvwxy3467]{4}-){4}[acdefhjkmnprtuvwxy3467]{4}$/);
    expect(judge(made)).toEqual([]);
    expect(GENERATED_BITS).toBeGreaterThanOrEqual(80);
  });

  test("gives each character the same share of the octets, and draws the rest again", () => {
    const shares = new Map<string, number>();
    for (let octet = 0; octet < 242; octet++) {
      const character = generatePassphrase(() => Uint8Array.of(octet)).charAt(0);
      shares.set(character, (shares.get(character) ?? 0) + 1);
    }
    expect([...shares.values()]).toEqual(Array.from({ length: 22 }, () => 11));
    // 256 = 11 * 22 + 14: the 14 highest octets give nothing, 241 gives the last character of the alphabet
    expect(generatePassphrase(() => Uint8Array.of(255, 242, 241, 0))).toBe("7a7a-7a7a-7a7a-7a7a-7a7a");
  });
});

describe("a chosen pass-phrase", () => {
  test.each([
    ["eleven-char", "too-short"],
    ["憑證密碼憑證密碼", "not-printable-ascii"],
    ["naïve-word-here", "not-printable-ascii"],
    ["tab\there-and-on", "not-printable-ascii"],
    [" word and word", "edge-space"],
    ["x".repeat(30) + "abcdefghijk".repeat(4), "too-long"],
    ["A123456789", "national-id"],
    ["a123456789", "national-id"],
    ["A800000014", "national-id"],
    ["AC01234567", "national-id"],
    ["A123456789A123456789", "national-id"],
    ["1979-01-31", "birth-date"],
    ["19790131", "birth-date"],
    ["31/01/1979", "birth-date"],
    ["079.01.31", "birth-date"],
    ["0912-345-678", "phone"],
    ["+886912345678", "phone"],
    ["02-2345-6789", "phone"],
    ["F014000-1234567", "account"],
    ["9A95-1234567", "account"],
    ["8002-0123456", "account"],
    ["00501503", "account"],
    ["aaaaaaaaaa", "too-simple"],
    ["abcdefghij", "too-simple"],
    ["87654321", "too-simple"],
  ])("%s is refused: %s", (passphrase, reason) => {
    expect(judge(passphrase)).toContain(reason);
  });

  test("that contains what the page knows of the customer is refused", () => {
    expect(judge("my-f0140001234567!", { known: ["F014000-1234567"] })).toContain("known-fact");
  });

  test.each(["correct horse battery", "Tea.for.2.people", "p4ss-phrase-of-mine"])("%s is fit", (passphrase) => {
    expect(judge(passphrase, { known: ["F014000-1234567"] })).toEqual([]);
  });
});
