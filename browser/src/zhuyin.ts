/** The keys under a standard (Da-Chien) Zhuyin keyboard: who types with it on gets signs instead of digits and letters. */

const SIGNS = "ㄅㄉˇˋㄓˊ˙ㄚㄞㄢㄦㄆㄊㄍㄐㄔㄗㄧㄛㄟㄣㄇㄋㄎㄑㄕㄘㄨㄜㄠㄤㄈㄌㄏㄒㄖㄙㄩㄝㄡㄥ";
const KEYS = "1234567890-qwertyuiopasdfghjkl;zxcvbnm,./";

const UNDER = new Map([...SIGNS].map((sign, i) => [sign, KEYS.charAt(i)]));

/** What the same keys write without Zhuyin; null when there is no Zhuyin sign in `typed`. */
export function latinOf(typed: string): string | null {
  const signs = [...typed];
  if (!signs.some((sign) => UNDER.has(sign))) return null;
  return signs.map((sign) => UNDER.get(sign) ?? sign).join("");
}
