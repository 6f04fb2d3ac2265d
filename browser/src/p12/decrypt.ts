/** Opens what a pass-phrase encrypted inside a .p12: PBES2 (RFC 8018 s.6.2) and PKCS#12's own schemes (RFC 7292 app. C). */
import { BerError, is, members, octetsOf, oidOf, parse, small, UNIVERSAL, type Node } from "../ber.ts";
import type { Bytes } from "../der.ts";
import {
  type Effort,
  type Encoded,
  type HashName,
  pbkdf2,
  type Pbkdf2Parameters,
  pkcs12Kdf,
  PURPOSE,
  roundsOf,
  worthwhile,
} from "./derive.ts";
import type { LegacyCipher } from "./legacy.ts";
import { OID, P12Error, unsupported } from "./names.ts";

interface Cipher {
  readonly name: LegacyCipher;
  readonly keyLength: number;
}

const PBES2_CIPHERS: Readonly<Record<string, Cipher>> = {
  "2.16.840.1.101.3.4.1.2": { name: "AES-CBC", keyLength: 16 },
  "2.16.840.1.101.3.4.1.22": { name: "AES-CBC", keyLength: 24 },
  "2.16.840.1.101.3.4.1.42": { name: "AES-CBC", keyLength: 32 },
  "1.2.840.113549.3.7": { name: "3DES-CBC", keyLength: 24 },
};

/** Of two-key 3DES only 16 octets are derived, the first 8 are used again. */
const PKCS12_CIPHERS: Readonly<Record<string, Cipher>> = {
  "1.2.840.113549.1.12.1.3": { name: "3DES-CBC", keyLength: 24 },
  "1.2.840.113549.1.12.1.4": { name: "3DES-CBC", keyLength: 16 },
  "1.2.840.113549.1.12.1.5": { name: "RC2-CBC", keyLength: 16 },
  "1.2.840.113549.1.12.1.6": { name: "RC2-CBC", keyLength: 5 },
};

export const HMACS: Readonly<Record<string, HashName>> = {
  "1.2.840.113549.2.7": "SHA-1",
  "1.2.840.113549.2.8": "SHA-224",
  "1.2.840.113549.2.9": "SHA-256",
  "1.2.840.113549.2.10": "SHA-384",
  "1.2.840.113549.2.11": "SHA-512",
  "1.2.840.113549.2.12": "SHA-512/224",
  "1.2.840.113549.2.13": "SHA-512/256",
};

/** What was inside, and the pass-phrase that opened it. */
export interface Unsealed {
  readonly value: Node;
  readonly password: Encoded;
}

/**
 * The value inside `ciphertext`, parsed, by the first pass-phrase that opens it. P12Error "unsupported-algorithm" for a
 * scheme not known here; "other-passphrase-inside" when none opens it.
 */
export async function open(
  scheme: Node | undefined,
  ciphertext: Bytes,
  passwords: readonly Encoded[],
  effort: Effort,
): Promise<Unsealed> {
  const [type, parameters] = members(scheme);
  const oid = oidOf(type);
  const attempt = oid === OID.pbes2 ? pbes2(parameters, effort) : pkcs12(oid, parameters, effort);
  for (const password of worthwhile(passwords, attempt.rounds)) {
    effort.check();
    for await (const plain of attempt.outcomes(password, ciphertext)) {
      const value = plain === null ? null : parseOrNull(plain);
      if (value !== null) return { value, password };
    }
  }
  throw new P12Error("other-passphrase-inside");
}

/** Iterations of PKCS#12's KDF that one pass-phrase costs; 0 for a scheme that needs none of them. */
export function openCost(scheme: Node | undefined): number {
  const [type, parameters] = members(scheme);
  const cipher = PKCS12_CIPHERS[oidOf(type)];
  return cipher === undefined ? 0 : derivations(cipher) * roundsOf(members(parameters)[1]);
}

/** One for each 20 octets of SHA-1 in the key, and one for the IV. */
const derivations = (cipher: Cipher): number => Math.ceil(cipher.keyLength / 20) + 1;

function parseOrNull(plain: Bytes): Node | null {
  try {
    const value = parse(plain);
    return is(value, UNIVERSAL.sequence) ? value : null;
  } catch (error) {
    if (error instanceof BerError) return null;
    throw error;
  }
}

