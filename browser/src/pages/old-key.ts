/** The key of the certificate that is renewed: in this browser's vault, or in a file that is opened here. */
import { equal, type Bytes } from "../der.ts";
import { find, need, show } from "../dom.ts";
import { fromPkcs8, sha256 } from "../keys.ts";
import type { OldCertificate } from "../orders.ts";
import type { Page } from "../page.ts";
import { type Complaint, complain, Complaints } from "../problems.ts";
import type { InstalledKey } from "../vault.ts";
import { t } from "../words.ts";
import { explainFile, octetsOf, tooBig } from "./file-faults.ts";
import { sayLater } from "./later.ts";
import { patiently } from "./opening.ts";

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

export function attachOldKey(page: Page, section: HTMLElement): OldKey {
  const wanted = digestOf(section.dataset["sha256"] ?? "");
  const file = need(section, "#old_file", HTMLInputElement);
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
    lacking: async () => ((await inVault()) === null ? lacking(file) : []),
    signer: async (old) => {
      const entry = await inVault();
      const der = entry?.certificates[0];
      if (entry !== null && der !== undefined) return { privateKey: entry.privateKey, certificate: der };
      return opened(section, file, old, wanted);
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

/** The pass-phrase may be empty: there are files without one. */
function lacking(file: HTMLInputElement): readonly Complaint[] {
  if (file.files?.[0] !== undefined) return [];
  return [{ field: "old_file", sentence: t("Please choose the file of your present certificate.") }];
}

async function opened(
  section: HTMLElement,
  input: HTMLInputElement,
  old: OldCertificate,
  wanted: Bytes,
): Promise<Signer> {
  const file = input.files?.[0];
  if (file === undefined) throw complain("old_file", t("Please choose the file of your present certificate."));
  const { MAX_P12_SIZE, P12Error, readP12 } = await import("../p12.ts");
  if (file.size > MAX_P12_SIZE) throw complain("old_file", tooBig());
  const typed = {
    passphrase: need(section, "#old_passphrase", HTMLInputElement).value,
    keyPassphrase: find(section, "#old_key_passphrase", HTMLInputElement)?.value ?? "",
  };
  const octets = await octetsOf(file, "old_file");
  try {
    const content = await patiently(section, (waiting) =>
      readP12(octets, typed.passphrase, {
        wanted: [wanted],
        ...(old.der === null ? {} : { known: old.der }),
        keyPassphrase: typed.keyPassphrase,
        waiting,
      }),
    );
    const [certificate] = content.certificates;
    if (certificate === undefined) throw new P12Error("no-certificate");
    if (content.withoutMac) sayLater(unsealed());
    return { privateKey: (await fromPkcs8(content.key, false)).privateKey, certificate };
  } catch (error) {
    if (!(error instanceof P12Error)) throw error;
    if (error.code === "other-passphrase-inside") show(find(section, "[data-old-key-inner]", HTMLElement), true);
    const { readCertificate } = await import("../certificate.ts");
    const issuerName = old.der === null ? "" : readCertificate(old.der).issuerName;
    const asked = { serial: old.serial, issuer: section.dataset["issuer"] ?? "", issuerName };
    throw new Complaints([explainFile(error, typed, asked)], { cause: error });
  }
}

const unsealed = (): string =>
  t(
    "Your old certificate file has no seal that would show a change. We have opened it, because the key in it is the one of your present certificate. Please do not use that file any more when the new one is installed.",
  );

function digestOf(hexDigits: string): Bytes {
  return Uint8Array.from(hexDigits.match(/[0-9a-f]{2}/gi) ?? [], (pair) => Number.parseInt(pair, 16));
}
