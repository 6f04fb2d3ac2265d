/** Writes DER (X.690): each function returns one complete, definite-length value. */

export type Bytes = Uint8Array<ArrayBuffer>;

const TAG = {
  boolean: 0x01,
  integer: 0x02,
  bitString: 0x03,
  octetString: 0x04,
  null: 0x05,
  oid: 0x06,
  utf8String: 0x0c,
  generalizedTime: 0x18,
  bmpString: 0x1e,
  sequence: 0x30,
  set: 0x31,
} as const;

/** The parts, one after the other. */
export function concat(...parts: readonly Uint8Array[]): Bytes {
  const whole = new Uint8Array(parts.reduce((sum, part) => sum + part.length, 0));
  let at = 0;
  for (const part of parts) {
    whole.set(part, at);
    at += part.length;
  }
  return whole;
}

/** True when both hold the same octets. Not constant in time: for public values and checks of a local file. */
export function equal(a: Uint8Array, b: Uint8Array): boolean {
  return a.length === b.length && a.every((octet, i) => octet === b[i]);
}

/** Lower-case hex, two digits an octet. */
export function hex(bytes: Uint8Array): string {
  return Array.from(bytes, (octet) => octet.toString(16).padStart(2, "0")).join("");
}

function length(n: number): Uint8Array {
  if (n < 0x80) return Uint8Array.of(n);
  const octets: number[] = [];
  for (let rest = n; rest > 0; rest = Math.floor(rest / 256)) octets.unshift(rest % 256);
  return Uint8Array.of(0x80 | octets.length, ...octets);
}

/** One value with the given identifier octet and the contents in order. */
export function tlv(tag: number, ...contents: readonly Uint8Array[]): Bytes {
  const body = concat(...contents);
  return concat(Uint8Array.of(tag), length(body.length), body);
}

export const sequence = (...parts: readonly Uint8Array[]): Bytes => tlv(TAG.sequence, ...parts);

/** SET OF: the members sorted by their encodings (X.690 s.11.6). */
export function setOf(...parts: readonly Uint8Array[]): Bytes {
  return tlv(TAG.set, ...[...parts].sort(compare));
}

function compare(a: Uint8Array, b: Uint8Array): number {
  const shared = Math.min(a.length, b.length);
  for (let i = 0; i < shared; i++) {
    const difference = (a[i] ?? 0) - (b[i] ?? 0);
    if (difference !== 0) return difference;
  }
  return a.length - b.length;
}

/** A non-negative INTEGER from a number (at most 2^53 - 1) or from unsigned big-endian octets. */
export function integer(value: number | Uint8Array): Bytes {
  let octets = typeof value === "number" ? unsigned(value) : value;
  let zeros = 0;
  while (zeros < octets.length - 1 && octets[zeros] === 0) zeros++;
  octets = octets.subarray(zeros);
  const padded = octets.length === 0 || (octets[0] ?? 0) >= 0x80 ? concat(Uint8Array.of(0), octets) : octets;
  return tlv(TAG.integer, padded);
}

function unsigned(value: number): Uint8Array {
  if (!Number.isSafeInteger(value) || value < 0) throw new RangeError("integer: a safe non-negative number");
  const octets: number[] = [];
  for (let rest = value; rest > 0; rest = Math.floor(rest / 256)) octets.unshift(rest % 256);
  return Uint8Array.from(octets.length === 0 ? [0] : octets);
}

/** OBJECT IDENTIFIER from dotted decimal; arcs below 2^53. */
export function oid(dotted: string): Bytes {
  const [first, second, ...rest] = dotted.split(".").map(Number);
  if (first === undefined || second === undefined) throw new RangeError("oid: at least two arcs");
  return tlv(TAG.oid, Uint8Array.from([first * 40 + second, ...rest].flatMap(base128)));
}

function base128(arc: number): number[] {
  const octets = [arc % 128];
  for (let rest = Math.floor(arc / 128); rest > 0; rest = Math.floor(rest / 128)) octets.unshift((rest % 128) | 0x80);
  return octets;
}

export const octets = (...contents: readonly Uint8Array[]): Bytes => tlv(TAG.octetString, ...contents);
export const utf8 = (text: string): Bytes => tlv(TAG.utf8String, new TextEncoder().encode(text));
export const nil = (): Bytes => tlv(TAG.null);
export const bmp = (text: string): Bytes => tlv(TAG.bmpString, utf16be(text));

/** UTF-16, big-endian, no terminator. */
export function utf16be(text: string): Bytes {
  const bytes = new Uint8Array(text.length * 2);
  for (let i = 0; i < text.length; i++) {
    bytes[2 * i] = text.charCodeAt(i) >> 8;
    bytes[2 * i + 1] = text.charCodeAt(i) & 0xff;
  }
  return bytes;
}

/** `YYYYMMDDHHMMSSZ`: UTC, whole seconds (a fraction is cut off), years 0 to 9999. */
export function generalizedTime(at: Date): Bytes {
  const digits = at
    .toISOString()
    .replace(/\.\d+Z$/, "")
    .replace(/[-T:]/g, "");
  if (!/^\d{14}$/.test(digits)) throw new RangeError("generalizedTime: a year between 0 and 9999");
  return tlv(TAG.generalizedTime, new TextEncoder().encode(`${digits}Z`));
}

/** `[n] EXPLICIT` around the parts (also `[n] IMPLICIT` of a constructed type, given its contents). */
export const explicit = (n: number, ...parts: readonly Uint8Array[]): Bytes => tlv(0xa0 | n, ...parts);
/** `[n] IMPLICIT` of a primitive type. */
export const implicit = (n: number, contents: Uint8Array): Bytes => tlv(0x80 | n, contents);

/** AlgorithmIdentifier: parameters absent unless given. */
export const algorithm = (dotted: string, ...parameters: readonly Uint8Array[]): Bytes =>
  sequence(oid(dotted), ...parameters);
