/** What a PFX looks like from outside. */
import { BerError, is, type Node, parseFirst, UNIVERSAL } from "../ber.ts";

/** `SEQUENCE {INTEGER, SEQUENCE {OID, [0]}, ...}`: a version, then the content. */
export function isPfx(node: Node): boolean {
  const [version, authSafe] = node.children;
  const [type, content] = authSafe?.children ?? [];
  return is(version, UNIVERSAL.integer) && is(type, UNIVERSAL.oid) && is(content, 0, "context");
}

/** A file as programs write it; null for everything that has to be looked at more closely. */
export function plainPfx(file: Uint8Array): { readonly pfx: Node } | null {
  try {
    const pfx = parseFirst(file);
    return isPfx(pfx) ? { pfx } : null;
  } catch (error) {
    if (error instanceof BerError) return null;
    throw error;
  }
}
