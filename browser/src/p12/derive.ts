/** Keys from pass-phrases: the KDF of PKCS#12 (RFC 7292 app. B.2) and PBKDF2 (RFC 8018 s.5.2), under one budget. */
import { sha1 } from "@noble/hashes/legacy.js";
import { sha224, sha256, sha384, sha512, sha512_224, sha512_256 } from "@noble/hashes/sha2.js";
import { is, small, UNIVERSAL, type Node } from "../ber.ts";
import { type Bytes, concat, utf16be } from "../der.ts";
import { inCodePage } from "./code-page.ts";
import { P12Error } from "./names.ts";

export const HASHES = {
  "SHA-1": sha1,
  "SHA-224": sha224,
  "SHA-256": sha256,
  "SHA-384": sha384,
  "SHA-512": sha512,
  "SHA-512/224": sha512_224,
  "SHA-512/256": sha512_256,
} as const;
export type HashName = keyof typeof HASHES;
/** The ones WebCrypto has: what is asked of the others takes fifty times as long. */
const WEB_HASHES: ReadonlySet<HashName> = new Set<HashName>(["SHA-1", "SHA-256", "SHA-384", "SHA-512"]);

/** A Firefox backup of ten certificates asks for 15 million in its old algorithms; past this it is no backup. */
const MAX_KDF_ITERATIONS = 20_000_000;
const MAX_PBKDF2_ITERATIONS = 20_000_000;
const SLOWER = 10;

/** Who waits for a file to be opened: told how far it is, and able to give up. */
export interface Waiting {
  /** Between 0 and 1, never less than before. */
  readonly progress?: (share: number) => void;
  readonly signal?: AbortSignal;
}

/**
 * What one file may make this computer do; "too-many-iterations" past it. A derivation is paid for once, whichever
 * pass-phrases are tried on it.
 */
export class Effort {
  #kdf = MAX_KDF_ITERATIONS;
  #pbkdf2 = MAX_PBKDF2_ITERATIONS;
  readonly #waiting: Waiting;
  #expected = 0;
  #done = 0;
  #shown = 0;

  constructor(waiting: Waiting = {}) {
    this.#waiting = waiting;
  }

  /** `hash` is of PBKDF2; where WebCrypto has it not, the budget counts what it takes. */
  spendPbkdf2By(hash: HashName, iterations: number): void {
    this.spendPbkdf2(WEB_HASHES.has(hash) ? iterations : iterations * SLOWER);
  }

