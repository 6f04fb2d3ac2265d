/** Files that hold a certificate file in another form, and what else customers choose. Loaded only when met. */
import { BerError, is, type Node, oidOf, parseFirst, UNIVERSAL } from "../ber.ts";
import { readCertificate } from "../certificate.ts";
import type { Bytes } from "../der.ts";
import { modern } from "./modern.ts";
import { OID, P12Error } from "./names.ts";
import { isPfx } from "./pfx.ts";
import { blocksOf, octetsIn, textOf } from "./text.ts";

/** A key or a certificate, under the label that it has in a PEM text. */
export interface Block {
  readonly label: string;
  readonly octets: Bytes;
}

/** DER or BER of what the file is: a PFX, or the certificates and keys of a PEM text. */
export type FileContent = { readonly pfx: Node } | { readonly blocks: readonly Block[] };

/** Certificates alone. */
const BUNDLES = new Set(["PKCS7", "PKCS #7 SIGNED DATA", "CMS"]);
const PARTS = /^(CERTIFICATE|X509 CERTIFICATE|TRUSTED CERTIFICATE|PRIVATE KEY|ENCRYPTED PRIVATE KEY)$/;

/** How the formats begin that are taken for a certificate file, in hexadecimal digits. */
const FORMATS: readonly (readonly [RegExp, string])[] = [
  [/^feedfeed/, "Java KeyStore (JKS)"],
  [/^cececece/, "Java KeyStore (JCEKS)"],
  [/^0000000[12]00000014/, "BouncyCastle KeyStore (BKS)"],
  [/^1f8b/, "gzip"],
  [/^425a68/, "bzip2"],
  [/^fd377a585a/, "xz"],
  [/^504b0304/, "ZIP"],
  [/^377abcaf/, "7-Zip"],
  [/^52617221/, "RAR"],
  [/^4d534346/, "CAB"],
  [/^6b796368/, "macOS Keychain"],
  [/^62706c697374/, "macOS property list"],
  [/^0005160[07]/, "macOS AppleDouble"],
  [/^4c00000001/, "Windows shortcut"],
  [/^4d5a[^2-7]/, "Windows program"],
  [/^1ef1b5b0/, "Windows private key (PVK)"],
  [/^789f3e22/, "Outlook winmail.dat"],
  [/^d0cf11e0/, "Microsoft Office"],
  [/^53514c697465/, "SQLite"],
  [/^(00061561|61150600)/, "Berkeley DB (cert8.db)"],
  [/^25504446/, "PDF"],
  [/^7b5c727466/, "RTF"],
  [/^47494638/, "GIF"],
  [/^89504e47/, "PNG"],
  [/^ffd8ff/, "JPEG"],
  [/^52494646.{8}57454250/, "WebP"],
  [/^.{8}66747970/, "HEIC / MP4"],
];

