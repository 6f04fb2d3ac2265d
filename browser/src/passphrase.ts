/** Pass-phrases for a key file: one made for the customer, and a judgement of one that the customer chose. */

/** Fills with octets from a cryptographic source. */
export type RandomOctets = (count: number) => Uint8Array;

const webRandom: RandomOctets = (count) => crypto.getRandomValues(new Uint8Array(count));

/** Lower case only, and none that is mistaken for another in print: no 0 o, 1 i l, 2 z, 5 s, 8 b, 9 g q. */
const ALPHABET = "acdefhjkmnprtuvwxy3467";
const GROUPS = 5;
const GROUP_LENGTH = 4;

/** Entropy of a generated pass-phrase in bits: 20 characters of 22. */
export const GENERATED_BITS = GROUPS * GROUP_LENGTH * Math.log2(ALPHABET.length);

/** `xxxx-xxxx-xxxx-xxxx-xxxx`, uniform over the alphabet: an octet past its last full multiple is drawn again. */
export function generatePassphrase(random: RandomOctets = webRandom): string {
  const fair = Math.floor(256 / ALPHABET.length) * ALPHABET.length;
  let drawn = "";
  while (drawn.length < GROUPS * GROUP_LENGTH) {
    for (const octet of random(32)) {
      if (octet < fair && drawn.length < GROUPS * GROUP_LENGTH) drawn += ALPHABET.charAt(octet % ALPHABET.length);
    }
  }
  return Array.from({ length: GROUPS }, (_, i) => drawn.slice(i * GROUP_LENGTH, (i + 1) * GROUP_LENGTH)).join("-");
}

export type PassphraseReason =
  | "too-short"
  | "too-long"
  | "not-printable-ascii"
  | "edge-space"
  | "national-id"
  | "birth-date"
  | "phone"
  | "account"
  | "known-fact"
  | "too-simple";

/** What the page already knows about the customer; a pass-phrase that contains one of them is refused. */
export interface PassphraseFacts {
  readonly known: readonly string[];
}

/** An empty list: fit. Else every reason, the most important first. */
export function judge(passphrase: string, facts: PassphraseFacts = { known: [] }): readonly PassphraseReason[] {
  const reasons: PassphraseReason[] = [];
  const bare = passphrase.replace(/[\s\-/.()+_:]/g, "").toUpperCase();
  if (!/^[\x20-\x7e]*$/.test(passphrase)) reasons.push("not-printable-ascii");
  if (passphrase.length < 12) reasons.push("too-short");
  if (passphrase.length > 64) reasons.push("too-long");
  if (passphrase !== passphrase.trim()) reasons.push("edge-space");
  const shape = shapeOf(bare);
  if (shape !== null) reasons.push(shape);
  if (facts.known.some((fact) => containsFact(bare, fact))) reasons.push("known-fact");
  if (new Set(passphrase.toLowerCase()).size < 5 || isRun(bare)) reasons.push("too-simple");
  return reasons;
}

function containsFact(bare: string, fact: string): boolean {
  const wanted = fact.replace(/[^0-9A-Za-z]/g, "").toUpperCase();
  return wanted.length >= 4 && bare.includes(wanted);
}

function shapeOf(bare: string): PassphraseReason | null {
  const once = bare.length % 2 === 0 && bare.slice(bare.length / 2) === bare.slice(0, bare.length / 2);
  if (once && bare.length >= 12) return shapeOf(bare.slice(bare.length / 2));
  if (/^[A-Z][A-D1289]\d{8}$/.test(bare)) return "national-id";
  if (/^(09\d{8}|(00)?8869\d{8}|0[2-8]\d{7,8})$/.test(bare)) return "phone";
  if (isDate(bare)) return "birth-date";
  if (/^[FOS]?\d{7,14}$/.test(bare) || /^[0-9A-Z]{4}\d{7}$/.test(bare)) return "account";
  return null;
}

/** Western YYYYMMDD or DDMMYYYY, or a ROC date of six or seven digits, with or without the words for it. */
function isDate(bare: string): boolean {
  const day = "(0[1-9]|[12]\\d|3[01])";
  const month = "(0[1-9]|1[0-2])";
  return [
    `(18|19|20)\\d\\d${month}${day}`,
    `${day}${month}(18|19|20)\\d\\d`,
    `(ROC|MG)?[01]?\\d\\d${month}${day}`,
  ].some((form) => new RegExp(`^${form}$`).test(bare));
}

/** The whole is one step repeated: 12345678, abcdefgh, 87654321. */
function isRun(bare: string): boolean {
  const steps = Array.from(
    { length: Math.max(bare.length - 1, 0) },
    (_, i) => bare.charCodeAt(i + 1) - bare.charCodeAt(i),
  );
  return steps.length > 0 && steps.every((step) => step === steps[0] && Math.abs(step) <= 1);
}
