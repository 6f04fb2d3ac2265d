/** What a customer may have meant by a pass-phrase: the keyboard, the clipboard and other computers change it. */
import { latinOf } from "../zhuyin.ts";

/** A pass-phrase as this portal makes them: 20 letters and digits in groups of four. */
const GENERATED = /^[acdefhjkmnprtuvwxy3467]{20}$/;

/**
 * The pass-phrases to try, each once: none at all, as it was typed, without spaces at its ends, full-width characters
 * narrow, composed and decomposed, the keys under a Zhuyin keyboard, and for one of ours small letters with and
 * without hyphens.
 */
export function meant(typed: string): readonly string[] {
  const narrow = typed.normalize("NFKC");
  const tried = [
    "",
    typed,
    typed.trim(),
    narrow,
    narrow.trim(),
    typed.normalize("NFC"),
    typed.normalize("NFD"),
    latinOf(typed) ?? typed,
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
