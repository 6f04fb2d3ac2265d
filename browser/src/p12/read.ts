/** Reads a .p12 that some other program wrote. The file and its pass-phrase never leave the page. */
import { BerError, inside, is, members, octetsOf, oidOf, parse, UNIVERSAL, type Node } from "../ber.ts";
import { type Certificate, chainOf, readCertificate } from "../certificate.ts";
import { type Bytes, equal } from "../der.ts";
import { fromPkcs8, KeyError, sha256, spkiOf } from "../keys.ts";
import { open } from "./decrypt.ts";
import { Budget, type Encoded, encodings } from "./derive.ts";
import { matching } from "./mac.ts";
import { OID, P12Error, unsupported } from "./names.ts";

/** The largest file that is looked at, in octets. */
export const MAX_P12_SIZE = 64 * 1024;

export interface P12Content {
  /** DER PKCS#8. */
  readonly key: Bytes;
  /** DER; the certificate of the key first, then its issuers as far as the file has them. */
  readonly certificates: readonly Bytes[];
  readonly friendlyName: string | null;
}

/**
 * The key with its certificate. Of several keys, the one whose certificate has this SHA-256, else the one that is valid
 * longest. P12Error says what is wrong: "wrong-passphrase" only when the MAC was understood and does not fit.
 */
export async function readP12(file: Uint8Array, passphrase: string, wantedSha256?: Uint8Array): Promise<P12Content> {
  if (file.length > MAX_P12_SIZE) throw new P12Error("too-big");
  try {
    const pfx = members(parse(file));
    const budget = new Budget();
    const content = dataOf(pfx[1]);
    const password = await matching(pfx[2], content, encodings(passphrase), budget);
    return await choose(await bagsOf(content, password, budget), wantedSha256);
  } catch (cause) {
    if (cause instanceof BerError) throw new P12Error("malformed", null, { cause });
    throw cause;
  }
}

function dataOf(contentInfo: Node | undefined): Bytes {
  const [type, content] = members(contentInfo);
  if (oidOf(type) !== OID.data) throw unsupported(oidOf(type));
  return octetsOf(inside(content, 0));
}

interface Bag {
  readonly value: Bytes;
  readonly friendlyName: string | null;
  readonly localKeyId: Bytes | null;
}

interface Bags {
  readonly keys: Bag[];
  readonly certificates: Bag[];
}

async function bagsOf(content: Bytes, password: Encoded, budget: Budget): Promise<Bags> {
  const found: Bags = { keys: [], certificates: [] };
  for (const safe of members(parse(content))) {
    const [type, wrapped] = members(safe);
    if (oidOf(type) === OID.encryptedData) {
      const [, info] = members(inside(wrapped, 0));
      const [, scheme, ciphertext] = members(info);
      await collect(await open(scheme, octetsOf(ciphertext, 0), password, budget), found, password, budget);
    } else {
      await collect(parse(dataOf(safe)), found, password, budget);
    }
  }
  return found;
}

async function collect(safeContents: Node, found: Bags, password: Encoded, budget: Budget): Promise<void> {
  for (const bag of members(safeContents)) {
    const [type, wrapped, attributes] = members(bag);
    const value = inside(wrapped, 0);
    const described = (octets: Bytes): Bag => ({ value: octets, ...describe(attributes) });
    switch (oidOf(type)) {
      case OID.keyBag:
        found.keys.push(described(value.raw));
        break;
      case OID.shroudedKeyBag: {
        const [scheme, ciphertext] = members(value);
        found.keys.push(described((await open(scheme, octetsOf(ciphertext), password, budget)).raw));
        break;
      }
      case OID.certBag: {
        const [form, certificate] = members(value);
        if (oidOf(form) === OID.x509Certificate) found.certificates.push(described(octetsOf(inside(certificate, 0))));
        break;
      }
      case OID.safeContentsBag:
        await collect(value, found, password, budget);
        break;
      default: // revocation lists and secrets are not ours
    }
  }
}

function describe(attributes: Node | undefined): Pick<Bag, "friendlyName" | "localKeyId"> {
  let friendlyName: string | null = null;
  let localKeyId: Bytes | null = null;
  for (const attribute of attributes === undefined ? [] : members(attributes)) {
    const [type, values] = members(attribute);
    const value = members(values)[0];
    if (oidOf(type) === OID.friendlyName && is(value, UNIVERSAL.bmpString)) {
      friendlyName = new TextDecoder("utf-16be").decode(value.contents);
    }
    if (oidOf(type) === OID.localKeyId && is(value, UNIVERSAL.octetString)) localKeyId = octetsOf(value);
  }
  return { friendlyName, localKeyId };
}

interface Identity {
  readonly key: Bag;
  readonly bag: Bag;
  readonly certificate: Certificate;
  readonly sameId: boolean;
}

async function choose(bags: Bags, wantedSha256: Uint8Array | undefined): Promise<P12Content> {
  if (bags.keys.length === 0) throw new P12Error("no-key");
  if (bags.certificates.length === 0) throw new P12Error("no-certificate");
  const certificates = bags.certificates.map((bag) => ({ bag, certificate: readCertificate(bag.value) }));
  const identities: Identity[] = [];
  const refused: KeyError[] = [];
  for (const key of bags.keys) {
    const spki = await publicHalf(key.value, refused);
    for (const { bag, certificate } of certificates) {
      if (spki === null || !equal(certificate.spki, spki)) continue;
      const sameId = key.localKeyId !== null && bag.localKeyId !== null && equal(key.localKeyId, bag.localKeyId);
      identities.push({ key, bag, certificate, sameId });
    }
  }
  const best = (await wantedOf(identities, wantedSha256)) ?? [...identities].sort(preference)[0];
  if (best === undefined) throw new P12Error(refused.length > 0 ? "unsupported-key" : "key-mismatch");
  const chain = chainOf(best.certificate, certificates.map((one) => one.certificate));
  return {
    key: best.key.value,
    certificates: chain.map((one) => one.der),
    friendlyName: best.bag.friendlyName ?? best.key.friendlyName,
  };
}

async function publicHalf(pkcs8: Bytes, refused: KeyError[]): Promise<Bytes | null> {
  try {
    return await spkiOf((await fromPkcs8(pkcs8, false)).publicKey);
  } catch (error) {
    if (!(error instanceof KeyError)) throw error;
    refused.push(error);
    return null;
  }
}

async function wantedOf(identities: readonly Identity[], wantedSha256: Uint8Array | undefined): Promise<Identity | null> {
  if (wantedSha256 === undefined) return null;
  for (const one of identities) {
    if (equal(await sha256(one.certificate.der), wantedSha256)) return one;
  }
  return null;
}

/** The localKeyID that agrees first, then the certificate that is valid longest. */
function preference(a: Identity, b: Identity): number {
  return Number(b.sameId) - Number(a.sameId) || b.certificate.notAfter.getTime() - a.certificate.notAfter.getTime();
}
