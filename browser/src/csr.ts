/** The certification request (PKCS#10): it proves possession of the new key. The server ignores its subject. */
import "reflect-metadata/lite";
import { Pkcs10CertificateRequestGenerator } from "@peculiar/x509";
import type { Bytes } from "./der.ts";
import type { KeyPair } from "./keys.ts";

/** DER PKCS#10 with subject `CN=chopmark` and no attributes, signed with SHA-256 (RFC 2986). */
export async function makeCsr(pair: KeyPair): Promise<Bytes> {
  const request = await Pkcs10CertificateRequestGenerator.create({
    name: "CN=chopmark",
    keys: { privateKey: pair.privateKey, publicKey: pair.publicKey },
    signingAlgorithm:
      pair.privateKey.algorithm.name === "ECDSA" ? { name: "ECDSA", hash: "SHA-256" } : { name: "RSASSA-PKCS1-v1_5" },
  });
  return new Uint8Array(request.rawData);
}
