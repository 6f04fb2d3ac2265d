/** What a customer may have meant by a pass-phrase: the keyboard, the clipboard and other computers change it. */
import { plainDigits } from "../digits.ts";
import { latinOf } from "../zhuyin.ts";

/** A pass-phrase as this portal makes them: 20 letters and digits in groups of four. */
const GENERATED = /^[acdefhjkmnprtuvwxy3467]{20}$/;

/** What a word processor or a telephone makes of the signs on the left. */
const DRESSED = [
  ["-", /[\u2010-\u2015\u2212]/g],
  ["'", /[\u2018-\u201b]/g],
  ['"', /[\u201c-\u201f\u300c-\u300f]/g],
] as const;

/** What a program took along from the file or the command that it read a pass-phrase from: line ends, a space, a mark. */
export const taken = (typed: string): readonly string[] =>
  typed === "" ? [] : [...["\r", "\n", "\r\n", " "].map((end) => typed + end), `\ufeff${typed}`];

/**
 * The pass-phrases to try, each once: none at all, as it was typed, without spaces at its ends, full-width characters
 * and foreign digits narrow, composed and decomposed, without what cannot be seen, with plain hyphens and quotation
 * marks or out of them, the keys under a Zhuyin keyboard, and for one of ours small letters with and without hyphens.
 */
export function meant(typed: string): readonly string[] {
  const narrow = plainDigits(typed.normalize("NFKC"));
  const plain = DRESSED.reduce(
    (text, [sign, dressed]) => text.replace(dressed, sign),
    typed.replace(/[\p{Cc}\p{Cf}]/gu, ""),
  );
  const tried = [
    "",
    typed,
    typed.trim(),
    narrow,
    narrow.trim(),
    typed.normalize("NFC"),
    typed.normalize("NFD"),
    latinOf(typed) ?? typed,
    plain.trim(),
    /^(["']).+\1$/.test(plain.trim()) ? plain.trim().slice(1, -1) : typed,
  ];
  const bare = narrow.toLowerCase().replace(/[\s\u2010-\u2015\u2212\u30fc\ufe63\uff0d_-]/g, "");
  if (GENERATED.test(bare)) tried.push((bare.match(/.{4}/g) ?? []).join("-"), bare);
  return [...new Set(tried)];
}

export type Slip = "full-width" | "zhuyin" | "capitals" | "spaces";

/** What is likely wrong with a pass-phrase that fits in none of these forms; null for nothing that can be seen. */
export function slipOf(typed: string): Slip | null {
  if (/[\u3105-\u312f\u02ca\u02c7\u02cb\u02d9]/.test(typed)) return "zhuyin";
  if (/[\uff01-\uff5e\u3000]/.test(typed)) return "full-width";
  if (/[A-Z]{3}/.test(typed) && !/[a-z]/.test(typed)) return "capitals";
  return typed.trim() === typed ? null : "spaces";
}
