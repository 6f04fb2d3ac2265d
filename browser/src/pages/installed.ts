/** The certificate of an issued order with its issuers, the .p12 that is made of it, and the proof of its key. */
import { toBase64Url } from "../base64.ts";
import { type Certificate, chainOf, readCertificate } from "../certificate.ts";
import type { Bytes } from "../der.ts";
import { type KeyPair, pkcs8Of, sha256 } from "../keys.ts";
import { type Order, type Prepared, prepare } from "../orders.ts";
import type { Page } from "../page.ts";
import { complain } from "../problems.ts";
import { t } from "../words.ts";
import { portalOfPage } from "./key.ts";
import { serverTime } from "./server-time.ts";

/** How it is known that the certificate has arrived: what lies in this browser was read again. */
export type Installed = "opened" | "said";

export type Chain = readonly [Certificate, ...Certificate[]];

/** The leaf first. Complaints while the order has no certificate. */
export async function chainFor(page: Page, order: Order): Promise<Chain> {
  const serial = order.certificate?.serial;
  const stated = order.certificate?.der
    ? order.certificate
    : serial === undefined
      ? null
      : await page.orders.certificate(serial);
  if (!stated?.der)
    throw complain(null, t("Your certificate is not ready yet. Please load this page again in a moment."));
  const leaf = readCertificate(stated.der);
  return [leaf, ...chainOf(leaf, stated.chain.map(readCertificate)).slice(1)];
}

/** DER; the same key and pass-phrase as before, so that it opens with what was written down. */
export async function fileOf(pair: KeyPair, chain: Chain, name: string, passphrase: string): Promise<Bytes> {
  const { writeP12 } = await import("../p12.ts");
  const key = await pkcs8Of(pair.privateKey);
  const file = await writeP12({ key, certificates: chain.map((one) => one.der), friendlyName: name, passphrase });
  key.fill(0);
  return file;
}

export const p12Blob = (file: Bytes): Blob => new Blob([file], { type: "application/x-pkcs12" });

/** The certificate's name, from the page or else of the serial number, with the ending that was chosen. */
export function fileName(place: HTMLElement | null, serial: string, ending = "p12"): string {
  const name = place?.dataset["fileName"] ?? `certificate-${serial.slice(-8)}`;
  return `${nameWithin(name)}.${ending === "pfx" ? "pfx" : "p12"}`;
}

/** The name that stands inside the file. */
export const nameWithin = (name: string): string => name.replace(/\.(p12|pfx)$/, "");

/** The new key signs the server's nonce. */
export async function proven(
  page: Page,
  order: Order,
  chain: Chain,
  privateKey: CryptoKey,
  installed: Installed,
): Promise<Prepared> {
  const [leaf] = chain;
  const nonce = await page.orders.nonce(order.id);
  const { makeProof } = await import("../proof.ts");
  const statement = {
    portal: order.portal ?? portalOfPage(),
    order: order.id,
    nonce,
    newSpkiSha256: await sha256(new Uint8Array(leaf.spki)),
    purpose: "install" as const,
    at: await serverTime(page),
  };
  const proof = toBase64Url(await makeProof(statement, leaf.der, privateKey));
  return prepare(order.id, "prove", nonce, { proof, installed });
}
