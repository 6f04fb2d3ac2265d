/** CBC decryption that WebCrypto has not: 3DES, RC2, and AES-192 (absent in Chromium). Loaded only when met. */
import forge from "node-forge/lib/forge.js";
import "node-forge/lib/aes.js";
import "node-forge/lib/des.js";
import "node-forge/lib/rc2.js";
import type { Bytes } from "../der.ts";

export type LegacyCipher = "3DES-CBC" | "AES-CBC" | "RC2-CBC";

const binary = (bytes: Uint8Array): string => String.fromCharCode(...bytes);
const octets = (text: string): Bytes => Uint8Array.from(text, (character) => character.charCodeAt(0));

/** The plain text without its padding; null when the padding is wrong. The RC2 key's length is its effective size. */
export function decryptLegacy(cipher: LegacyCipher, key: Uint8Array, iv: Uint8Array, input: Uint8Array): Bytes | null {
  const block = cipher === "AES-CBC" ? 16 : 8;
  if (input.length === 0 || input.length % block !== 0) return null;
  const data = forge.util.createBuffer(chunked(input));
  if (cipher === "RC2-CBC") {
    const rc2 = forge.rc2.createDecryptionCipher(binary(key), key.length * 8);
    rc2.start(binary(iv), null);
    rc2.update(data);
    return rc2.finish() ? octets(rc2.output.getBytes()) : null;
  }
  const decipher = forge.cipher.createDecipher(cipher, binary(key));
  decipher.start({ iv: binary(iv) });
  decipher.update(data);
  return decipher.finish() ? octets(decipher.output.getBytes()) : null;
}

/** `binary` for inputs longer than a call has arguments. */
function chunked(input: Uint8Array): string {
  let text = "";
  for (let at = 0; at < input.length; at += 4096) text += binary(input.subarray(at, at + 4096));
  return text;
}
