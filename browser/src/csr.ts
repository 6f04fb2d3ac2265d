/**
 * The certification request (PKCS#10): it proves possession of the new key. The server takes the name from its own
 * records; a CA of another house may read it here, and then the order says which names the request has to carry.
 */
import "reflect-metadata/lite";
import { type JsonNameParams, Name, Pkcs10CertificateRequestGenerator } from "@peculiar/x509";
import type { Bytes } from "./der.ts";
import type { KeyPair } from "./keys.ts";

/** One RDN: the attribute's short name and its value. */
export interface SubjectName {
  readonly type: string;
  readonly value: string;
}

const TYPES: Readonly<Record<string, string>> = {
  C: "2.5.4.6",
  O: "2.5.4.10",
  OU: "2.5.4.11",
  CN: "2.5.4.3",
  serialNumber: "2.5.4.5",
};
/** What RFC 5280 appendix A.1 wants as PrintableString; the other attributes are UTF8String (s.4.1.2.4). */
const PRINTABLE: readonly string[] = ["C", "serialNumber"];

function rdn({ type, value }: SubjectName): JsonNameParams[number] {
  const oid = TYPES[type];
  if (oid === undefined) throw new TypeError(`${type} is no known name attribute`);
  return { [oid]: [PRINTABLE.includes(type) ? { printableString: value } : { utf8String: value }] };
}

/**
 * DER PKCS#10 without attributes, signed with SHA-256 (RFC 2986): with the names of `subject` in their order, or
 * with the placeholder `CN=chopmark`.
 */
export async function makeCsr(pair: KeyPair, subject: readonly SubjectName[] = []): Promise<Bytes> {
  const request = await Pkcs10CertificateRequestGenerator.create({
    name: subject.length === 0 ? "CN=chopmark" : new Name(subject.map(rdn)),
    keys: { privateKey: pair.privateKey, publicKey: pair.publicKey },
    signingAlgorithm:
      pair.privateKey.algorithm.name === "ECDSA" ? { name: "ECDSA", hash: "SHA-256" } : { name: "RSASSA-PKCS1-v1_5" },
  });
  return new Uint8Array(request.rawData);
}
