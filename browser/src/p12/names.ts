/** Object identifiers of PKCS#12 (RFC 7292), PKCS#5 (RFC 8018) and RFC 9579, and what the others are called. */

import type { Certificate } from "../certificate.ts";

export const OID = {
  data: "1.2.840.113549.1.7.1",
  signedData: "1.2.840.113549.1.7.2",
  encryptedData: "1.2.840.113549.1.7.6",
  keyBag: "1.2.840.113549.1.12.10.1.1",
  shroudedKeyBag: "1.2.840.113549.1.12.10.1.2",
  certBag: "1.2.840.113549.1.12.10.1.3",
  safeContentsBag: "1.2.840.113549.1.12.10.1.6",
  x509Certificate: "1.2.840.113549.1.9.22.1",
  friendlyName: "1.2.840.113549.1.9.20",
  localKeyId: "1.2.840.113549.1.9.21",
  pbes2: "1.2.840.113549.1.5.13",
  pbkdf2: "1.2.840.113549.1.5.12",
  pbmac1: "1.2.840.113549.1.5.14",
  hmacSha1: "1.2.840.113549.2.7",
  hmacSha256: "1.2.840.113549.2.9",
  sha256: "2.16.840.1.101.3.4.2.1",
  aes256: "2.16.840.1.101.3.4.1.42",
} as const;

/** Named so that a refusal can say what it met, instead of "wrong password". */
const NAMES: Readonly<Record<string, string>> = {
  "1.2.840.113549.1.7.2": "signed PKCS#12 (public-key integrity)",
  "1.2.840.113549.1.7.3": "enveloped PKCS#12 (public-key privacy)",
  "1.2.840.113549.1.12.1.1": "PBE-SHA1-RC4-128",
  "1.2.840.113549.1.12.1.2": "PBE-SHA1-RC4-40",
  "1.2.840.113549.1.5.3": "PBE-MD5-DES",
  "1.2.840.113549.1.5.6": "PBE-MD5-RC2",
  "1.2.840.113549.1.5.10": "PBE-SHA1-DES",
  "1.2.840.113549.1.5.11": "PBE-SHA1-RC2",
  "1.2.840.113549.2.5": "MD5",
  "1.2.840.113549.3.2": "RC2-CBC",
  "1.3.14.3.2.7": "DES-CBC",
  "1.3.6.1.4.1.11591.4.11": "scrypt",
  "1.2.840.113549.1.5.1": "PBE-MD2-DES",
  "1.2.840.113549.1.5.4": "PBE-MD2-RC2",
  "1.2.840.113549.2.2": "MD2",
  "1.2.840.113549.3.4": "RC4",
  "1.2.840.113549.3.9": "RC5-CBC",
  "1.2.840.113533.7.66.10": "CAST5-CBC",
  "1.3.6.1.4.1.3029.1.2": "Blowfish-CBC",
  "1.3.6.1.4.1.188.7.1.1.2": "IDEA-CBC",
  "1.2.410.200004.1.4": "SEED-CBC",
  "1.2.410.200004.1.15": "PBE-SHA1-SEED",
  "1.2.643.2.2.21": "GOST 28147-89",
  "1.2.643.7.1.1.2.2": "GOST R 34.11-2012",
  "1.2.643.7.1.1.2.3": "GOST R 34.11-2012",
  "1.2.643.7.1.1.4.1": "HMAC-GOST R 34.11-2012",
  "1.2.643.7.1.1.4.2": "HMAC-GOST R 34.11-2012",
  "1.2.156.10197.1.401": "SM3",
  "1.2.156.10197.1.401.2": "HMAC-SM3",
  "1.3.36.3.2.1": "RIPEMD-160",
  "2.16.840.1.101.3.4.2.7": "SHA3-224",
  "2.16.840.1.101.3.4.2.8": "SHA3-256",
  "2.16.840.1.101.3.4.2.9": "SHA3-384",
  "2.16.840.1.101.3.4.2.10": "SHA3-512",
  "2.16.840.1.101.3.4.2.13": "HMAC-SHA3-224",
  "2.16.840.1.101.3.4.2.14": "HMAC-SHA3-256",
  "2.16.840.1.101.3.4.2.15": "HMAC-SHA3-384",
  "2.16.840.1.101.3.4.2.16": "HMAC-SHA3-512",
  "2.16.840.1.101.3.4.1.6": "AES-128-GCM",
  "2.16.840.1.101.3.4.1.7": "AES-128-CCM",
  "2.16.840.1.101.3.4.1.26": "AES-192-GCM",
  "2.16.840.1.101.3.4.1.27": "AES-192-CCM",
  "2.16.840.1.101.3.4.1.47": "AES-256-CCM",
  "2.16.840.1.101.3.4.1.46": "AES-256-GCM",
  "1.2.392.200011.61.1.1.1.2": "Camellia-128-CBC",
  "1.2.392.200011.61.1.1.1.3": "Camellia-192-CBC",
  "1.2.392.200011.61.1.1.1.4": "Camellia-256-CBC",
  "1.2.410.200046.1.1.2": "ARIA-128-CBC",
  "1.2.410.200046.1.1.7": "ARIA-192-CBC",
  "1.2.410.200046.1.1.12": "ARIA-256-CBC",
  "1.2.156.10197.1.104.2": "SM4-CBC",
};

export const nameOf = (oid: string): string => NAMES[oid] ?? oid;

export type P12Fault =
  | "too-big"
  | "empty-file"
  | "cut-short"
  | "changed-as-text"
  | "web-page"
  | "malformed"
  | "other-format"
  | "no-mac"
  | "wrong-passphrase"
  | "seal-broken"
  | "unsupported-algorithm"
  | "too-many-iterations"
  | "other-passphrase-inside"
  | "no-key"
  | "no-certificate"
  | "other-certificate"
  | "key-mismatch"
  | "unsupported-key"
  | "cancelled"
  | "not-ascii";

/** Why a .p12 could not be read or written. */
export class P12Error extends Error {
  override readonly name = "P12Error";
  readonly code: P12Fault;
  /** The algorithm or the format that was met. */
  readonly algorithm: string | null;
  /** What the file holds instead of what was wanted; the one that is valid longest first. */
  readonly found: readonly Certificate[];
  constructor(
    code: P12Fault,
    algorithm: string | null = null,
    options: ErrorOptions & { found?: readonly Certificate[] } = {},
  ) {
    super(algorithm === null ? code : `${code}: ${algorithm}`, options);
    this.code = code;
    this.algorithm = algorithm;
    this.found = options.found ?? [];
  }
}

export const unsupported = (oid: string): P12Error => new P12Error("unsupported-algorithm", nameOf(oid));
