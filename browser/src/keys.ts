/**
 * The customer's key: born here, and it stays here (architecture rule 8).
 *
 * The home is chosen before the key exists: a *browser* key is born non-extractable and no file can ever be made of
 * it; a *file* key is extractable in memory until its .p12 is written, and at rest only its PKCS#8 wrapped by the
 * pass-phrase is kept.
 */
import { BerError, is, members, octetsOf, oidOf, parse, UNIVERSAL, type Node } from "./ber.ts";
import * as der from "./der.ts";
import { type Bytes, hex } from "./der.ts";

export type KeyHome = "browser" | "file";
export type KeyAlgorithm = "P-256" | "P-384" | "RSA-2048" | "RSA-3072" | "RSA-4096";

export interface KeyPair {
  readonly algorithm: KeyAlgorithm;
  readonly privateKey: CryptoKey;
  readonly publicKey: CryptoKey;
}

/** A PKCS#8 under AES-256-GCM; its key is PBKDF2-HMAC-SHA256 of the UTF-8 pass-phrase. */
export interface WrappedKey {
  /** 16 octets. */
  readonly salt: Bytes;
  /** 12 octets. */
  readonly iv: Bytes;
  readonly iterations: number;
  /** With its 16-octet tag at the end. */
  readonly ciphertext: Bytes;
}

export type KeyFault = "wrong-passphrase" | "damaged" | "unsupported-key" | "not-extractable" | "key-mismatch";

export class KeyError extends Error {
  override readonly name = "KeyError";
  readonly code: KeyFault;
  constructor(code: KeyFault, options?: ErrorOptions) {
    super(code, options);
    this.code = code;
  }
}

const WRAP_ITERATIONS = 600_000;
const MAX_WRAP_ITERATIONS = 10_000_000;
const WRAP_LABEL = new TextEncoder().encode("chopmark-wrapped-key-1");
const OID_EC = "1.2.840.10045.2.1";
const OID_RSA = "1.2.840.113549.1.1.1";
const CURVES: Readonly<Record<string, "P-256" | "P-384">> = { "1.2.840.10045.3.1.7": "P-256", "1.3.132.0.34": "P-384" };

type ImportParams = EcKeyImportParams | RsaHashedImportParams;

function importParams(algorithm: KeyAlgorithm): ImportParams {
  if (algorithm === "P-256" || algorithm === "P-384") return { name: "ECDSA", namedCurve: algorithm };
  return { name: "RSASSA-PKCS1-v1_5", hash: "SHA-256" };
}

/** A new key pair; only a *file* key can be exported. */
export async function generate(home: KeyHome, algorithm: KeyAlgorithm): Promise<KeyPair> {
  const extractable = home === "file";
  const usages: KeyUsage[] = ["sign", "verify"];
  const made =
    algorithm === "P-256" || algorithm === "P-384"
      ? await crypto.subtle.generateKey({ name: "ECDSA", namedCurve: algorithm }, extractable, usages)
      : await crypto.subtle.generateKey(rsa(Number(algorithm.slice(4))), extractable, usages);
  return { algorithm, privateKey: made.privateKey, publicKey: made.publicKey };
}

function rsa(modulusLength: number): RsaHashedKeyGenParams {
  return { name: "RSASSA-PKCS1-v1_5", hash: "SHA-256", modulusLength, publicExponent: Uint8Array.of(1, 0, 1) };
}

/** The private key as DER PKCS#8; KeyError "not-extractable" for a *browser* key. */
export async function pkcs8Of(privateKey: CryptoKey): Promise<Bytes> {
  if (!privateKey.extractable) throw new KeyError("not-extractable");
  return new Uint8Array(await crypto.subtle.exportKey("pkcs8", privateKey));
}

/** DER SubjectPublicKeyInfo. */
export async function spkiOf(publicKey: CryptoKey): Promise<Bytes> {
  return new Uint8Array(await crypto.subtle.exportKey("spki", publicKey));
}

/** SHA-256 of the DER SubjectPublicKeyInfo, 64 lower-case hex digits. */
export async function spkiSha256(publicKey: CryptoKey): Promise<string> {
  return hex(await sha256(await spkiOf(publicKey)));
}

/** 32 octets. */
export async function sha256(bytes: Bytes): Promise<Bytes> {
  return new Uint8Array(await crypto.subtle.digest("SHA-256", bytes));
}

