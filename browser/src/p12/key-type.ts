/** What a key is called, for a refusal. */
import { BerError, is, members, octetsOf, oidOf, parseFirst, UNIVERSAL } from "../ber.ts";

const TYPES: Readonly<Record<string, string>> = {
  "1.2.840.10040.4.1": "DSA",
  "1.2.840.113549.1.1.10": "RSA-PSS",
  "1.3.101.110": "X25519",
  "1.3.101.111": "X448",
  "1.3.101.112": "Ed25519",
  "1.3.101.113": "Ed448",
  "1.2.643.7.1.1.1.1": "GOST R 34.10-2012",
  "1.2.643.7.1.1.1.2": "GOST R 34.10-2012",
};
const RSA = "1.2.840.113549.1.1.1";
const EC = "1.2.840.10045.2.1";
const CURVES: Readonly<Record<string, string>> = {
  "1.2.840.10045.3.1.1": "P-192",
  "1.2.840.10045.3.1.7": "P-256",
  "1.3.132.0.33": "P-224",
  "1.3.132.0.34": "P-384",
  "1.3.132.0.35": "P-521",
  "1.3.132.0.10": "secp256k1",
  "1.3.36.3.3.2.8.1.1.7": "brainpoolP256r1",
  "1.3.36.3.3.2.8.1.1.11": "brainpoolP384r1",
  "1.3.36.3.3.2.8.1.1.13": "brainpoolP512r1",
  "1.2.156.10197.1.301": "SM2",
};

/** The algorithm of a DER PKCS#8 with its size or its curve; null for what is no key. */
export function keyTypeOf(pkcs8: Uint8Array): string | null {
  try {
    const [, algorithm, key] = members(parseFirst(pkcs8));
    const [type, parameters] = members(algorithm);
    const oid = oidOf(type);
    if (oid === EC) {
      if (!is(parameters, UNIVERSAL.oid)) return "EC (explicit parameters)";
      const curve = oidOf(parameters);
      return `EC ${CURVES[curve] ?? curve}`;
    }
    if (oid !== RSA) return TYPES[oid] ?? oid;
    const modulus = members(parseFirst(octetsOf(key)))[1]?.contents ?? new Uint8Array(0);
    return `RSA ${(modulus.length - (modulus[0] === 0 ? 1 : 0)) * 8}`;
  } catch (error) {
    if (error instanceof BerError) return null;
    throw error;
  }
}
