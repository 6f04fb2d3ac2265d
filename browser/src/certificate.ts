/** Reads the few fields of an X.509 certificate that the page needs. It judges nothing: trust is the server's business. */
import { BerError, is, members, oidOf, parse, UNIVERSAL, type Node } from "./ber.ts";
import { type Bytes, equal, hex } from "./der.ts";

/** `issuer`, `subject`, `serialNumber` and `spki` are whole DER values as they stand in the certificate. */
export interface Certificate {
  readonly der: Bytes;
  /** Lower-case hex of the serial number, without leading zero octets. */
  readonly serial: string;
  readonly serialNumber: Bytes;
  readonly issuer: Bytes;
  readonly subject: Bytes;
  readonly spki: Bytes;
  readonly notBefore: Date;
  readonly notAfter: Date;
  /** The first common name of the subject; empty when there is none. */
  readonly commonName: string;
  /** The first common name of the issuer, or its organization; empty when there is neither. */
  readonly issuerName: string;
}

const COMMON_NAME = "2.5.4.3";
const ORGANIZATION = "2.5.4.10";

/** The certificate of `der`; a BerError when it is none. */
export function readCertificate(der: Uint8Array): Certificate {
  const whole = parse(der);
  const tbs = members(members(whole)[0]);
  const first = is(tbs[0], 0, "context") ? 1 : 0;
  const [serial, , issuer, validity, subject, spki] = tbs.slice(first);
  if (!is(serial, UNIVERSAL.integer) || !issuer || !validity || !subject || !spki) throw new BerError("no certificate");
  const [notBefore, notAfter] = members(validity);
  return {
    der: whole.raw,
    serial: hex(serial.contents).replace(/^(00)+(?=..)/, ""),
    serialNumber: serial.raw,
    issuer: issuer.raw,
    subject: subject.raw,
    spki: spki.raw,
    notBefore: time(notBefore),
    notAfter: time(notAfter),
    commonName: named(subject, COMMON_NAME),
    issuerName: named(issuer, COMMON_NAME) || named(issuer, ORGANIZATION),
  };
}

/** UTCTime or GeneralizedTime, in UTC with seconds (RFC 5280 s.4.1.2.5). */
function time(node: Node | undefined): Date {
  if (!is(node, 23) && !is(node, 24)) throw new BerError("a time expected");
  const text = new TextDecoder("latin1").decode(node.contents);
  const full = node.tag === 24 ? text : `${Number(text.slice(0, 2)) < 50 ? "20" : "19"}${text}`;
  const parts = /^(\d{4})(\d\d)(\d\d)(\d\d)(\d\d)(\d\d)Z$/.exec(full);
  if (parts === null) throw new BerError("a time of another form");
  const [, year, month, day, hour, minute, second] = parts;
  return new Date(`${year}-${month}-${day}T${hour}:${minute}:${second}Z`);
}

/** The first attribute of this type; empty when there is none. */
function named(name: Node, wanted: string): string {
  for (const attribute of name.children.flatMap((set) => set.children)) {
    const [type, value] = attribute.children;
    if (!is(type, UNIVERSAL.oid) || value === undefined || oidOf(type) !== wanted) continue;
    return new TextDecoder(is(value, UNIVERSAL.bmpString) ? "utf-16be" : "utf-8").decode(value.contents);
  }
  return "";
}

/** The leaf first, then each issuer found by name among `others`; a self-issued certificate ends the chain. */
export function chainOf(leaf: Certificate, others: readonly Certificate[]): readonly Certificate[] {
  const chain = [leaf];
  for (let last = leaf; !equal(last.issuer, last.subject); ) {
    const issuer = others.find((one) => equal(one.subject, last.issuer) && !chain.includes(one));
    if (issuer === undefined) break;
    chain.push(issuer);
    last = issuer;
  }
  return chain;
}