/** What a *file* key is at rest until its .p12 is written; KeyError "not-extractable" for a *browser* key. */
export async function wrap(privateKey: CryptoKey, passphrase: string): Promise<WrappedKey> {
  const salt = crypto.getRandomValues(new Uint8Array(16));
  const iv = crypto.getRandomValues(new Uint8Array(12));
  const pkcs8 = await pkcs8Of(privateKey);
  const secret = await wrappingKey(passphrase, salt, WRAP_ITERATIONS);
  const sealed = await crypto.subtle.encrypt({ name: "AES-GCM", iv, additionalData: WRAP_LABEL }, secret, pkcs8);
  pkcs8.fill(0);
  return { salt, iv, iterations: WRAP_ITERATIONS, ciphertext: new Uint8Array(sealed) };
}

/** The key pair again, extractable; KeyError "wrong-passphrase" (or the wrapped octets were changed), or "damaged". */
export async function unwrap(wrapped: WrappedKey, passphrase: string): Promise<KeyPair> {
  const { salt, iv, iterations, ciphertext } = wrapped;
  if (iterations < WRAP_ITERATIONS || iterations > MAX_WRAP_ITERATIONS) throw new KeyError("damaged");
  const secret = await wrappingKey(passphrase, salt, iterations);
  const opened = await crypto.subtle
    .decrypt({ name: "AES-GCM", iv, additionalData: WRAP_LABEL }, secret, ciphertext)
    .catch((cause: unknown) => {
      throw new KeyError("wrong-passphrase", { cause });
    });
  const pkcs8 = new Uint8Array(opened);
  const pair = await fromPkcs8(pkcs8, true);
  pkcs8.fill(0);
  return pair;
}

async function wrappingKey(passphrase: string, salt: Bytes, iterations: number): Promise<CryptoKey> {
  const material = await crypto.subtle.importKey("raw", new TextEncoder().encode(passphrase), "PBKDF2", false, [
    "deriveKey",
  ]);
  const derivation = { name: "PBKDF2", hash: "SHA-256", salt, iterations };
  return crypto.subtle.deriveKey(derivation, material, { name: "AES-GCM", length: 256 }, false, ["encrypt", "decrypt"]);
}

/**
 * The pair of a DER PKCS#8 (from a .p12, say); the public half is computed from the private one.
 * KeyError "unsupported-key" for a key that is neither P-256, P-384 nor RSA of 2048, 3072 or 4096 bits.
 */
export async function fromPkcs8(pkcs8: Bytes, extractable: boolean): Promise<KeyPair> {
  const params = paramsOf(pkcs8);
  const unsupported = (cause: unknown): never => {
    throw new KeyError("unsupported-key", { cause });
  };
  const open = await crypto.subtle.importKey("pkcs8", pkcs8, params, true, ["sign"]).catch(unsupported);
  const { kty, crv, x, y, n, e } = await crypto.subtle.exportKey("jwk", open);
  const half: JsonWebKey = kty === "EC" ? defined({ kty, crv, x, y }) : defined({ kty, n, e });
  const publicKey = await crypto.subtle.importKey("jwk", half, params, true, ["verify"]).catch(unsupported);
  const privateKey = extractable ? open : await crypto.subtle.importKey("pkcs8", pkcs8, params, false, ["sign"]);
  return { algorithm: algorithmOf(publicKey), privateKey, publicKey };
}

/** A key pair of which the public half stood in a certificate. */
export interface CertifiedPair extends KeyPair {
  /** DER PKCS#8 with the public half in it, so that every browser can write it out again. */
  readonly pkcs8: Bytes;
}

/**
 * The pair of a DER PKCS#8 whose public half stands in a certificate: other programs leave it out of the key, and some
 * browsers then cannot compute it. That they belong together is seen by a signature. KeyError "key-mismatch" when they
 * do not, "unsupported-key" as in `fromPkcs8`.
 */
