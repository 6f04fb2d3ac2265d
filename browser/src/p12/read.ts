/** Reads a .p12 that some other program wrote. The file and its pass-phrase never leave the page. */
import { BerError, inside, is, members, octetsOf, oidOf, parse, UNIVERSAL, type Node } from "../ber.ts";
import { type Certificate, chainOf, readCertificate } from "../certificate.ts";
import { type Bytes, equal, hex, oid } from "../der.ts";
import { KeyError, pairOf, sha256 } from "../keys.ts";
import { open, openCost } from "./decrypt.ts";
import { Effort, type Encoded, encodings, QUICK, type Waiting } from "./derive.ts";
import { macCost, matching } from "./mac.ts";
import { OID, P12Error, type P12Fault, unsupported } from "./names.ts";
import { plainPfx } from "./pfx.ts";
import { meant, taken } from "./typed.ts";

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
    const content = plainPfx(file) ?? (await import("./wrapped.ts")).contentOf(file);
    const typed = forms(passphrase);
    const inner = request.keyPassphrase === undefined ? [] : forms(request.keyPassphrase);
    const bags =
      "pfx" in content
        ? await bagsOf(content.pfx, typed, inner, effort)
        : bagsOfText(content.blocks, [...typed, ...inner]);
    return await choose(bags, request, effort);
  } catch (cause) {
    if (cause instanceof BerError) throw new P12Error("malformed", null, { cause });
    throw cause;
  }
}

/** Every form of a pass-phrase to try, the rare ones last. */
function forms(passphrase: string): readonly Encoded[] {
  const usual = meant(passphrase).flatMap(encodings);
  const rare = taken(passphrase).flatMap(encodings);
  return [
    ...usual.filter((each) => !each.rare),
    ...usual.filter((each) => each.rare),
    ...rare.map((each) => ({ ...each, rare: true })),
  ];
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
  let passwords = [...typed, ...inner];
  if (macData !== undefined) {
    const fitting = await matching(macData, content, passwords, effort).catch(async (error: unknown) => {
      const quick = macCost(macData) <= QUICK && is12(error, "wrong-passphrase");
      throw quick ? await whyNot(error, content, safes, typed, effort) : error;
    });
    // What is inside may be under the same pass-phrase in another encoding; a seal under none says nothing of it.
    const all = fitting.text === "" || inner.includes(fitting);
    const near = typed.filter((each) => each !== fitting && (all || each.text === fitting.text));
    passwords = [{ ...fitting, rare: false }, ...near, ...inner.filter((each) => each !== fitting)];
  }
  const bags = noBags(passwords, macData !== undefined);
  for (const safe of safes) await collectSafe(safe, bags, effort);
  return bags;
}

const is12 = (error: unknown, ...codes: readonly P12Fault[]): error is P12Error =>
  error instanceof P12Error && codes.includes(error.code);

/** Windows protects a file for accounts, and keeps the pass-phrase that it made in a bag of this kind. */
const PROTECTED = hex(oid("1.3.6.1.4.1.311.17.4"));

/** Why no pass-phrase fits the seal: one that opens what is inside is the right one. */
async function whyNot(
  wrong: P12Error,
  content: Bytes,
  safes: readonly Node[],
  typed: readonly Encoded[],
  effort: Effort,
): Promise<P12Error> {
  if (hex(content).includes(PROTECTED)) return new P12Error("unsupported-algorithm", "Windows DPAPI-NG");
  const cheap = safes.filter((safe) => oidOf(members(safe)[0]) === OID.encryptedData && costOf(safe) <= QUICK);
  const bags = noBags(typed, true);
  for (const safe of cheap) await collectSafe(safe, bags, effort);
  return cheap.length > 0 && bags.skipped.length === 0 ? new P12Error("seal-broken") : wrong;
}

const noBags = (passwords: readonly Encoded[], withMac: boolean): Bags => ({
  passwords,
  withMac,
  keys: [],
  certificates: [],
  skipped: [],
});

/** The iterations that the MAC, the encrypted parts and one key cost: of what a file may ask for, the usual part. */
function planned(macData: Node | undefined, safes: readonly Node[]): number {
  const costs = safes.map(costOf);
  const mac = macData === undefined ? 0 : macCost(macData);
  return mac + costs.reduce((sum, cost) => sum + cost, 0) + Math.max(...costs, 3 * mac);
}

/** 0 for a part that is not encrypted, or that nobody can read. */
function costOf(safe: Node): number {
  try {
    return oidOf(members(safe)[0]) === OID.encryptedData ? openCost(encrypted(safe).scheme) : 0;
  } catch (error) {
    if (error instanceof BerError) return 0;
    throw error;
  }
}

function encrypted(safe: Node): { scheme: Node | undefined; ciphertext: Bytes } {
  const [, info] = members(inside(members(safe)[1], 0));
  const [, scheme, ciphertext] = members(info);
  return { scheme, ciphertext: octetsOf(ciphertext, 0) };
}

