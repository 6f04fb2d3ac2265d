/**
 * The code in whatever a keyboard inserted or a clipboard held: full-width and Arabic digits, Zhuyin signs, a whole
 * message. The server reads it in the same way (`stepup/typed.py`); both are held to `tests/vectors/codes.json`.
 */
import { plainDigits } from "./digits.ts";
import { latinOf } from "./zhuyin.ts";

/** The keys under Zhuyin signs, narrow digits of any script, nothing invisible, and no key drawn around a digit. */
export function folded(typed: string): string {
  return plainDigits((latinOf(typed) ?? typed).normalize("NFKC").replace(/\p{Cf}|\ufe0f|\u20e3/gu, ""));
}

/** A folded text without spaces and dashes. */
export const bare = (text: string): string => text.replace(/[\s\u2010-\u2015\u2212-]/g, "");

const LABEL = /(?:驗證碼|验证码|認證碼|動態密碼|簡訊碼|\bcode\b|\bOTP\b|\bPIN\b)[^0-9\n]{0,24}/gi;

/** The code of so many digits; null where there is none, or more than one may be meant. The steps are the server's. */
export function codeIn(typed: string, digits: number): string | null {
  const text = folded(typed);
  const whole = bare(text);
  if (/^[0-9]+$/.test(whole) && whole.length === digits) return whole;
  const number = `(?<![0-9])(?<![0-9]\\.)[0-9]{${digits}}(?!\\.?[0-9])`;
  const grouped = `(?<![0-9])(?<![0-9][ .\\-])[0-9](?:[ \\-]?[0-9]){${digits - 1}}(?![ .\\-]?[0-9])`;
  const found = all(text, number);
  const named = new Set<string>();
  for (const label of text.matchAll(LABEL)) {
    const after = new RegExp(number, "y");
    after.lastIndex = label.index + label[0].length;
    const match = after.exec(text);
    if (match !== null) named.add(match[0]);
  }
  const spaced = new Set([...all(text, grouped)].map((each) => each.replace(/[ -]/g, "")));
  for (const candidates of [found, named, spaced]) {
    const [only] = candidates;
    if (candidates.size === 1 && only !== undefined) return only;
  }
  return null;
}

/** How many numbers of that length there are in it. */
export const codesIn = (typed: string, digits: number): number =>
  all(folded(typed), `(?<![0-9])[0-9]{${digits}}(?![0-9])`).size;

const all = (text: string, pattern: string): Set<string> =>
  new Set([...text.matchAll(new RegExp(pattern, "g"))].map(([each]) => each));