interface Attempt {
  readonly rounds: number;
  /** What comes out, once for each way in which programs use the pass-phrase; null for wrong padding. */
  readonly outcomes: (password: Encoded, ciphertext: Bytes) => AsyncIterable<Bytes | null>;
}

function pbes2(parameters: Node | undefined, effort: Effort): Attempt {
  const [derivation, encryption] = members(parameters);
  const [type, ivNode] = members(encryption);
  const cipher = PBES2_CIPHERS[oidOf(type)];
  if (cipher === undefined) throw unsupported(oidOf(type));
  const iv = octetsOf(ivNode);
  if (iv.length !== (cipher.name === "AES-CBC" ? 16 : 8)) throw new P12Error("malformed");
  const { pbkdf2: derive, keyLength } = pbkdf2Of(derivation);
  if (keyLength !== null && keyLength !== cipher.keyLength) throw new P12Error("malformed");
  effort.spendPbkdf2By(derive.hash, derive.iterations);
  return {
    rounds: derive.iterations,
    outcomes: async function* (password, ciphertext) {
      // UTF-8 first; some programs put PKCS#12's UTF-16 form into PBKDF2 as well.
      for (const octets of [password.plain, password.kdf]) {
        yield await decrypt(cipher, await pbkdf2(octets, derive, cipher.keyLength, effort), iv, ciphertext);
      }
    },
  };
}

/** PBKDF2-params (RFC 8018 app. A.2): the PRF is HMAC-SHA1 when absent. */
export function pbkdf2Of(node: Node | undefined): { pbkdf2: Pbkdf2Parameters; keyLength: number | null } {
  const [type, parameters] = members(node);
  if (oidOf(type) !== OID.pbkdf2) throw unsupported(oidOf(type));
  const [salt, iterations, ...rest] = members(parameters);
  const length = is(rest[0], UNIVERSAL.integer) ? rest.shift() : undefined;
  const prf = rest[0] === undefined ? OID.hmacSha1 : oidOf(members(rest[0])[0]);
  const hash = HMACS[prf];
  if (hash === undefined) throw unsupported(prf);
  return {
    pbkdf2: { hash, salt: octetsOf(salt), iterations: roundsOf(iterations) },
    keyLength: length === undefined ? null : small(length),
  };
}

function pkcs12(oid: string, parameters: Node | undefined, effort: Effort): Attempt {
  const cipher = PKCS12_CIPHERS[oid];
  if (cipher === undefined) throw unsupported(oid);
  const [saltNode, iterationsNode] = members(parameters);
  const shared = { hash: "SHA-1", salt: octetsOf(saltNode), iterations: roundsOf(iterationsNode) } as const;
  effort.spendKdf(derivations(cipher) * shared.iterations);
  return {
    rounds: shared.iterations,
    outcomes: async function* (password, ciphertext) {
      const key = await pkcs12Kdf(password.kdf, { ...shared, purpose: PURPOSE.key, length: cipher.keyLength }, effort);
      const iv = await pkcs12Kdf(password.kdf, { ...shared, purpose: PURPOSE.iv, length: 8 }, effort);
      yield await decrypt(cipher, key, iv, ciphertext);
    },
  };
}

async function decrypt(cipher: Cipher, key: Bytes, iv: Bytes, ciphertext: Bytes): Promise<Bytes | null> {
  if (cipher.name === "AES-CBC" && key.length !== 24) return decryptAes(key, iv, ciphertext);
  const { decryptLegacy } = await import("./legacy.ts");
  const twoKey = cipher.name === "3DES-CBC" && key.length === 16;
  return decryptLegacy(cipher.name, twoKey ? Uint8Array.from([...key, ...key.subarray(0, 8)]) : key, iv, ciphertext);
}

async function decryptAes(key: Bytes, iv: Bytes, ciphertext: Bytes): Promise<Bytes | null> {
  const secret = await crypto.subtle.importKey("raw", key, "AES-CBC", false, ["decrypt"]);
  return crypto.subtle.decrypt({ name: "AES-CBC", iv }, secret, ciphertext).then(
    (plain) => new Uint8Array(plain),
    () => null, // WebCrypto's one answer to wrong padding
  );
}
