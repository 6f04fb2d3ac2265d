/** Reads a .p12 that some other program wrote. The file and its pass-phrase never leave the page. */
import { BerError, inside, is, members, octetsOf, oidOf, parse, UNIVERSAL, type Node } from "../ber.ts";
import { type Certificate, chainOf, readCertificate } from "../certificate.ts";
import { type Bytes, equal } from "../der.ts";
import { KeyError, pairOf, sha256 } from "../keys.ts";
import { open, openCost } from "./decrypt.ts";
import { Effort, type Encoded, encodings, type Waiting } from "./derive.ts";
import { macCost, matching } from "./mac.ts";
import { OID, P12Error, unsupported } from "./names.ts";
import { contentOf, keyTypeOf } from "./text.ts";
import { meant } from "./typed.ts";

/** The largest file that is looked at, in octets. */
export const MAX_P12_SIZE = 256 * 1024;

export interface P12Content {
  /** DER PKCS#8, with its public half. */
  readonly key: Bytes;
  /** DER; the certificate of the key first, then its issuers as far as the file has them. */
  readonly certificates: readonly Bytes[];
  readonly friendlyName: string | null;
  /** Nothing in the file shows that it is unchanged; that the key is the wanted certificate's was checked. */
  readonly withoutMac: boolean;
}

export interface Request {
  /** Of the certificates that will do, the SHA-256 of the DER; any certificate when absent. */
  readonly wanted?: readonly Uint8Array[];
  /** The DER of a wanted certificate, for a file that has a key and no certificate at all. */
  readonly known?: Bytes;
  /** Where the key inside has a pass-phrase of its own. */
  readonly keyPassphrase?: string;
  readonly waiting?: Waiting;
}

/**
 * The key with its certificate. The certificate is found first, the wanted one that is valid longest, and then only
 * its key is decrypted; what else is in the file may be unreadable. P12Error says what is wrong.
 */
