import { describe, expect, test } from "vitest";
import { BerError, octetsOf, oidOf, parse, small } from "../src/ber.ts";
import * as der from "../src/der.ts";

const bytes = (text: string) => Uint8Array.from(Buffer.from(text.replace(/ /g, ""), "hex"));

describe("der writes what X.690 says", () => {
  test.each([
    ["an object identifier (X.690 s.8.19.5)", der.oid("2.999.3"), "06 03 88 37 03"],
    ["the RSADSI arc", der.oid("1.2.840.113549"), "06 06 2a 86 48 86 f7 0d"],
    ["zero", der.integer(0), "02 01 00"],
    ["127", der.integer(127), "02 01 7f"],
    ["128 with a sign octet", der.integer(128), "02 02 00 80"],
    ["256", der.integer(256), "02 02 01 00"],
    ["unsigned octets without needless zeros", der.integer(bytes("00 00 80")), "02 02 00 80"],
    [
      "a time",
      der.generalizedTime(new Date("1992-07-22T13:21:00.300Z")),
      "18 0f 31 39 39 32 30 37 32 32 31 33 32 31 30 30 5a",
    ],
    ["UTF-8", der.utf8("憑"), "0c 03 e6 86 91"],
    ["a sorted SET OF", der.setOf(der.integer(2), der.nil(), der.integer(1)), "31 08 02 01 01 02 01 02 05 00"],
  ])("%s", (_what, written, expected) => {
    expect(der.hex(written)).toBe(expected.replace(/ /g, ""));
  });

  test("a length of 128 takes the long form, 127 the short one", () => {
    expect(der.hex(der.octets(new Uint8Array(127)).slice(0, 2))).toBe("047f");
    expect(der.hex(der.octets(new Uint8Array(128)).slice(0, 3))).toBe("048180");
    expect(der.hex(der.octets(new Uint8Array(256)).slice(0, 4))).toBe("04820100");
  });
});

describe("ber reads what other programs write", () => {
  test("a string in pieces of indefinite length is one string (X.690 s.8.7)", () => {
    expect(der.hex(octetsOf(parse(bytes("24 80 04 02 01 02 24 80 04 01 03 00 00 00 00"))))).toBe("010203");
  });

  test("an object identifier under 2.999", () => {
    expect(oidOf(parse(bytes("06 03 88 37 03")))).toBe("2.999.3");
  });

  test.each([
    ["a cut value", "30 05 02 01"],
    ["a child longer than its parent", "30 03 02 05 01 02 03 04 05"],
    ["octets after the end", "05 00 00"],
    ["a primitive of indefinite length", "04 80 00 00"],
    ["an open indefinite length", "30 80 05 00"],
    ["nothing", ""],
    ["a length that no number of 32 bits holds", "04 85 01 00 00 00 01 00"],
  ])("%s is refused", (_what, text) => {
    expect(() => parse(bytes(text))).toThrow(BerError);
  });

  test("very deep nesting is refused before the stack is", () => {
    expect(() => parse(Uint8Array.from({ length: 60_000 }, (_, i) => (i % 2 === 0 ? 0x30 : 0x80)))).toThrow(
      "nested too deeply",
    );
  });

  test.each(["02 01 80", "02 05 01 00 00 00 00", "02 00"])("the number %s is out of range", (text) => {
    expect(() => small(parse(bytes(text)))).toThrow(BerError);
  });
});
