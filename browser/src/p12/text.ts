/** Octets in a text: PEM, Base64, hexadecimal and decimal numbers, and what mail and programs do to them on the way. */
import { BerError, parseFirst } from "../ber.ts";
import type { Bytes } from "../der.ts";
import { modern } from "./modern.ts";
import type { Block } from "./wrapped.ts";

/** UTF-16 where its mark says so (PowerShell's `>`) or every other octet is zero, else UTF-8; without the mark. */
export function textOf(file: Uint8Array): string {
  if (file[0] === 0xff && file[1] === 0xfe) return new TextDecoder("utf-16le").decode(file);
  if (file[0] === 0xfe && file[1] === 0xff) return new TextDecoder("utf-16be").decode(file);
  const zeros = (rest: number): boolean =>
    file.length > 3 && file.subarray(0, 64).every((octet, i) => (octet === 0) === (i % 2 === rest));
  return new TextDecoder(zeros(1) ? "utf-16le" : zeros(0) ? "utf-16be" : "utf-8").decode(file);
}

const character = (_whole: string, ...codes: readonly (string | undefined)[]): string => {
  const [sixteen, ten] = codes;
  return sixteen === undefined ? String.fromCharCode(Number(ten)) : String.fromCharCode(Number.parseInt(sixteen, 16));
};

