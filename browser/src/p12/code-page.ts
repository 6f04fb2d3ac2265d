/** Octets of a text in an old code page: browsers read those and do not write them, so their table is turned round. */
import type { Bytes } from "../der.ts";

/** null for a text with a character that the code page has not. */
export function inCodePage(text: string, label: string): Bytes | null {
  const letters = [...text];
  const wanted = new Set(letters);
  const table = new Map<string, readonly number[]>();
  const decoder = new TextDecoder(label);
  const look = (...octets: readonly number[]): void => {
    const letter = decoder.decode(Uint8Array.from(octets));
    if (wanted.has(letter) && !table.has(letter)) table.set(letter, octets);
  };
  for (let octet = 0; octet < 256; octet++) look(octet);
  if (label !== "windows-1252") {
    for (let lead = 0x81; lead < 0xff; lead++) for (let trail = 0x40; trail < 0xff; trail++) look(lead, trail);
  }
  const octets = letters.map((letter) => table.get(letter));
  return octets.every((each) => each !== undefined) ? Uint8Array.from(octets.flat()) : null;
}