/** How the texts begin that are no certificate file. */
const TEXTS: readonly (readonly [RegExp, string])[] = [
  [/^(ssh-|ecdsa-sha2-|sk-ssh-|sk-ecdsa-|---- BEGIN SSH2)/, "SSH"],
  [/^PuTTY-User-Key-File/, "PuTTY"],
  [/^\{[\s\S]*"kty"\s*:/, "JSON Web Key (JWK)"],
  [/^\[InternetShortcut\]/, "Windows shortcut"],
  [/^[[{]/, "JSON"],
];

/** What stands before a file that went through a text: a mark, line ends and spaces. */
const SPACES: ReadonlySet<number> = new Set([0xef, 0xbb, 0xbf, 9, 10, 13, 0x20]);

/**
 * What the file holds, whatever text it is wrapped in and whatever stands around it. P12Error "empty-file",
 * "other-format" with the name of a format that was recognised, "web-page", "cut-short", "changed-as-text", "no-key" for
 * a certificate alone, "malformed" for anything else.
 */
export function contentOf(file: Uint8Array): FileContent {
  // A disk that was full, or a cloud that has not sent the content yet, leaves zeros.
  if (file.every((octet) => octet === 0 || SPACES.has(octet))) throw new P12Error("empty-file");
  const start = Array.from(file.subarray(0, 12), (octet) => octet.toString(16).padStart(2, "0")).join("");
  const format = FORMATS.find(([magic]) => magic.test(start));
  if (format !== undefined) throw new P12Error("other-format", format[1]);
  const begins = file.findIndex((octet) => !SPACES.has(octet));
  // "0" may begin a text as well.
  const found = file[begins] === 0x30 && !isText(file) ? binary(file.subarray(begins)) : textual(textOf(file));
  if (!(found instanceof P12Error)) return found;
  const pfx = within(file);
  if (pfx === null) throw found;
  return { pfx };
}

const isText = (file: Uint8Array): boolean =>
  file.every((octet) => octet === 9 || octet === 10 || octet === 13 || (octet >= 0x20 && octet < 0x7f)) ||
  file.subarray(0, 64).every((octet, i) => (octet === 0) === (i % 2 === 1));

function binary(file: Uint8Array): FileContent | P12Error {
  try {
    return contentIn(parseFirst(file));
  } catch (cause) {
    if (cause instanceof P12Error) return cause;
    if (!(cause instanceof BerError)) throw cause;
    const was = before(file);
    const pfx = was instanceof P12Error ? null : within(was);
    if (pfx !== null) return { pfx };
    if (was instanceof P12Error) return was;
    return new P12Error(cause.message === "cut short" ? "cut-short" : "malformed", null, { cause });
  }
}

/** The octets before a program took them for text; "changed-as-text" where that has lost some of them. */
function before(file: Uint8Array): Bytes | P12Error {
  // A transfer "as text" made CR LF of each LF.
  const ends = file.filter((octet, i) => octet === 10 && file[i - 1] === 13).length;
  if (ends > 2 && ends === file.filter((octet) => octet === 10).length)
    return Uint8Array.from(file.filter((octet, i) => octet !== 13 || file[i + 1] !== 10));
  try {
    return narrowed(new TextDecoder("utf-8", { fatal: true }).decode(file));
  } catch (error) {
    if (!(error instanceof TypeError)) throw error; // not UTF-8, as is usual
    return new Uint8Array(file);
  }
}

/** One octet of each character, as it was before each octet was taken for a character. */
const narrowed = (text: string): Bytes | P12Error =>
  /[^\0-\xff]/.test(text)
    ? new P12Error("changed-as-text")
    : Uint8Array.from(text, (character) => character.charCodeAt(0));

/** A PFX with something before it: the headers of an answer or an attachment, an archive that does not compress. */
function within(file: Uint8Array): Node | null {
  for (let at = file.indexOf(0x30); at !== -1; at = file.indexOf(0x30, at + 1)) {
    const length = file[at + 1] ?? 0;
    const inside = at + 2 + (length > 0x80 ? length & 0x7f : 0);
    // An INTEGER 3, then a SEQUENCE.
    if (length < 0x80 || length > 0x84 || ![2, 1, 3, 0x30].every((octet, i) => file[inside + i] === octet)) continue;
    try {
      const node = parseFirst(file.subarray(at));
      if (isPfx(node)) return node;
    } catch (error) {
      if (!(error instanceof BerError)) throw error;
    }
  }
  return null;
}

function contentIn(node: Node): FileContent {
  if (isPfx(node)) return { pfx: node };
  const [first, second, third] = node.children;
  if (is(first, UNIVERSAL.integer) && is(second, UNIVERSAL.sequence) && is(third, UNIVERSAL.octetString)) {
    return { blocks: [{ label: "PRIVATE KEY", octets: node.raw }] };
  }
  if (is(first, UNIVERSAL.sequence) && is(second, UNIVERSAL.octetString) && third === undefined) {
    return { blocks: [{ label: "ENCRYPTED PRIVATE KEY", octets: node.raw }] };
  }
  const old = modern(node);
  if (old !== null) return { blocks: [{ label: "PRIVATE KEY", octets: old }] };
  throw kindOf(node);
}

/** What a value of DER is that holds no key. */
function kindOf(node: Node): P12Error {
  const [first, second, third] = node.children;
  const within = first?.children ?? [];
  const named = (format: string): P12Error => new P12Error("other-format", format);
  if (is(first, UNIVERSAL.oid))
    return oidOf(first) === OID.signedData ? new P12Error("no-key") : named("CMS / PKCS #7");
  if (is(second, UNIVERSAL.bitString)) return named("PUBLIC KEY");
  if (third === undefined && is(second, UNIVERSAL.sequence) && is(within[1], UNIVERSAL.octetString))
    return named("BouncyCastle KeyStore (BCFKS)");
  // Something that is signed.
  if (!is(second, UNIVERSAL.sequence) || !is(third, UNIVERSAL.bitString)) return new P12Error("malformed");
  if (isCertificate(node)) return new P12Error("no-key");
  return named(is(within[0], UNIVERSAL.integer) && is(within[3], 0, "context") ? "CERTIFICATE REQUEST" : "X509 CRL");
}

function isCertificate(node: Node): boolean {
  try {
    readCertificate(node.raw);
    return true;
  } catch (error) {
    if (error instanceof BerError) return false;
    throw error;
  }
}

function textual(text: string): FileContent | P12Error {
  // Each octet has become a character.
  if (/^0[\x80-\u{10ffff}]/u.test(text)) {
    const was = narrowed(text);
    return was instanceof P12Error ? was : binary(was);
  }
  const blocks = blocksOf(text);
  const faults: P12Error[] = [];
  for (const octets of [...blocks.map((block) => block.octets), ...octetsIn(text)]) {
    const found = octets[0] === 0x30 ? binary(octets) : null;
    if (found instanceof P12Error) faults.push(found);
    else if (found !== null && ("pfx" in found || blocks.length === 0)) return found;
  }
  if (blocks.length > 0) return parts(blocks);
  const [fault = new P12Error("malformed")] = faults;
  if (fault.code !== "malformed") return fault;
  const other = TEXTS.find(([begin]) => begin.test(text.trim()));
  if (other !== undefined) return new P12Error("other-format", other[1]);
  return /^\s*<(!|\?|[a-z])/i.test(text) ? new P12Error("web-page") : fault;
}

function parts(blocks: readonly Block[]): FileContent | P12Error {
  const useful = blocks.filter((block) => PARTS.test(block.label));
  const [first] = blocks;
  if (first !== undefined && useful.length === 0 && BUNDLES.has(first.label)) return new P12Error("no-key");
  if (useful.length === 0) return new P12Error("other-format", first?.label ?? null);
  if (!useful.some((block) => block.label.endsWith("PRIVATE KEY"))) {
    const legacy = blocks.find((block) => block.label.endsWith("PRIVATE KEY"));
    return legacy === undefined ? new P12Error("no-key") : new P12Error("other-format", legacy.label);
  }
  return { blocks: useful };
}
