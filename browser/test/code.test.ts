/** The same cases as the server's: what a person reads as the code in it. */
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";
import { codeIn } from "../src/code.ts";
import { latinOf } from "../src/zhuyin.ts";

interface Cases {
  readonly digits: number;
  readonly cases: readonly { readonly typed: string; readonly code: string | null }[];
}

const vectors = JSON.parse(readFileSync(join(import.meta.dirname, "../../tests/vectors/codes.json"), "utf8")) as Cases;

test.each(vectors.cases)("$typed", ({ typed, code }) => {
  expect(codeIn(typed, vectors.digits)).toBe(code);
});

test("a code of eight digits is found as well", () => {
  expect(codeIn("驗證碼 1234 5678 有效", 8)).toBe("12345678");
  expect(codeIn("123456", 8)).toBeNull();
});

test("only Zhuyin signs are changed", () => {
  expect(latinOf("A1密")).toBeNull();
  expect(latinOf("ㄅA")).toBe("1A");
});