export async function pairOf(theirs: Bytes, spki: Bytes, extractable: boolean): Promise<CertifiedPair> {
  const pkcs8 = withNamedCurve(theirs, spki);
  const params = paramsOf(pkcs8);
  if (!sameKind(pkcs8, spki)) throw new KeyError("key-mismatch");
  const whole = completed(pkcs8, spki);
  const unfit = (cause: unknown): never => {
    throw new KeyError("unsupported-key", { cause });
  };
  const publicKey = await crypto.subtle.importKey("spki", spki, params, true, ["verify"]).catch(unfit);
  // A browser that compares the halves refuses a pair that does not belong together.
  const privateKey = await crypto.subtle.importKey("pkcs8", whole, params, extractable, ["sign"]).catch(() => null);
  if (privateKey === null) {
    await crypto.subtle.importKey("pkcs8", pkcs8, params, false, ["sign"]).catch(unfit);
    throw new KeyError("key-mismatch");
  }
  const how = params.name === "ECDSA" ? { name: "ECDSA", hash: "SHA-256" } : params;
  const sample = crypto.getRandomValues(new Uint8Array(32));
  const signature = await crypto.subtle.sign(how, privateKey, sample);
  if (!(await crypto.subtle.verify(how, publicKey, signature, sample))) throw new KeyError("key-mismatch");
  return { algorithm: algorithmOf(publicKey), privateKey, publicKey, pkcs8: whole };
}

/** Some programs write the curve out in numbers instead of its name; the certificate has the name. */
function withNamedCurve(pkcs8: Bytes, spki: Bytes): Bytes {
  const [version, algorithm, key] = parse(pkcs8).children;
  const [type, parameters] = algorithm?.children ?? [];
  const [certified] = parse(spki).children;
  const written = is(type, UNIVERSAL.oid) && oidOf(type) === OID_EC && is(parameters, UNIVERSAL.sequence);
  if (!written || version === undefined || key === undefined || certified === undefined) return pkcs8;
  return der.sequence(version.raw, certified.raw, key.raw);
}

/** Both name the same algorithm and, for an elliptic curve, the same curve. */
function sameKind(pkcs8: Bytes, spki: Bytes): boolean {
  const kind = (algorithm: Node | undefined): string => {
    const [type, parameters] = members(algorithm);
    return oidOf(type) === OID_EC ? `${OID_EC} ${oidOf(parameters)}` : oidOf(type);
  };
  return kind(members(parse(pkcs8))[1]) === kind(members(parse(spki))[0]);
}

/**
 * Version, algorithm and key alone, without the attributes that some programs add; an elliptic curve's key in full
 * length with its public half (RFC 5915).
 */
function completed(pkcs8: Bytes, spki: Bytes): Bytes {
  const [, algorithm, octets] = members(parse(pkcs8));
  const [, bits] = members(parse(spki));
  if (algorithm === undefined || octets === undefined || !is(bits, UNIVERSAL.bitString)) throw new KeyError("damaged");
  if (oidOf(members(algorithm)[0]) !== OID_EC) {
    return der.sequence(der.integer(0), der.algorithm(OID_RSA, der.nil()), der.octets(octetsOf(octets)));
  }
  const number = octetsOf(members(parse(octetsOf(octets)))[1]);
  const size = (bits.contents.length - 2) / 2;
  const zeros = number.length - number.findIndex((octet) => octet !== 0);
  if (number.every((octet) => octet === 0) || zeros > size) throw new KeyError("damaged");
  const full = new Uint8Array(size);
  full.set(number.subarray(number.length - zeros), size - zeros);
  const inner = der.sequence(der.integer(1), der.octets(full), der.explicit(1, bits.raw));
  return der.sequence(der.integer(0), algorithm.raw, der.octets(inner));
}

function defined(key: Record<string, string | undefined>): JsonWebKey {
  return Object.fromEntries(Object.entries(key).filter(([, value]) => value !== undefined));
}

function paramsOf(pkcs8: Bytes): ImportParams {
  try {
    const [type, parameters] = members(members(parse(pkcs8))[1]);
    const name = oidOf(type);
    const curve = name === OID_EC ? CURVES[oidOf(parameters)] : undefined;
    if (curve !== undefined) return importParams(curve);
    if (name === OID_RSA) return importParams("RSA-2048");
  } catch (cause) {
    if (cause instanceof BerError) throw new KeyError("damaged", { cause });
    throw cause;
  }
  throw new KeyError("unsupported-key");
}

function algorithmOf(key: CryptoKey): KeyAlgorithm {
  const shape = key.algorithm as Partial<EcKeyAlgorithm & RsaHashedKeyAlgorithm>;
  const found = shape.namedCurve ?? `RSA-${shape.modulusLength}`;
  switch (found) {
    case "P-256":
    case "P-384":
    case "RSA-2048":
    case "RSA-3072":
    case "RSA-4096":
      return found;
    default:
      throw new KeyError("unsupported-key");
  }
}
