/** Older forms of a key, SEC 1 and PKCS #1, as PKCS #8. */
import { is, type Node, UNIVERSAL } from "../ber.ts";
import * as der from "../der.ts";
import type { Bytes } from "../der.ts";

const RSA = "1.2.840.113549.1.1.1";
const EC = "1.2.840.10045.2.1";

/** null for anything else. */
export function modern(key: Node): Bytes | null {
  const [version, secret, curve] = key.children;
  if (!is(version, UNIVERSAL.integer)) return null;
  const wrapped = (algorithm: Bytes): Bytes => der.sequence(der.integer(0), algorithm, der.octets(key.raw));
  if (is(secret, UNIVERSAL.integer) && key.children.length >= 9) return wrapped(der.algorithm(RSA, der.nil()));
  const name = is(curve, 0, "context") ? curve.children[0] : undefined;
  return is(secret, UNIVERSAL.octetString) && name !== undefined ? wrapped(der.algorithm(EC, name.raw)) : null;
}
