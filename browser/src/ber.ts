/**
 * Reads BER, which is what other programs put into a .p12: indefinite lengths and strings in pieces included.
 * Hostile input ends in a BerError: depth is bounded, and a length never reaches past its parent.
 */
import { type Bytes, concat } from "./der.ts";

export class BerError extends Error {
  override readonly name = "BerError";
}

export type TagClass = "universal" | "application" | "context" | "private";

/** One value. `raw` is its whole encoding as it stood, `contents` the octets inside, `children` only when constructed. */
export interface Node {
  readonly tagClass: TagClass;
  readonly tag: number;
  readonly constructed: boolean;
  readonly raw: Bytes;
  readonly contents: Bytes;
  readonly children: readonly Node[];
}

export const UNIVERSAL = {
  integer: 2,
  bitString: 3,
  octetString: 4,
  null: 5,
  oid: 6,
  sequence: 16,
  set: 17,
  bmpString: 30,
} as const;

const MAX_DEPTH = 32;
const CLASSES: readonly TagClass[] = ["universal", "application", "context", "private"];

/** The single value that fills `bytes`; anything after it is an error. */
export function parse(bytes: Uint8Array): Node {
  const own = new Uint8Array(bytes);
  const { node, end } = value(own, 0, own.length, 0);
  if (end !== own.length) throw new BerError("octets after the end");
  return node;
}

/** The first value of `bytes`, whatever follows it: programs and mailboxes add line ends to a file. */
export function parseFirst(bytes: Uint8Array): Node {
  const own = new Uint8Array(bytes);
  return value(own, 0, own.length, 0).node;
}

function at(bytes: Bytes, position: number, limit: number): number {
  const octet = position < limit ? bytes[position] : undefined;
  if (octet === undefined) throw new BerError("cut short");
  return octet;
}

function value(bytes: Bytes, start: number, limit: number, depth: number): { node: Node; end: number } {
  if (depth > MAX_DEPTH) throw new BerError("nested too deeply");
  const identifier = at(bytes, start, limit);
  const tag = identifier & 0x1f;
  if (tag === 0x1f) throw new BerError("a tag number above 30");
  const constructed = (identifier & 0x20) !== 0;
  const size = readLength(bytes, start + 1, limit);
  const tagClass = CLASSES[identifier >> 6] ?? "universal";
  const make = (children: readonly Node[], stop: number, end: number) => ({
    node: {
      tagClass,
      tag,
      constructed,
      children,
      raw: bytes.slice(start, end),
      contents: bytes.slice(size.next, stop),
    },
    end,
  });
  if (size.length === null) {
    if (!constructed) throw new BerError("a primitive value of indefinite length");
    const inside = untilEndOfContents(bytes, size.next, limit, depth);
    return make(inside.children, inside.stop, inside.stop + 2);
  }
  const end = size.next + size.length;
  if (end > limit) throw new BerError("cut short");
  return make(constructed ? upTo(bytes, size.next, end, depth) : [], end, end);
}

function upTo(bytes: Bytes, start: number, end: number, depth: number): Node[] {
  const children: Node[] = [];
  for (let position = start; position < end; ) {
    const child = value(bytes, position, end, depth + 1);
    children.push(child.node);
    position = child.end;
  }
  return children;
}

function untilEndOfContents(
  bytes: Bytes,
  start: number,
  limit: number,
  depth: number,
): { children: Node[]; stop: number } {
  const children: Node[] = [];
  let position = start;
  while (at(bytes, position, limit) !== 0 || at(bytes, position + 1, limit) !== 0) {
    const child = value(bytes, position, limit, depth + 1);
    children.push(child.node);
    position = child.end;
  }
  return { children, stop: position };
}

function readLength(bytes: Bytes, start: number, limit: number): { length: number | null; next: number } {
  const first = at(bytes, start, limit);
  if (first < 0x80) return { length: first, next: start + 1 };
  if (first === 0x80) return { length: null, next: start + 1 };
  const count = first & 0x7f;
  let length = 0;
  for (let i = 0; i < count; i++) {
    length = length * 256 + at(bytes, start + 1 + i, limit); // zeros may stand before it
    if (length > 0xffff_ffff) throw new BerError("a length of more than four octets");
  }
  return { length, next: start + 1 + count };
}

/** True for `tag` of the universal class, or of the context class when `tagClass` says so. */
export function is(node: Node | undefined, tag: number, tagClass: TagClass = "universal"): node is Node {
  return node !== undefined && node.tagClass === tagClass && node.tag === tag;
}

function need(node: Node | undefined, tag: number, what: string, tagClass: TagClass = "universal"): Node {
  if (!is(node, tag, tagClass)) throw new BerError(`${what} expected`);
  return node;
}

/** The members of a SEQUENCE or SET. */
export function members(node: Node | undefined): readonly Node[] {
  if (is(node, UNIVERSAL.set) && node.constructed) return node.children;
  const found = need(node, UNIVERSAL.sequence, "SEQUENCE");
  if (!found.constructed) throw new BerError("SEQUENCE expected");
  return found.children;
}

/** The octets of an OCTET STRING, or of `[n] IMPLICIT OCTET STRING`, whole or in pieces. */
export function octetsOf(node: Node | undefined, context?: number): Bytes {
  const found =
    context === undefined
      ? need(node, UNIVERSAL.octetString, "OCTET STRING")
      : need(node, context, `[${context}]`, "context");
  return found.constructed ? concat(...found.children.map((piece) => octetsOf(piece))) : found.contents;
}

/** What stands inside `[n] EXPLICIT`. */
export function inside(node: Node | undefined, n: number): Node {
  const child = need(node, n, `[${n}]`, "context").children[0];
  if (child === undefined) throw new BerError(`[${n}] is empty`);
  return child;
}

/** An INTEGER between 0 and 2^31 - 1. */
export function small(node: Node | undefined): number {
  const contents = need(node, UNIVERSAL.integer, "INTEGER").contents;
  const trimmed = contents[0] === 0 ? contents.subarray(1) : contents;
  if (contents.length === 0 || (contents[0] ?? 0) >= 0x80 || trimmed.length > 4)
    throw new BerError("a number out of range");
  const number = trimmed.reduce((sum, octet) => sum * 256 + octet, 0);
  if (number > 0x7fff_ffff) throw new BerError("a number out of range");
  return number;
}

/** Dotted decimal. */
export function oidOf(node: Node | undefined): string {
  const arcs: number[] = [];
  let arc = 0;
  for (const octet of need(node, UNIVERSAL.oid, "OBJECT IDENTIFIER").contents) {
    arc = arc * 128 + (octet & 0x7f);
    if (arc > Number.MAX_SAFE_INTEGER / 128) throw new BerError("an object identifier out of range");
    if (octet < 0x80) {
      arcs.push(arc);
      arc = 0;
    }
  }
  const [head, ...rest] = arcs;
  if (head === undefined) throw new BerError("an empty object identifier");
  const first = Math.min(Math.floor(head / 40), 2);
  return [first, head - first * 40, ...rest].join(".");
}
