/** Files that hold a certificate file in another form: Base64, PEM or hexadecimal text; and what else customers choose. */
import { BerError, is, members, oidOf, parseFirst, UNIVERSAL, type Node } from "../ber.ts";
import * as der from "../der.ts";
import type { Bytes } from "../der.ts";
import { OID, P12Error } from "./names.ts";

/** A block of a PEM text. */
interface Block {
  readonly label: string;
  readonly octets: Bytes;
}

/** DER or BER of what the file is: a PFX, or the certificates and keys of a PEM text. */
export type FileContent = { readonly pfx: Node } | { readonly blocks: readonly Block[] };

const PFX_LABELS = new Set(["PKCS12", "PFX", "PKCS #12"]);
/** Certificates alone. */
const BUNDLES = new Set(["PKCS7", "PKCS #7 SIGNED DATA", "CMS"]);
const PARTS = /^(CERTIFICATE|X509 CERTIFICATE|TRUSTED CERTIFICATE|PRIVATE KEY|ENCRYPTED PRIVATE KEY)$/;

/** How the formats begin that are taken for a certificate file. */
const FORMATS: readonly (readonly [string, string])[] = [
  ["feedfeed", "Java KeyStore (JKS)"],
  ["0000000100000014", "BouncyCastle KeyStore (BKS)"],
  ["0000000200000014", "BouncyCastle KeyStore (BKS)"],
  ["1f8b", "gzip"],
  ["6b796368", "macOS Keychain"],
  ["62706c697374", "macOS property list"],
  ["4c000000", "Windows shortcut"],
  ["53514c697465", "SQLite"],
  ["47494638", "GIF"],
  ["7b5c727466", "RTF"],
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
 * What the file holds, whatever text it is wrapped in and whatever stands around it. P12Error "empty-file",
 * "other-format" with the name of a format that was recognised, "web-page", "cut-short", "changed-as-text", "no-key" for
 * a certificate alone, "malformed" for anything else.
 */
export function contentOf(file: Uint8Array): FileContent {
  // A disk that was full, or a cloud that has not sent the content yet, leaves zeros.
  if (file.every((octet) => octet === 0)) throw new P12Error("empty-file");
  const start = Array.from(file.subarray(0, 8), (octet) => octet.toString(16).padStart(2, "0")).join("");
  const format = FORMATS.find(([magic]) => start.startsWith(magic));
  if (format !== undefined) throw new P12Error("other-format", format[1]);
  const begins = file.findIndex((octet) => !SPACES.has(octet));
  if (file[begins] === 0x30 && !isText(file)) return binary(file.subarray(begins)); // "0" may begin a text as well
  return textual(textOf(file));
}

/** What stands before a file that went through a text: a mark, line ends and spaces. */
const SPACES: ReadonlySet<number> = new Set([0xef, 0xbb, 0xbf, 9, 10, 13, 0x20]);

function binary(file: Uint8Array): FileContent {
  try {
    return contentIn(parseFirst(file));
  } catch (cause) {
    if (!(cause instanceof BerError)) throw cause;
    throw new P12Error(
      changed(file) ? "changed-as-text" : cause.message === "cut short" ? "cut-short" : "malformed",
      null,
      { cause },
    );
  }
}

/** A program that took the octets for text has put U+FFFD for those that it did not understand. */
function changed(file: Uint8Array): boolean {
  let marks = 0;
  for (let i = 0; i + 2 < file.length; i++)
    if (file[i] === 0xef && file[i + 1] === 0xbf && file[i + 2] === 0xbd) marks++;
  return marks > 2;
}

function contentIn(node: Node): FileContent {
  const [first, second, third] = node.children;
  if (is(first, UNIVERSAL.integer) && is(second, UNIVERSAL.sequence) && is(third, UNIVERSAL.octetString)) {
    return { blocks: [{ label: "PRIVATE KEY", octets: node.raw }] };
  }
  if (is(first, UNIVERSAL.sequence) && is(second, UNIVERSAL.octetString) && third === undefined) {
    return { blocks: [{ label: "ENCRYPTED PRIVATE KEY", octets: node.raw }] };
  }
  const old = pkcs8From(node);
  if (old !== null) return { blocks: [{ label: "PRIVATE KEY", octets: old }] };
  if (isPfx(node)) return { pfx: node };
  if (isCertificate(node) || (is(first, UNIVERSAL.oid) && oidOf(first) === OID.signedData))
    throw new P12Error("no-key");
  throw new P12Error("malformed");
}

/** A version, then the content. */
const isPfx = (node: Node): boolean =>
  is(node, UNIVERSAL.sequence) && is(node.children[0], UNIVERSAL.integer) && is(node.children[1], UNIVERSAL.sequence);

/** Something that is signed: `SEQUENCE {SEQUENCE, SEQUENCE {OID}, BIT STRING}`. */
function isCertificate(node: Node): boolean {
  const [tbs, algorithm, signature] = node.children;
  return is(tbs, UNIVERSAL.sequence) && is(algorithm, UNIVERSAL.sequence) && is(signature, UNIVERSAL.bitString);
}

const isText = (file: Uint8Array): boolean =>
  widthOf(file) !== null ||
  file.every((octet) => octet === 9 || octet === 10 || octet === 13 || (octet >= 0x20 && octet < 0x7f));

/** Of a text in UTF-16 without a mark: every other octet is zero. */
function widthOf(file: Uint8Array): "utf-16le" | "utf-16be" | null {
  const zeros = (rest: number): boolean =>
    file.length > 3 && file.subarray(0, 64).every((octet, i) => (octet === 0) === (i % 2 === rest));
  if (zeros(1)) return "utf-16le";
  return zeros(0) ? "utf-16be" : null;
}

/** UTF-16 where its mark says so (PowerShell's `>`) or every other octet is zero, else UTF-8. */
function textOf(file: Uint8Array): string {
  if (file[0] === 0xff && file[1] === 0xfe) return new TextDecoder("utf-16le").decode(file);
  if (file[0] === 0xfe && file[1] === 0xff) return new TextDecoder("utf-16be").decode(file);
  return new TextDecoder(widthOf(file) ?? "utf-8").decode(file);
}

function textual(text: string): FileContent {
  const blocks = pem(text);
  const whole = blocks.find((block) => PFX_LABELS.has(block.label));
  if (whole !== undefined) return pfxOf(whole.octets);
  if (blocks.length > 0) return parts(blocks);
  const bare = text.replace(/^\ufeff/, "").replace(/^data:[^,]*;base64,/, "");
  const digits = hexadecimal(bare) ?? hexadecimal(dumped(bare));
  if (digits !== null) return pfxOf(digits);
  // In a message, a settings file or a web page: the longest run that begins as Base64 of a long SEQUENCE does.
  const runs = bare.match(/\bMI[A-Za-z0-9+/_-][A-Za-z0-9+/_=\s-]{200,}/g) ?? [];
  const [longest] = [...runs].sort((a, b) => b.length - a.length);
  try {
    return pfxOf(base64(bare));
  } catch (error) {
    if (!(error instanceof P12Error) || error.code !== "malformed") throw error;
    if (longest !== undefined) return pfxOf(base64(leading(longest)));
    throw /^\s*<(!doctype html|html|head|body|\?xml)/i.test(bare) ? new P12Error("web-page") : error;
  }
}

/** Of words after a Base64 text nothing is kept: it ends with a line that is shorter than the one before, or with "=". */
function leading(run: string): string {
  const ended = /^[^=]*={1,2}/.exec(run);
  if (ended !== null) return ended[0];
  const lines = run.split(/\r?\n/).map((line) => line.trim());
  const short = lines.findIndex((line, i) => i > 0 && line.length < (lines[0]?.length ?? 0));
  return short === -1 ? run : lines.slice(0, short + 1).join("");
}

/** null for a text that is not hexadecimal. */
function hexadecimal(text: string): Bytes | null {
  const digits = text.replace(/0x|\\x|[\s:,]/gi, "");
  if (!/^([0-9a-f]{2})+$/i.test(digits)) return null;
  return Uint8Array.from(digits.match(/../g) ?? [], (pair) => Number.parseInt(pair, 16));
}

/** The columns of a dump (`xxd`, `hexdump -C`), without its addresses and the characters at its end. */
function dumped(text: string): string {
  const lines = [
    ...text.matchAll(/^[0-9a-f]{6,}:?[ \t]+((?:[0-9a-f]{2,4}[ \t]{1,2})*[0-9a-f]{2,4})(?:[ \t]{2,}.*|[ \t]+\|.*)?$/gim),
  ];
  return lines.map(([, columns = ""]) => columns).join("\n");
}

function pem(text: string): readonly Block[] {
  const found = text.matchAll(/-----BEGIN ([A-Z0-9# ]+)-----([\s\S]*?)-----END \1-----/g);
  return [...found].map(([, label = "", body = ""]) => {
    const octets = base64(body.replace(/^[\w-]+:.*$/gm, ""));
    // The old way to encrypt a PEM text stands in its headers, and is not read here.
    const old = /^Proc-Type:.*ENCRYPTED/m.test(body) ? null : modern(label, octets);
    return old === null ? { label, octets } : { label: "PRIVATE KEY", octets: old };
  });
}

/** PKCS #8 of an older form of key, SEC 1 or PKCS #1; null for anything else, and for what cannot be read. */
function modern(label: string, octets: Bytes): Bytes | null {
  if (label !== "EC PRIVATE KEY" && label !== "RSA PRIVATE KEY") return null;
  try {
    return pkcs8From(parseFirst(octets));
  } catch (error) {
    if (error instanceof BerError) return null;
    throw error;
  }
}

function pkcs8From(key: Node): Bytes | null {
  const [version, secret, curve] = key.children;
  if (!is(version, UNIVERSAL.integer)) return null;
  const wrapped = (algorithm: Bytes): Bytes => der.sequence(der.integer(0), algorithm, der.octets(key.raw));
  if (is(secret, UNIVERSAL.integer) && key.children.length >= 9) return wrapped(der.algorithm(RSA, der.nil()));
  const name = is(curve, 0, "context") ? curve.children[0] : undefined;
  return is(secret, UNIVERSAL.octetString) && is(name, UNIVERSAL.oid) ? wrapped(der.algorithm(EC, name.raw)) : null;
}

const RSA = "1.2.840.113549.1.1.1";
const EC = "1.2.840.10045.2.1";

function parts(blocks: readonly Block[]): FileContent {
  const useful = blocks.filter((block) => PARTS.test(block.label));
  const [first] = blocks;
  if (first !== undefined && useful.length === 0 && BUNDLES.has(first.label)) throw new P12Error("no-key");
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
  if (octets[0] !== 0x30) throw new P12Error("malformed");
  return binary(octets);
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
