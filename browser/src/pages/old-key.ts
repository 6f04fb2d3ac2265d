/** The key of the certificate that is renewed: in this browser's vault, or in a file that is opened here. */
import { equal, type Bytes } from "../der.ts";
import { find, need, show } from "../dom.ts";
import { fromPkcs8, KeyError, sha256 } from "../keys.ts";
import type { OldCertificate } from "../orders.ts";
import type { Page } from "../page.ts";
import { type Complaint, complain, Complaints } from "../problems.ts";
import type { InstalledKey } from "../vault.ts";
import { t } from "../words.ts";

export interface Signer {
  readonly privateKey: CryptoKey;
  /** DER. */
  readonly certificate: Bytes;
}

export interface OldKey {
  /** What is still missing in the form. */
  readonly lacking: () => Promise<readonly Complaint[]>;
  /** Complaints where the file cannot be opened or holds another certificate. */
  readonly signer: (old: OldCertificate) => Promise<Signer>;
}

const MAX_FILE = 64 * 1024;

export function attachOldKey(page: Page, section: HTMLElement): OldKey {
  const wanted = digestOf(section.dataset["sha256"] ?? "");
  const file = need(section, "#old_file", HTMLInputElement);
  const passphrase = need(section, "#old_passphrase", HTMLInputElement);
  let byFile = false;
  const found = search(page, wanted).catch(() => null);
  const ways = (entry: InstalledKey | null): void => {
    show(find(section, "[data-old-key-found]", HTMLElement), entry !== null && !byFile);
    show(find(section, "[data-old-key-file]", HTMLElement), entry === null || byFile);
  };
  void found.then(ways);
  find(section, "[data-use-file]", HTMLElement)?.addEventListener("click", () => {
    byFile = true;
    void found.then(ways);
    file.focus();
  });
  const inVault = async (): Promise<InstalledKey | null> => (byFile ? null : found);
  return {
    lacking: async () => ((await inVault()) === null ? lacking(file, passphrase) : []),
    signer: async (old) => {
      const entry = await inVault();
      const der = entry?.certificates[0];
      if (entry !== null && der !== undefined) return { privateKey: entry.privateKey, certificate: der };
      return opened(file, passphrase.value, old, wanted);
    },
  };
}

async function search(page: Page, wanted: Uint8Array): Promise<InstalledKey | null> {
  for (const entry of await (await page.vault()).allInstalled()) {
    const der = entry.certificates[0];
    if (der !== undefined && equal(await sha256(der), wanted)) return entry;
  }
  return null;
}

function lacking(file: HTMLInputElement, passphrase: HTMLInputElement): readonly Complaint[] {
  const missing: Complaint[] = [];
  const chosen = file.files?.[0];
  if (chosen === undefined) missing.push({ field: "old_file", sentence: t("Please choose the file of your present certificate.") });
  if (chosen !== undefined && chosen.size > MAX_FILE) missing.push({ field: "old_file", sentence: tooBig() });
  if (passphrase.value === "") missing.push({ field: "old_passphrase", sentence: t("Please enter the pass-phrase of this file.") });
  return missing;
}

async function opened(input: HTMLInputElement, passphrase: string, old: OldCertificate, wanted: Bytes): Promise<Signer> {
  const file = input.files?.[0];
  if (file === undefined) throw complain("old_file", t("Please choose the file of your present certificate."));
  const { P12Error, readP12 } = await import("../p12.ts");
  try {
    const content = await readP12(new Uint8Array(await file.arrayBuffer()), passphrase, wanted);
    const certificate = content.certificates[0];
    if (certificate === undefined || !equal(await sha256(certificate), wanted)) throw await otherOne(certificate, old);
    return { privateKey: (await fromPkcs8(content.key, false)).privateKey, certificate };
  } catch (error) {
    if (error instanceof P12Error) throw new Complaints([faultOf(error.code, error.algorithm)], { cause: error });
    if (error instanceof KeyError) throw new Complaints([faultOf("unsupported-key", null)], { cause: error });
    if (error instanceof DOMException) throw new Complaints([unreadable()], { cause: error });
    throw error;
  }
}

/** Names what was opened, so that the customer knows which file it is not. */
async function otherOne(der: Bytes | undefined, old: OldCertificate): Promise<Complaints> {
  const { readCertificate } = await import("../certificate.ts");
  const found = der === undefined ? null : readCertificate(der);
  const values = {
    name: found?.commonName ?? "",
    until: found?.notAfter.toISOString().slice(0, 10) ?? "",
    serial: found?.serial ?? "",
    wanted: old.serial,
  };
  const sentence = t(
    "This file holds another certificate: %(name)s, valid until %(until)s, serial number %(serial)s. Please choose the file of your present certificate, serial number %(wanted)s.",
    values,
  );
  return complain("old_file", sentence);
}

const tooBig = (): string => t("This file is too big for a certificate file. Please choose the file whose name ends in .p12 or .pfx.");

const unreadable = (): Complaint => ({ field: "old_file", sentence: t("The file cannot be read any more. Please choose it again.") });

function faultOf(code: string, algorithm: string | null): Complaint {
  switch (code) {
    case "wrong-passphrase":
      return { field: "old_passphrase", sentence: t("The pass-phrase does not fit this file. Please type it again; capital and small letters differ.") };
    case "too-big":
      return { field: "old_file", sentence: tooBig() };
    case "no-key":
    case "key-mismatch":
      return { field: "old_file", sentence: t("This file has no key in it, only a certificate. Please choose the file that you made with a pass-phrase.") };
    case "no-certificate":
      return { field: "old_file", sentence: t("There is no certificate in this file. Please choose another file.") };
    case "unsupported-algorithm":
    case "unsupported-key":
    case "too-many-iterations":
    case "other-passphrase-inside":
    case "no-mac":
      return {
        field: "old_file",
        sentence: t("This page cannot open a file of this kind (%(algorithm)s). Please export your certificate again, or apply for a new one.", {
          algorithm: algorithm ?? code,
        }),
      };
    default:
      return { field: "old_file", sentence: t("This is not a certificate file, or it is damaged. Please choose the file whose name ends in .p12 or .pfx.") };
  }
}

function digestOf(hexDigits: string): Bytes {
  return Uint8Array.from(hexDigits.match(/[0-9a-f]{2}/gi) ?? [], (pair) => Number.parseInt(pair, 16));
}
