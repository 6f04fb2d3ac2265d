/**
 * What a customer's key signs for the server (architecture rule 11): one fixed structure with an eContentType of its
 * own, so that the signature can never be taken for one under an order or a document.
 */
import { readCertificate } from "./certificate.ts";
import * as der from "./der.ts";
import type { Bytes } from "./der.ts";
import { sha256 } from "./keys.ts";

export type ProofPurpose = "rekey" | "install" | "revoke";

export interface ProofStatement {
  readonly portal: string;
  readonly order: string;
  /** 32 octets from the server, used once. */
  readonly nonce: Uint8Array;
  /** SHA-256 of the new key's DER SubjectPublicKeyInfo, 32 octets. */
  readonly newSpkiSha256: Uint8Array;
  readonly purpose: ProofPurpose;
  /** The server's time, not this computer's; a fraction of a second is cut off. */
  readonly at: Date;
}

const LABEL = "chopmark-proof-1";
const POSSESSION_LABEL = "chopmark-possession-1";
const OID = {
  proof: "1.3.6.1.4.1.99999.17.1",
  possession: "1.3.6.1.4.1.99999.17.2",
  signedData: "1.2.840.113549.1.7.2",
  contentType: "1.2.840.113549.1.9.3",
  messageDigest: "1.2.840.113549.1.9.4",
  sha256: "2.16.840.1.101.3.4.2.1",
  rsaEncryption: "1.2.840.113549.1.1.1",
  ecdsaWithSha256: "1.2.840.10045.4.3.2",
} as const;

/** DER `SEQUENCE {label, portal, order, nonce, newSpkiSha256, certificateSha256, purpose, time}`. */
export function encodeStatement(statement: ProofStatement, certificateSha256: Uint8Array): Bytes {
  for (const part of [statement.nonce, statement.newSpkiSha256, certificateSha256]) {
    if (part.length !== 32) throw new RangeError("proof: nonce and digests have 32 octets");
  }
  return der.sequence(
    der.utf8(LABEL),
    der.utf8(statement.portal),
    der.utf8(statement.order),
    der.octets(statement.nonce),
    der.octets(statement.newSpkiSha256),
    der.octets(certificateSha256),
    der.utf8(statement.purpose),
    der.generalizedTime(statement.at),
  );
}

/**
 * DER CMS SignedData over the statement, signed by the key of `certificateDer` (RFC 5652 s.5); no certificate inside.
 * For "rekey" and "revoke" that is the old certificate and its key, for "install" the new ones.
 */
export async function makeProof(
  statement: ProofStatement,
  certificateDer: Uint8Array,
  privateKey: CryptoKey,
): Promise<Bytes> {
  const certificate = readCertificate(certificateDer);
  const content = encodeStatement(statement, await sha256(certificate.der));
  const signer: Signer = { version: 1, sid: der.sequence(certificate.issuer, certificate.serialNumber) };
  return signedData(content, OID.proof, signer, privateKey);
}

export interface PossessionStatement {
  readonly portal: string;
  readonly order: string;
  /** The id of this login. */
  readonly login: string;
  /** 32 octets from the server, used once. */
  readonly nonce: Uint8Array;
  /** The server's time, not this computer's; a fraction of a second is cut off. */
  readonly at: Date;
}

/** DER `SEQUENCE {label, portal, order, login, nonce, spkiSha256, time}`. */
export function encodePossession(statement: PossessionStatement, spkiSha256: Uint8Array): Bytes {
  if (statement.nonce.length !== 32 || spkiSha256.length !== 32)
    throw new RangeError("proof: nonce and digest have 32 octets");
  return der.sequence(
    der.utf8(POSSESSION_LABEL),
    der.utf8(statement.portal),
    der.utf8(statement.order),
    der.utf8(statement.login),
    der.octets(statement.nonce),
    der.octets(spkiSha256),
    der.generalizedTime(statement.at),
  );
}

/**
 * DER CMS SignedData over the statement by a key that has no certificate yet; the signer is named by the SHA-256 of
 * its SubjectPublicKeyInfo (RFC 5652 s.5.3, version 3; RFC 7093 s.2, method 4).
 */
export async function makePossession(
  statement: PossessionStatement,
  spki: Bytes,
  privateKey: CryptoKey,
): Promise<Bytes> {
  const identifier = await sha256(spki);
  const sid = der.octets(identifier);
  sid[0] = 0x80; // [0] IMPLICIT OCTET STRING
  return signedData(encodePossession(statement, identifier), OID.possession, { version: 3, sid }, privateKey);
}

interface Signer {
  readonly version: 1 | 3;
  readonly sid: Bytes;
}

async function signedData(content: Bytes, type: string, signer: Signer, privateKey: CryptoKey): Promise<Bytes> {
  const attributes = [
    attribute(OID.contentType, der.oid(type)),
    attribute(OID.messageDigest, der.octets(await sha256(content))),
  ];
  const signature = await sign(privateKey, der.setOf(...attributes));
  const made = der.sequence(
    der.integer(3),
    der.setOf(der.algorithm(OID.sha256)),
    der.sequence(der.oid(type), der.explicit(0, der.octets(content))),
    der.setOf(signerInfo(signer, attributes, signature)),
  );
  return der.sequence(der.oid(OID.signedData), der.explicit(0, made));
}

interface Signature {
  readonly algorithm: Bytes;
  readonly value: Bytes;
}

function signerInfo(signer: Signer, attributes: readonly Bytes[], signature: Signature): Bytes {
  const signedAttributes = der.setOf(...attributes);
  signedAttributes[0] = 0xa0; // [0] IMPLICIT; the signature is over the SET OF (RFC 5652 s.5.4)
  return der.sequence(
    der.integer(signer.version),
    signer.sid,
    der.algorithm(OID.sha256),
    signedAttributes,
    signature.algorithm,
    der.octets(signature.value),
  );
}

const attribute = (type: string, value: Bytes): Bytes => der.sequence(der.oid(type), der.setOf(value));

async function sign(key: CryptoKey, message: Bytes): Promise<Signature> {
  if (key.algorithm.name === "ECDSA") {
    const raw = new Uint8Array(await crypto.subtle.sign({ name: "ECDSA", hash: "SHA-256" }, key, message));
    return { algorithm: der.algorithm(OID.ecdsaWithSha256), value: ecdsaDer(raw) };
  }
  const value = new Uint8Array(await crypto.subtle.sign({ name: "RSASSA-PKCS1-v1_5" }, key, message));
  return { algorithm: der.algorithm(OID.rsaEncryption, der.nil()), value };
}

/** `SEQUENCE {r, s}` (RFC 3279 s.2.2.3) from WebCrypto's r and s of equal length, one after the other. */
export function ecdsaDer(raw: Uint8Array): Bytes {
  const half = raw.length / 2;
  return der.sequence(der.integer(raw.subarray(0, half)), der.integer(raw.subarray(half)));
}
