import { expect, test } from "vitest";
import { fromBase64Url, toBase64Url } from "../src/base64.ts";

// RFC 4648 s.10, without the padding (s.3.2)
test.each([
  ["", ""],
  ["f", "Zg"],
  ["fo", "Zm8"],
  ["foo", "Zm9v"],
  ["foobar", "Zm9vYmFy"],
])("base64url of %j is %j", (text, encoded) => {
  expect(toBase64Url(new TextEncoder().encode(text))).toBe(encoded);
  expect(new TextDecoder().decode(fromBase64Url(encoded))).toBe(text);
});

// RFC 4648 s.5: 62 is "-", 63 is "_"
test("the alphabet is the one for addresses", () => {
  expect(toBase64Url(Uint8Array.of(0xfb, 0xef, 0xff))).toBe("--__");
  expect([...fromBase64Url("--__")]).toEqual([0xfb, 0xef, 0xff]);
});

test.each(["憑證", "a", "ab==", "a+b/"])("%j is no base64url: a TypeError", (text) => {
  expect(() => fromBase64Url(text)).toThrow(TypeError);
});
