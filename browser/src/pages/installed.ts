/** The certificate of an issued order with its issuers, and the .p12 that is made of it. */
import { type Certificate, chainOf, readCertificate } from "../certificate.ts";
import type { Bytes } from "../der.ts";
import { type KeyPair, pkcs8Of } from "../keys.ts";
import type { Order } from "../orders.ts";
import type { Page } from "../page.ts";
import { complain } from "../problems.ts";
import { t } from "../words.ts";

export type Chain = readonly [Certificate, ...Certificate[]];

/** The leaf first. Complaints while the order has no certificate. */
export async function chainFor(page: Page, order: Order): Promise<Chain> {
  const serial = order.certificate?.serial;
  const stated = order.certificate?.der ? order.certificate : serial === undefined ? null : await page.orders.certificate(serial);
  if (!stated?.der) throw complain(null, t("Your certificate is not ready yet. Please load this page again in a moment."));
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