async function collectSafe(safe: Node, bags: Bags, effort: Effort): Promise<void> {
  try {
    if (oidOf(members(safe)[0]) !== OID.encryptedData) return collect(parse(dataOf(safe)), bags);
    const { scheme, ciphertext } = encrypted(safe);
    const { value, password } = await open(scheme, ciphertext, bags.passwords, effort);
    const others = bags.passwords.filter((each) => each !== password);
    bags.passwords = [password, ...others];
    collect(value, bags);
  } catch (error) {
    bags.skipped.push(partial(error));
  }
}

/** What is wrong with a part of the file, which may be none that is wanted; whatever else it is, it is thrown again. */
function partial(error: unknown): P12Error {
  if (error instanceof BerError) return new P12Error("malformed", null, { cause: error });
  if (is12(error, "unsupported-algorithm", "other-passphrase-inside", "malformed")) return error;
  throw error;
}

function collect(safeContents: Node, bags: Bags): void {
  for (const bag of members(safeContents)) {
    try {
      collectBag(bag, bags);
    } catch (error) {
      bags.skipped.push(partial(error));
    }
  }
}

const BAGS: ReadonlySet<string> = new Set([OID.keyBag, OID.shroudedKeyBag, OID.certBag, OID.safeContentsBag]);

function collectBag(bag: Node, bags: Bags): void {
  const [type, wrapped, attributes] = members(bag);
  const kind = oidOf(type);
  if (!BAGS.has(kind)) return; // revocation lists and secrets are not ours
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
  const bags = noBags(passwords, false);
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

async function choose(bags: Bags, request: Request, effort: Effort): Promise<P12Content> {
  const { wanted, known } = request;
  const fitting = await fittingOf(bags, wanted);
  if (fitting.length === 0) return chooseKnown(bags, wanted, known, effort);
  if (bags.keys.length === 0) throw worst(bags.skipped) ?? new P12Error("no-key");
  if (!bags.withMac && wanted === undefined) throw new P12Error("no-mac");
  const faults: P12Error[] = [];
  for (const leaf of fitting) {
    const { own, others } = keysFor(leaf, bags);
    for (const bag of [...own, null, ...others]) {
      // A wrong mark is passed over; a key that does not open is the one to speak of, and nothing more is tried.
      if (bag === null && faults.some((fault) => !["key-mismatch", "malformed"].includes(fault.code))) break;
      const key = bag === null ? null : await keyOf(bag, leaf.certificate, effort, faults);
      if (bag !== null && key !== null) return content(bags, leaf, bag, key);
    }
  }
  throw told(worst(faults) ?? worst(bags.skipped) ?? new P12Error("key-mismatch"), bags);
}

/** Of several faults the one to speak of: what the customer can do something about comes before damage. */
const worst = (faults: readonly P12Error[]): P12Error | undefined =>
  faults.find((fault) => fault.code !== "key-mismatch" && fault.code !== "malformed") ??
  faults.find((fault) => fault.code === "key-mismatch") ??
  faults[0];

/** Without a MAC, nothing but what is inside tells whether the pass-phrase is right. */
const told = (fault: P12Error, bags: Bags): P12Error =>
  fault.code === "other-passphrase-inside" && !bags.withMac ? new P12Error("wrong-passphrase") : fault;

/** The wanted certificate is not in the file, or cannot be read there; its key may be. */
async function chooseKnown(
  bags: Bags,
  wanted: Request["wanted"],
  known: Request["known"],
  effort: Effort,
): Promise<P12Content> {
  const missing = told(nothingFits(bags, wanted), bags);
  if (known === undefined || wanted === undefined) throw missing;
  const certificate = readCertificate(known);
  const faults: P12Error[] = [];
  for (const bag of keysWithout(certificate, bags)) {
    const key = await keyOf(bag, certificate, effort, faults);
    if (key !== null) return content(bags, { friendlyName: null, localKeyId: null, certificate }, bag, key);
  }
  const fault = worst(faults);
  const unknown = fault === undefined || (fault.code === "key-mismatch" && bags.certificates.length > 0);
  throw unknown || bags.skipped.length > 0 ? missing : told(fault, bags);
}

/** The keys that may be the certificate's: of another one with the same public half, or of none in the file. */
function keysWithout({ spki }: Certificate, bags: Bags): readonly KeyBag[] {
  const alike = bags.certificates.filter((one) => equal(one.certificate.spki, spki));
  return bags.keys.filter(
    (key) =>
      alike.some((one) => one.localKeyId === null || same(one.localKeyId, key.localKeyId)) ||
      !bags.certificates.some((one) => same(one.localKeyId, key.localKeyId)),
  );
}

const same = (id: Bytes | null, other: Bytes | null): boolean => id !== null && other !== null && equal(id, other);

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
  const skipped = worst(bags.skipped);
  if (skipped !== undefined && (skipped.code !== "malformed" || bags.certificates.length === 0)) return skipped;
  if (bags.keys.length === 0) return new P12Error("no-key");
  if (bags.certificates.length === 0 || wanted === undefined) return new P12Error("no-certificate");
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
    if (!(error instanceof KeyError)) faults.push(partial(error));
    else if (error.code === "key-mismatch") faults.push(new P12Error("key-mismatch"));
    else {
      const { keyTypeOf } = await import("./key-type.ts");
      faults.push(new P12Error("unsupported-key", keyTypeOf(pkcs8 ?? new Uint8Array(0))));
    }
    return null;
  }
}
