/** Writes the .p12 of a new certificate: AES-256-CBC, PBKDF2-HMAC-SHA256 and a SHA-256 MAC, as DER. */
import { readCertificate } from "../certificate.ts";
import * as der from "../der.ts";
import type { Bytes } from "../der.ts";
import { fromPkcs8, sha256, spkiOf } from "../keys.ts";
import { encodings, pbkdf2 } from "./derive.ts";
import { classicMac } from "./mac.ts";
import { OID, P12Error } from "./names.ts";

export interface P12Parts {
  /** DER PKCS#8. */
  readonly key: Bytes;
  /** DER; the certificate of the key first, then its issuers. */
  readonly certificates: readonly Uint8Array[];
  /** Printable ASCII: some programs refuse a file without a name or with another one. */
  readonly friendlyName: string;
  /** Printable ASCII: programs disagree on how anything else is encoded. */
  readonly passphrase: string;
}

const ITERATIONS = 100_000;

/** DER PFX (RFC 7292). P12Error "not-ascii", "no-certificate", or "key-mismatch" when the key is not the first certificate's. */
export async function writeP12(parts: P12Parts): Promise<Bytes> {
  const leaf = parts.certificates[0];
  if (leaf === undefined) throw new P12Error("no-certificate");
  if (![parts.friendlyName, parts.passphrase].every((text) => /^[\x20-\x7e]+$/.test(text)))
    throw new P12Error("not-ascii");
  const { spki } = readCertificate(leaf);
  const pair = await fromPkcs8(parts.key, false);
  if (!der.equal(await spkiOf(pair.publicKey), spki)) throw new P12Error("key-mismatch");
  const mark = attributes(parts.friendlyName, (await sha256(spki)).slice(0, 20));
  const certificates = parts.certificates.map((certificate, i) => certBag(certificate, i === 0 ? mark : null));
  const content = der.sequence(
    await encryptedData(der.sequence(...certificates), parts.passphrase),
    contentInfo(OID.data, der.octets(der.sequence(await keyBag(parts.key, parts.passphrase, mark)))),
  );
  return der.sequence(
    der.integer(3),
    contentInfo(OID.data, der.octets(content)),
    await macData(content, parts.passphrase),
  );
}

const contentInfo = (type: string, content: Bytes): Bytes => der.sequence(der.oid(type), der.explicit(0, content));

const attribute = (type: string, value: Bytes): Bytes => der.sequence(der.oid(type), der.setOf(value));

function attributes(friendlyName: string, localKeyId: Bytes): Bytes {
  return der.setOf(
    attribute(OID.friendlyName, der.bmp(friendlyName)),
    attribute(OID.localKeyId, der.octets(localKeyId)),
  );
}

function certBag(certificate: Uint8Array, mark: Bytes | null): Bytes {
  const value = der.sequence(der.oid(OID.x509Certificate), der.explicit(0, der.octets(certificate)));
  return der.sequence(der.oid(OID.certBag), der.explicit(0, value), ...(mark === null ? [] : [mark]));
}

async function keyBag(pkcs8: Bytes, passphrase: string, mark: Bytes): Promise<Bytes> {
  const { scheme, ciphertext } = await encrypt(pkcs8, passphrase);
  const value = der.sequence(scheme, der.octets(ciphertext));
  return der.sequence(der.oid(OID.shroudedKeyBag), der.explicit(0, value), mark);
}

async function encryptedData(plain: Bytes, passphrase: string): Promise<Bytes> {
  const { scheme, ciphertext } = await encrypt(plain, passphrase);
  const info = der.sequence(der.oid(OID.data), scheme, der.implicit(0, ciphertext));
  return contentInfo(OID.encryptedData, der.sequence(der.integer(0), info));
}

/** PBES2 with a salt and an IV of its own. */
async function encrypt(plain: Bytes, passphrase: string): Promise<{ scheme: Bytes; ciphertext: Bytes }> {
  const salt = crypto.getRandomValues(new Uint8Array(16));
  const iv = crypto.getRandomValues(new Uint8Array(16));
  const password = new TextEncoder().encode(passphrase);
  const octets = await pbkdf2(password, { hash: "SHA-256", salt, iterations: ITERATIONS }, 32);
  const key = await crypto.subtle.importKey("raw", octets, "AES-CBC", false, ["encrypt"]);
  const ciphertext = new Uint8Array(await crypto.subtle.encrypt({ name: "AES-CBC", iv }, key, plain));
  const derivation = der.sequence(der.octets(salt), der.integer(ITERATIONS), der.algorithm(OID.hmacSha256, der.nil()));
  const parameters = der.sequence(der.algorithm(OID.pbkdf2, derivation), der.algorithm(OID.aes256, der.octets(iv)));
  return { scheme: der.algorithm(OID.pbes2, parameters), ciphertext };
}

async function macData(content: Bytes, passphrase: string): Promise<Bytes> {
  const salt = crypto.getRandomValues(new Uint8Array(16));
  const [password] = encodings(passphrase);
  if (password === undefined) throw new P12Error("not-ascii");
  const mac = await classicMac("SHA-256", password.kdf, salt, ITERATIONS, content);
  const digestInfo = der.sequence(der.algorithm(OID.sha256, der.nil()), der.octets(mac));
  return der.sequence(digestInfo, der.octets(salt), der.integer(ITERATIONS));
}