  spendKdf(iterations: number): void {
    this.#kdf -= positive(iterations);
    if (this.#kdf < 0) throw new P12Error("too-many-iterations");
  }

  spendPbkdf2(iterations: number): void {
    this.#pbkdf2 -= positive(iterations);
    if (this.#pbkdf2 < 0) throw new P12Error("too-many-iterations");
  }

  /** Iterations that are still to come, as far as the file shows them. */
  expect(iterations: number): void {
    this.#expected += iterations;
  }

  /** Lets the page draw and hear a cancel; P12Error "cancelled" after one. */
  async turn(iterations: number): Promise<void> {
    this.#done += iterations;
    this.#shown = Math.max(this.#shown, Math.min(this.#done / Math.max(this.#expected, 1), 0.99));
    this.#waiting.progress?.(this.#shown);
    await turn();
    this.check();
  }

  check(): void {
    if (this.#waiting.signal?.aborted === true) throw new P12Error("cancelled");
  }
}

/** An INTEGER of rounds; one that fits in no number of ours is too many, and no damage. */
export function roundsOf(node: Node | undefined): number {
  if (is(node, UNIVERSAL.integer) && node.contents.length > 4 && (node.contents[0] ?? 0x80) < 0x80)
    throw new P12Error("too-many-iterations");
  return small(node);
}

function positive(iterations: number): number {
  if (iterations < 1) throw new P12Error("malformed");
  return iterations;
}

/** One way in which programs turn a pass-phrase into octets: `kdf` for PKCS#12's own KDF, `plain` for PBKDF2. */
export interface Encoded {
  readonly text: string;
  /** By a mistake that programs make now and then: tried where it costs little. */
  readonly rare: boolean;
  readonly kdf: Bytes;
  readonly plain: Bytes;
}

/** In which a console hands over what was typed, where it does not do so in UTF-8. */
const CODE_PAGES = ["big5", "gbk", "windows-1252"] as const;

/** Rounds up to which one pass-phrase more is not felt. */
export const QUICK = 20_000;

/** The ones to try where each costs so many rounds. */
export const worthwhile = (passwords: readonly Encoded[], rounds: number): readonly Encoded[] =>
  passwords.filter((each) => !each.rare || rounds <= QUICK);

/**
 * The encodings to try, the standard one first: UTF-16BE with a terminator and UTF-8. An empty pass-phrase may have no
 * terminator, and old OpenSSL widened each octet of the UTF-8 form. Rare ones are no terminator, nothing but UTF-8, and
 * what a console hands over in an old code page.
 */
export function encodings(text: string): readonly Encoded[] {
  const plain = new TextEncoder().encode(text);
  const [wide, terminator] = [utf16be(text), new Uint8Array(2)];
  const standard = { text, rare: false, kdf: concat(wide, terminator), plain };
  if (text === "") return [standard, { ...standard, kdf: wide }];
  const widened = (octets: Bytes, rare: boolean): Encoded => {
    const kdf = Uint8Array.from([...octets, 0].flatMap((octet) => [0, octet]));
    return { text, rare, kdf, plain: octets };
  };
  const mistaken = [wide, plain].map((kdf) => ({ text, rare: true, kdf, plain }));
  if (/^\p{ASCII}*$/u.test(text)) return [standard, ...mistaken];
  const pages = CODE_PAGES.map((page) => inCodePage(text, page)).filter((octets) => octets !== null);
  return [standard, widened(plain, false), ...pages.map((octets) => widened(octets, true)), ...mistaken];
}

/** What the derived octets are for: the "ID" of the KDF. */
export const PURPOSE = { key: 1, iv: 2, mac: 3 } as const;

interface KdfParameters {
  readonly hash: HashName;
  readonly purpose: number;
  readonly salt: Uint8Array;
  readonly iterations: number;
  readonly length: number;
}

const ITERATIONS_AT_ONCE = 5_000;

/** `length` octets; gives the page its turn every few milliseconds. */
export async function pkcs12Kdf(
  password: Uint8Array,
  parameters: KdfParameters,
  effort = new Effort(),
): Promise<Bytes> {
  const hash = HASHES[parameters.hash];
  const [fresh, running] = [hash.create(), hash.create()]; // one state used again: twice as fast as a new one each time
  const block = hash.blockLen;
  const diversifier = new Uint8Array(block).fill(parameters.purpose);
  const input = concat(stretch(parameters.salt, block), stretch(password, block));
  const pieces: Uint8Array[] = [];
  for (let made = 0; made < parameters.length; made += hash.outputLen) {
    const digest = hash(concat(diversifier, input));
    for (let i = 1; i < parameters.iterations; i++) {
      fresh._cloneInto(running);
      running.update(digest).digestInto(digest);
      if (i % ITERATIONS_AT_ONCE === 0) await effort.turn(ITERATIONS_AT_ONCE);
    }
    pieces.push(digest);
    addToBlocks(input, digest, block);
  }
  return concat(...pieces).slice(0, parameters.length);
}

function stretch(bytes: Uint8Array, block: number): Uint8Array {
  const size = Math.ceil(bytes.length / block) * block;
  return Uint8Array.from({ length: size }, (_, i) => bytes[i % bytes.length] ?? 0);
}

/** Each block of `input` becomes (block + digest repeated + 1) mod 2^(8 * block). */
function addToBlocks(input: Uint8Array, digest: Uint8Array, block: number): void {
  for (let start = 0; start < input.length; start += block) {
    let carry = 1;
    for (let i = block - 1; i >= 0; i--) {
      carry += (input[start + i] ?? 0) + (digest[i % digest.length] ?? 0);
      input[start + i] = carry & 0xff;
      carry >>= 8;
    }
  }
}

/** Lets the page draw and answer; a message is not slowed down in a hidden tab as a timer is. */
function turn(): Promise<void> {
  return new Promise((resolve) => {
    const { port1, port2 } = new MessageChannel();
    port1.onmessage = () => {
      port1.close();
      resolve();
    };
    port2.postMessage(null);
  });
}

export interface Pbkdf2Parameters {
  readonly hash: HashName;
  readonly salt: Bytes;
  readonly iterations: number;
}

/** HMAC fills a key with zeros, so that this is the same key as none at all, which WebKitGTK's PBKDF2 refuses. */
const NONE = new Uint8Array(1);

/** `length` octets by PBKDF2-HMAC. */
export async function pbkdf2(
  password: Bytes,
  parameters: Pbkdf2Parameters,
  length: number,
  effort = new Effort(),
): Promise<Bytes> {
  const { hash, salt, iterations } = parameters;
  if (!WEB_HASHES.has(hash)) {
    const { pbkdf2Async } = await import("@noble/hashes/pbkdf2.js");
    effort.check();
    return new Uint8Array(await pbkdf2Async(HASHES[hash], password, salt, { c: iterations, dkLen: length }));
  }
  const secret = password.length === 0 ? NONE : password;
  const material = await crypto.subtle.importKey("raw", secret, "PBKDF2", false, ["deriveBits"]);
  return new Uint8Array(await crypto.subtle.deriveBits({ name: "PBKDF2", ...parameters }, material, length * 8));
}