export async function readP12(file: Uint8Array, passphrase: string, request: Request = {}): Promise<P12Content> {
  if (file.length > MAX_P12_SIZE) throw new P12Error("too-big");
  const effort = new Effort(request.waiting);
  try {
    const content = contentOf(file);
    const typed = meant(passphrase).flatMap(encodings);
    const inner = request.keyPassphrase === undefined ? [] : meant(request.keyPassphrase).flatMap(encodings);
    const bags =
      "pfx" in content
        ? await bagsOf(content.pfx, typed, inner, effort)
        : bagsOfText(content.blocks, [...typed, ...inner]);
    if (request.known !== undefined && bags.certificates.length === 0 && bags.skipped.length === 0) {
      bags.certificates.push({ friendlyName: null, localKeyId: null, certificate: readCertificate(request.known) });
    }
    return await choose(bags, request.wanted, effort);
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

interface Attributes {
  readonly friendlyName: string | null;
  readonly localKeyId: Bytes | null;
}

interface KeyBag extends Attributes {
  /** DER PKCS#8. */
  readonly open: (effort: Effort) => Promise<Bytes>;
}

interface CertificateBag extends Attributes {
  readonly certificate: Certificate;
}

interface Bags {
  /** The encodings of the pass-phrases, the one that opened something first. */
  passwords: readonly Encoded[];
  readonly withMac: boolean;
  readonly keys: KeyBag[];
  readonly certificates: CertificateBag[];
  /** Why parts of the file could not be looked into. */
  readonly skipped: P12Error[];
}

async function bagsOf(pfx: Node, typed: readonly Encoded[], inner: readonly Encoded[], effort: Effort): Promise<Bags> {
  const [, authSafe, macData] = members(pfx);
  const content = dataOf(authSafe);
  const safes = members(parse(content));
  effort.expect(planned(macData, safes));
  const fitting = macData === undefined ? typed : [await matching(macData, content, typed, effort)];
  const bags: Bags = {
    passwords: [...fitting, ...inner],
    withMac: macData !== undefined,
    keys: [],
    certificates: [],
    skipped: [],
  };
  for (const safe of safes) await collectSafe(safe, bags, effort);
  return bags;
}

/** The iterations that the MAC, the encrypted parts and one key cost: of what a file may ask for, the usual part. */
function planned(macData: Node | undefined, safes: readonly Node[]): number {
  const costs = safes.map((safe) =>
    oidOf(members(safe)[0]) === OID.encryptedData ? openCost(encrypted(safe).scheme) : 0,
  );
  const mac = macData === undefined ? 0 : macCost(macData);
  return mac + costs.reduce((sum, cost) => sum + cost, 0) + Math.max(...costs, 3 * mac);
}

function encrypted(safe: Node): { scheme: Node | undefined; ciphertext: Bytes } {
  const [, info] = members(inside(members(safe)[1], 0));
  const [, scheme, ciphertext] = members(info);
  return { scheme, ciphertext: octetsOf(ciphertext, 0) };
}

async function collectSafe(safe: Node, bags: Bags, effort: Effort): Promise<void> {
  if (oidOf(members(safe)[0]) !== OID.encryptedData) return collect(parse(dataOf(safe)), bags);
  const { scheme, ciphertext } = encrypted(safe);
  try {
    const { value, password } = await open(scheme, ciphertext, bags.passwords, effort);
    const others = bags.passwords.filter((each) => each !== password);
    bags.passwords = [password, ...others];
    return collect(value, bags);
  } catch (error) {
    if (!(error instanceof P12Error) || !["unsupported-algorithm", "other-passphrase-inside"].includes(error.code))
      throw error;
    bags.skipped.push(error);
  }
}

const BAGS: ReadonlySet<string> = new Set([OID.keyBag, OID.shroudedKeyBag, OID.certBag, OID.safeContentsBag]);

function collect(safeContents: Node, bags: Bags): void {
  for (const bag of members(safeContents)) {
    const [type, wrapped, attributes] = members(bag);
    const kind = oidOf(type);
    if (!BAGS.has(kind)) continue; // revocation lists and secrets are not ours
    const value = inside(wrapped, 0);
    const described = describe(attributes);
    switch (kind) {
      case OID.keyBag:
        bags.keys.push({ ...described, open: () => Promise.resolve(value.raw) });
        break;
      case OID.shroudedKeyBag:
        bags.keys.push({ ...described, open: unshrouding(value, bags) });
        break;
      case OID.certBag:
        addCertificate(bags, value, described);
        break;
      default:
        collect(value, bags);
    }
  }
}

/** Decrypts once, when it is first asked to. */
function unshrouding(value: Node, bags: Bags): KeyBag["open"] {
  let opened: Promise<Bytes> | null = null;
  const [scheme, ciphertext] = members(value);
  return (effort) =>
    (opened ??= open(scheme, octetsOf(ciphertext), bags.passwords, effort).then((found) => found.value.raw));
}

function addCertificate(bags: Bags, value: Node, described: Attributes): void {
  const [form, octets] = members(value);
  if (oidOf(form) !== OID.x509Certificate) return;
  const certificate = readable(octetsOf(inside(octets, 0)));
  if (certificate !== null) bags.certificates.push({ ...described, certificate });
}

/** null for a certificate of a form that is not known here: nobody wanted it. */
function readable(der: Bytes): Certificate | null {
  try {
    return readCertificate(der);
  } catch (error) {
    if (error instanceof BerError) return null;
    throw error;
  }
}

function describe(attributes: Node | undefined): Attributes {
  let friendlyName: string | null = null;
  let localKeyId: Bytes | null = null;
  for (const attribute of is(attributes, UNIVERSAL.set) ? attributes.children : []) {
    const [type, values] = attribute.children;
    const value = values?.children[0];
    if (!is(type, UNIVERSAL.oid)) continue; // what nobody can read names nothing
    if (oidOf(type) === OID.friendlyName && is(value, UNIVERSAL.bmpString)) {
      friendlyName = new TextDecoder("utf-16be").decode(value.contents);
    }
    if (oidOf(type) === OID.localKeyId && is(value, UNIVERSAL.octetString)) localKeyId = octetsOf(value);
  }
  return { friendlyName, localKeyId };
}

/** The blocks of a PEM text, as `openssl pkcs12 -out` and many others write them. */
function bagsOfText(
  blocks: readonly { readonly label: string; readonly octets: Bytes }[],
  passwords: readonly Encoded[],
): Bags {
  const nameless = { friendlyName: null, localKeyId: null };
  const bags: Bags = { passwords, withMac: false, keys: [], certificates: [], skipped: [] };
  for (const { label, octets } of blocks) {
    if (label === "PRIVATE KEY") bags.keys.push({ ...nameless, open: () => Promise.resolve(octets) });
    else if (label === "ENCRYPTED PRIVATE KEY") {
      bags.keys.push({ ...nameless, open: unshrouding(parse(octets), bags) });
    } else {
      const certificate = readable(octets);
      if (certificate !== null) bags.certificates.push({ ...nameless, certificate });
    }
  }
  return bags;
}

async function choose(bags: Bags, wanted: readonly Uint8Array[] | undefined, effort: Effort): Promise<P12Content> {
  const fitting = await fittingOf(bags, wanted);
  if (fitting.length === 0) throw nothingFits(bags, wanted);
  if (bags.keys.length === 0) throw bags.skipped[0] ?? new P12Error("no-key");
  if (!bags.withMac && wanted === undefined) throw new P12Error("no-mac");
  const faults: P12Error[] = [];
  for (const leaf of fitting) {
    const { own, others } = keysFor(leaf, bags);
    for (const bag of [...own, null, ...others]) {
      // A wrong mark is passed over; a key that does not open is the one to speak of, and nothing more is tried.
      if (bag === null && faults.some((fault) => fault.code !== "key-mismatch")) break;
      const key = bag === null ? null : await keyOf(bag, leaf.certificate, effort, faults);
      if (bag !== null && key !== null) return content(bags, leaf, bag, key);
    }
  }
  const told =
    faults.find((fault) => fault.code !== "key-mismatch") ??
    faults[0] ??
    bags.skipped[0] ??
    new P12Error("key-mismatch");
  // Without a MAC, nothing but the key inside tells whether the pass-phrase is right.
  throw told.code === "other-passphrase-inside" && !bags.withMac ? new P12Error("wrong-passphrase") : told;
}

function content(bags: Bags, leaf: CertificateBag, key: KeyBag, pkcs8: Bytes): P12Content {
  const chain = chainOf(
    leaf.certificate,
    bags.certificates.map((one) => one.certificate),
  );
  return {
    key: pkcs8,
    certificates: chain.map((one) => one.der),
    friendlyName: leaf.friendlyName ?? key.friendlyName,
    withoutMac: !bags.withMac,
  };
}

/** The certificates that will do, each once, the one that is valid longest first. */
async function fittingOf(bags: Bags, wanted: readonly Uint8Array[] | undefined): Promise<readonly CertificateBag[]> {
  const fitting: CertificateBag[] = [];
  for (const bag of bags.certificates) {
    const digest = await sha256(bag.certificate.der);
    const asked = wanted === undefined || wanted.some((each) => equal(each, digest));
    if (asked && !fitting.some((one) => equal(one.certificate.der, bag.certificate.der))) fitting.push(bag);
  }
  return fitting.sort(longest);
}

const longest = (a: CertificateBag, b: CertificateBag): number =>
  b.certificate.notAfter.getTime() - a.certificate.notAfter.getTime();

function nothingFits(bags: Bags, wanted: readonly Uint8Array[] | undefined): P12Error {
  const [skipped] = bags.skipped;
  if (skipped !== undefined) {
    return skipped.code === "other-passphrase-inside" && !bags.withMac ? new P12Error("wrong-passphrase") : skipped;
  }
  if (bags.certificates.length === 0 || wanted === undefined)
    return new P12Error(bags.keys.length === 0 ? "no-key" : "no-certificate");
  const named = bags.certificates.filter((one) => one.localKeyId !== null);
  const found = [...(named.length > 0 ? named : bags.certificates)].sort(longest).map((one) => one.certificate);
  return new P12Error("other-certificate", null, { found });
}

interface Candidates {
  readonly own: readonly KeyBag[];
  readonly others: readonly KeyBag[];
}

/** The keys of the same localKeyID; of the others first those that are no other certificate's. */
function keysFor(leaf: CertificateBag, bags: Bags): Candidates {
  const same = (id: Bytes | null, other: Bytes | null): boolean => id !== null && other !== null && equal(id, other);
  const own = bags.keys.filter((key) => same(key.localKeyId, leaf.localKeyId));
  const rest = bags.keys.filter((key) => !own.includes(key));
  const taken = (key: KeyBag): boolean => bags.certificates.some((one) => same(one.localKeyId, key.localKeyId));
  return { own, others: [...rest.filter((key) => !taken(key)), ...rest.filter(taken)] };
}

/** The PKCS#8 when it opens and is this certificate's; null with a word in `faults` when not. */
async function keyOf(bag: KeyBag, certificate: Certificate, effort: Effort, faults: P12Error[]): Promise<Bytes | null> {
  let pkcs8: Bytes | null = null;
  try {
    pkcs8 = await bag.open(effort);
    return (await pairOf(pkcs8, certificate.spki, false)).pkcs8;
  } catch (error) {
    if (error instanceof KeyError) {
      const unfit =
        error.code === "key-mismatch"
          ? new P12Error("key-mismatch")
          : new P12Error("unsupported-key", keyTypeOf(pkcs8 ?? new Uint8Array(0)));
      faults.push(unfit);
    } else if (
      error instanceof P12Error &&
      (error.code === "other-passphrase-inside" || error.code === "unsupported-algorithm")
    ) {
      faults.push(error);
    } else {
      throw error;
    }
    return null;
  }
}
