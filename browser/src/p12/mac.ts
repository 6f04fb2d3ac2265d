/** The MAC over a .p12: PKCS#12's own (RFC 7292 s.5.1) and PBMAC1 (RFC 9579). It decides whether the pass-phrase is right. */
import { hmac } from "@noble/hashes/hmac.js";
import { is, members, octetsOf, oidOf, UNIVERSAL, type Node } from "../ber.ts";
import { type Bytes, equal } from "../der.ts";
import { HMACS, pbkdf2Of } from "./decrypt.ts";
import {
  type Effort,
  type Encoded,
  HASHES,
  type HashName,
  pbkdf2,
  pkcs12Kdf,
  PURPOSE,
  roundsOf,
  worthwhile,
} from "./derive.ts";
import { OID, P12Error, unsupported } from "./names.ts";

const DIGESTS: Readonly<Record<string, HashName>> = {
  "1.3.14.3.2.26": "SHA-1",
  "2.16.840.1.101.3.4.2.4": "SHA-224",
  "2.16.840.1.101.3.4.2.1": "SHA-256",
  "2.16.840.1.101.3.4.2.2": "SHA-384",
  "2.16.840.1.101.3.4.2.3": "SHA-512",
  "2.16.840.1.101.3.4.2.5": "SHA-512/224",
  "2.16.840.1.101.3.4.2.6": "SHA-512/256",
};

const MAX_MAC_KEY = 128;

/** The encoding of the pass-phrase that fits; P12Error "wrong-passphrase" when none does. */
export async function matching(
  macData: Node,
  content: Bytes,
  passwords: readonly Encoded[],
  effort: Effort,
): Promise<Encoded> {
  const [digestInfo, salt] = members(macData);
  const [scheme, digestNode] = members(digestInfo);
  const [type, parameters] = members(scheme);
  const expected = octetsOf(digestNode);
  const compute =
    oidOf(type) === OID.pbmac1
      ? pbmac1(parameters, effort)
      : classic(oidOf(type), octetsOf(salt), macCost(macData), effort);
  for (const password of worthwhile(passwords, compute.rounds)) {
    for await (const seal of compute.seals(password, content)) if (equal(seal, expected)) return password;
  }
  throw new P12Error("wrong-passphrase");
}

/** Iterations of PKCS#12's KDF that the check of one pass-phrase costs. */
export function macCost(macData: Node): number {
  const iterations = members(macData)[2];
  return is(iterations, UNIVERSAL.integer) ? roundsOf(iterations) : 1;
}

interface Compute {
  readonly rounds: number;
  /** What the seal may be under one pass-phrase, once for each way in which programs use it. */
  readonly seals: (password: Encoded, content: Bytes) => AsyncIterable<Bytes>;
}

function classic(oid: string, salt: Bytes, iterations: number, effort: Effort): Compute {
  const hash = DIGESTS[oid];
  if (hash === undefined) throw unsupported(oid);
  effort.spendKdf(iterations);
  return {
    rounds: iterations,
    seals: async function* (password, content) {
      yield await classicMac(hash, password.kdf, salt, iterations, content, effort);
    },
  };
}

/** HMAC under a key of PKCS#12's KDF. */
export async function classicMac(
  hash: HashName,
  password: Uint8Array,
  salt: Bytes,
  iterations: number,
  content: Bytes,
  effort?: Effort,
): Promise<Bytes> {
  const length = HASHES[hash].outputLen;
  const key = await pkcs12Kdf(password, { hash, purpose: PURPOSE.mac, salt, iterations, length }, effort);
  return new Uint8Array(hmac(HASHES[hash], key, content));
}

function pbmac1(parameters: Node | undefined, effort: Effort): Compute {
  const [derivation, scheme] = members(parameters);
  const { pbkdf2: derive, keyLength } = pbkdf2Of(derivation);
  const name = oidOf(members(scheme)[0]);
  const hash = HMACS[name];
  if (hash === undefined) throw unsupported(name);
  // RFC 9579 s.5: the key length has to be given.
  if (keyLength === null) throw new P12Error("unsupported-algorithm", "PBMAC1 without keyLength");
  if (keyLength < 1 || keyLength > MAX_MAC_KEY) throw new P12Error("malformed");
  effort.spendPbkdf2By(derive.hash, derive.iterations);
  const under = async (octets: Bytes, content: Bytes): Promise<Bytes> =>
    new Uint8Array(hmac(HASHES[hash], await pbkdf2(octets, derive, keyLength, effort), content));
  return {
    rounds: derive.iterations,
    // UTF-8 first; PKCS#12's UTF-16 form as in PBES2.
    seals: async function* ({ plain, kdf }, content) {
      for (const octets of [plain, kdf]) yield await under(octets, content);
    },
  };
}
