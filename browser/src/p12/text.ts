/** Files that hold a certificate file in another form: Base64, PEM or hexadecimal text; and what else customers choose. */
import { BerError, is, members, oidOf, parseFirst, UNIVERSAL, type Node } from "../ber.ts";
import type { Bytes } from "../der.ts";
import { P12Error } from "./names.ts";

/** A block of a PEM text. */
interface Block {
  readonly label: string;
  readonly octets: Bytes;
}

/** DER or BER of what the file is: a PFX, or the certificates and keys of a PEM text. */
export type FileContent = { readonly pfx: Node } | { readonly blocks: readonly Block[] };

const PFX_LABELS = new Set(["PKCS12", "PFX", "PKCS #12"]);
const PARTS = /^(CERTIFICATE|X509 CERTIFICATE|TRUSTED CERTIFICATE|PRIVATE KEY|ENCRYPTED PRIVATE KEY)$/;

/** How the formats begin that are taken for a certificate file. */
const FORMATS: readonly (readonly [string, string])[] = [
  ["feedfeed", "Java KeyStore (JKS)"],
  ["cececece", "Java KeyStore (JCEKS)"],
  ["504b0304", "ZIP"],
  ["25504446", "PDF"],
  ["377abcaf", "7-Zip"],
  ["52617221", "RAR"],
  ["89504e47", "PNG"],
  ["ffd8ff", "JPEG"],
  ["d0cf11e0", "Microsoft Office"],
];

/**
 * What the file holds, whatever text it is wrapped in and whatever follows it. P12Error "empty-file", "other-format"
 * with the name of a format that was recognised, "no-key" for a certificate alone, "malformed" for anything else.
 */
export function contentOf(file: Uint8Array): FileContent {
  if (file.length === 0) throw new P12Error("empty-file");
  const start = Array.from(file.subarray(0, 4), (octet) => octet.toString(16).padStart(2, "0")).join("");
  const format = FORMATS.find(([magic]) => start.startsWith(magic));
  if (format !== undefined) throw new P12Error("other-format", format[1]);
  if (file[0] === 0x30) {
    const found = binary(file);
    if (found !== null) return found;
  }
  return textual(textOf(file));
}

function binary(file: Uint8Array): FileContent | null {
  try {
    const node = parseFirst(file);
    if (isPfx(node)) return { pfx: node };
    if (isCertificate(node)) throw new P12Error("no-key");
    throw new P12Error("malformed");
  } catch (cause) {
    if (!(cause instanceof BerError)) throw cause;
    if (isText(file)) return null; // "0" begins a hexadecimal text as well
    throw new P12Error("malformed", null, { cause });
  }
}

/** A version, then the content. */
const isPfx = (node: Node): boolean => is(node, UNIVERSAL.sequence) && is(node.children[0], UNIVERSAL.integer) && is(node.children[1], UNIVERSAL.sequence);

/** Something that is signed: `SEQUENCE {SEQUENCE, SEQUENCE {OID}, BIT STRING}`. */
function isCertificate(node: Node): boolean {
  const [tbs, algorithm, signature] = node.children;
  return is(tbs, UNIVERSAL.sequence) && is(algorithm, UNIVERSAL.sequence) && is(signature, UNIVERSAL.bitString);
}

const isText = (file: Uint8Array): boolean => file.every((octet) => octet === 9 || octet === 10 || octet === 13 || (octet >= 0x20 && octet < 0x7f));

/** UTF-16 where its mark says so (PowerShell's `>`), else one character an octet. */
function textOf(file: Uint8Array): string {
  if (file[0] === 0xff && file[1] === 0xfe) return new TextDecoder("utf-16le").decode(file);
  if (file[0] === 0xfe && file[1] === 0xff) return new TextDecoder("utf-16be").decode(file);
  return new TextDecoder("utf-8").decode(file);
}

function textual(text: string): FileContent {
  const blocks = pem(text);
  const whole = blocks.find((block) => PFX_LABELS.has(block.label));
  if (whole !== undefined) return pfxOf(whole.octets);
  if (blocks.length > 0) return parts(blocks);
  const bare = text.replace(/^\ufeff/, "").replace(/^data:[^,]*;base64,/, "");
  const digits = bare.replace(/0x|\\x|[\s:,]/gi, "");
  if (/^([0-9a-f]{2})+$/i.test(digits)) return pfxOf(Uint8Array.from(digits.match(/../g) ?? [], (pair) => Number.parseInt(pair, 16)));
  return pfxOf(base64(bare));
}

function pem(text: string): readonly Block[] {
  const found = text.matchAll(/-----BEGIN ([A-Z0-9# ]+)-----([\s\S]*?)-----END \1-----/g);
  return [...found].map(([, label = "", body = ""]) => ({ label, octets: base64(body.replace(/^[\w-]+:.*$/gm, "")) }));
}

function parts(blocks: readonly Block[]): FileContent {
  const useful = blocks.filter((block) => PARTS.test(block.label));
  const [first] = blocks;
  if (useful.length === 0) throw new P12Error("other-format", first?.label ?? null);
  if (!useful.some((block) => block.label.endsWith("PRIVATE KEY"))) {
    const legacy = blocks.find((block) => block.label.endsWith("PRIVATE KEY"));
    throw legacy === undefined ? new P12Error("no-key") : new P12Error("other-format", legacy.label);
  }
  return { blocks: useful };
}

function base64(text: string): Bytes {
  const letters = text.replace(/\s/g, "").replace(/-/g, "+").replace(/_/g, "/").replace(/=+$/, "");
  if (letters === "" || !/^[A-Za-z0-9+/]*$/.test(letters) || letters.length % 4 === 1) throw new P12Error("malformed");
  return Uint8Array.from(atob(letters), (character) => character.charCodeAt(0));
}

function pfxOf(octets: Bytes): FileContent {
  const found = octets[0] === 0x30 ? binary(octets) : null;
  if (found === null) throw new P12Error("malformed");
  return found;
}

/** The algorithm of a DER PKCS#8 in words, for a refusal. */
export function keyTypeOf(pkcs8: Uint8Array): string | null {
  const TYPES: Readonly<Record<string, string>> = {
    "1.2.840.10040.4.1": "DSA",
    "1.2.840.113549.1.1.1": "RSA",
    "1.2.840.113549.1.1.10": "RSA-PSS",
    "1.2.840.10045.2.1": "EC",
    "1.3.101.112": "Ed25519",
    "1.3.101.113": "Ed448",
  };
  try {
    const oid = oidOf(members(members(parseFirst(pkcs8))[1])[0]);
    return TYPES[oid] ?? oid;
  } catch (error) {
    if (error instanceof BerError) return null;
    throw error;
  }
}