/** What carriers make of a text, and how it was before: each on its own, the first in which something is found counts. */
const CARRIERS: readonly ((text: string) => string)[] = [
  (text) => text,
  // Invisible signs and full-width letters.
  (text) => text.normalize("NFKC").replace(/\p{Cf}/gu, ""),
  // A mail that is quoted in an answer.
  (text) => text.replace(/^(?:[ \t]*[>|])+/gm, ""),
  // Quoted-printable.
  (text) => text.replace(/=\r?\n/g, "").replace(/=([0-9A-F]{2})/g, character),
  // JSON, addresses, forms, XML and HTML, and the source text of programs.
  (text) =>
    text
      .replace(/\\u([0-9a-f]{4})|&#(\d+);/gi, character)
      .replace(/%([0-9a-f]{2})/gi, character)
      .replace(/&#x([0-9a-f]+);/gi, character)
      .replace(/\\[rnt]|\\\r?\n|<[^<>]*>/g, "\n")
      .replace(/\\\//g, "/")
      .replace(/["'][\s+.&,_]*["']/g, "\n"),
];

const readings = (text: string): readonly string[] => [...new Set(CARRIERS.map((undo) => undo(text)))];

/** The blocks of a PEM text, under their labels; octets that cannot be read are none. */
export function blocksOf(text: string): readonly Block[] {
  for (const reading of readings(text)) {
    const found = [...reading.matchAll(/-----BEGIN ([A-Z0-9# ]+)-----((?:(?!-----BEGIN)[\s\S])*?)-----END \1-----/gi)];
    const blocks = found.map(([, label = "", body = ""]) => block(label.toUpperCase(), body));
    if (blocks.some((each) => each.octets.length > 0)) return blocks;
  }
  const label = /-----BEGIN ([A-Z0-9# ]+)-----/i.exec(text)?.[1];
  return label === undefined || /PFX|PKCS ?#?12/i.test(label) ? [] : [{ label, octets: new Uint8Array(0) }];
}

function block(label: string, body: string): Block {
  const octets = base64(body.replace(/^[\w-]+:.*$/gm, "")) ?? new Uint8Array(0);
  // The old way to encrypt a PEM text stands in its headers, and is not read here.
  if (/^Proc-Type:.*ENCRYPTED/m.test(body) || !/^(EC|RSA) PRIVATE KEY$/.test(label)) return { label, octets };
  const key = renewed(octets);
  return key === null ? { label, octets } : { label: "PRIVATE KEY", octets: key };
}

function renewed(octets: Bytes): Bytes | null {
  try {
    return modern(parseFirst(octets));
  } catch (error) {
    if (error instanceof BerError) return null;
    throw error;
  }
}

/** Whatever octets the text may mean, the likeliest first; of a text in a text, those of the inner one. */
export function octetsIn(text: string): readonly Bytes[] {
  return readings(text).flatMap((reading) =>
    [...hexadecimal(reading), ...decimal(reading), ...runs(reading)].flatMap((octets) => {
      if (octets[0] === 0x30) return [octets];
      const inner = /^(MI|-----BEGIN )/.exec(textOf(octets.subarray(0, 16)));
      return inner === null ? [] : innerOf(textOf(octets));
    }),
  );
}

/** Kubernetes keeps Base64 of whatever it was given. */
const innerOf = (text: string): readonly Bytes[] => [...blocksOf(text).map((each) => each.octets), ...runs(text)];

/** Base64 of a long SEQUENCE, or of a text that holds it: the whole text, or its runs, the longest first. */
function runs(text: string): readonly Bytes[] {
  const bare = text.replace(/^data:[^,]*;base64,/, "");
  const found = bare.match(/\b(?:MI|TUl|LS0t)[A-Za-z0-9+/_-][A-Za-z0-9+/_=\s-]{200,}/g) ?? [];
  return [bare, ...[...found].sort((a, b) => b.length - a.length)]
    .map((run, i) => (i === 0 ? base64(run) : base64(run, true)))
    .filter((octets) => octets !== null);
}

/** null for what is no Base64. What follows its end is left out where words may follow. */
function base64(text: string, words = false): Bytes | null {
  const letters = text
    .replace(/\s/g, "")
    .replace(/-/g, "+")
    .replace(/_/g, "/")
    .replace(words ? /=.*/ : /=+$/, "");
  if (letters === "" || !/^[A-Za-z0-9+/]*$/.test(letters)) return null;
  const spare = letters.length % 4 === 1 ? 1 : 0;
  if (spare === 1 && !words) return null;
  return Uint8Array.from(atob(letters.slice(0, letters.length - spare)), (one) => one.charCodeAt(0));
}

/** The whole text, the columns of a dump, or a long run that begins as a long SEQUENCE does. */
function hexadecimal(text: string): readonly Bytes[] {
  const run = /(?<![0-9a-z])(?:0x|\\x)?30[\s:,;-]*(?:0x|\\x)?8[0-4](?:[\s:,;-]*(?:0x|\\x)?[0-9a-f]{2}){100,}/i.exec(
    text,
  )?.[0];
  return [text, dumped(text), run ?? ""].map(pairs).filter((octets) => octets.length > 0);
}

function pairs(text: string): Bytes {
  const digits = text.replace(/0x|\\x|[\s:,;%-]/gi, "");
  if (!/^([0-9a-f]{2})+$/i.test(digits)) return new Uint8Array(0);
  const octets = Uint8Array.from(digits.match(/../g) ?? [], (pair) => Number.parseInt(pair, 16));
  // `hexdump` and `od` write numbers of two octets, the lower one last.
  if (octets[1] !== 0x30 || (octets[0] ?? 0) < 0x80) return octets;
  return octets.map((octet, i) => octets[i ^ 1] ?? octet);
}

/** The columns of a dump, without its addresses and the characters at its end. */
function dumped(text: string): string {
  const lines = text.matchAll(
    /^[0-9a-f]{4,}:?[ \t]+((?:[0-9a-f]{2}[ \t]{1,2}){0,15}[0-9a-f]{2}|(?:[0-9a-f]{4} ){0,7}[0-9a-f]{2,4})(?:[ \t].*)?\r?$/gim,
  );
  return [...lines].map(([, columns = ""]) => columns).join("\n");
}

/** A list of numbers, as programs write arrays; Java's are between -128 and 127. */
function decimal(text: string): readonly Bytes[] {
  const list = /(?:-?\b\d{1,3}\s*[,;]\s*){100,}-?\d{1,3}/.exec(text)?.[0];
  return list === undefined ? [] : [Uint8Array.from(list.split(/[,;]/), (number) => Number(number) & 0xff)];
}
