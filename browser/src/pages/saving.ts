/**
 * A certificate file on its way to the customer: saved, or shared, or copied as text; and then opened once more, because
 * a download that was begun is not a file that is there.
 */
import { readCertificate } from "../certificate.ts";
import { announce, find, need, show, valueOf } from "../dom.ts";
import type { Bytes } from "../der.ts";
import { fromPkcs8, type KeyPair, sha256 } from "../keys.ts";
import type { Page } from "../page.ts";
import { complain, Complaints } from "../problems.ts";
import { run } from "../submit.ts";
import type { PendingFileKey } from "../vault.ts";
import { t } from "../words.ts";
import { explainFile, octetsOf } from "./file-faults.ts";
import { type Chain, fileName, fileOf, nameWithin, p12Blob } from "./installed.ts";
import { unwrapped } from "./key.ts";
import { patiently } from "./opening.ts";

export interface Saving {
  /** The file has been handed to the browser, or the customer has it from before. */
  readonly saved: () => boolean;
  /** There is no key here to make a file of: what was saved elsewhere can be opened. */
  readonly onlyOpen: () => void;
  /** Saves the file at first, and then opens it: null, or the key out of it. */
  readonly next: (pending: PendingFileKey | null, chain: Chain) => Promise<CryptoKey | null>;
  /** The key under the pass-phrase, without the file. */
  readonly pairOf: (pending: PendingFileKey | null) => Promise<KeyPair>;
}

interface Made {
  readonly file: Bytes;
  readonly name: string;
}

export function attachSaving(page: Page, form: HTMLFormElement): Saving {
  const before = need(form, "[data-save]", HTMLElement);
  const after = need(form, "[data-saved]", HTMLElement);
  let made: Made | null = null;
  const turn = (): void => {
    show(before, false);
    show(after, true);
    find(after, "[data-saved-title]", HTMLElement)?.focus();
  };
  find(form, "[data-saved-before]", HTMLButtonElement)?.addEventListener("click", turn);
  const ways = otherWays(page, form, after, () => made);
  return {
    saved: () => !after.hidden,
    onlyOpen: () => {
      turn();
      show(find(after, "[data-other-ways]", HTMLElement), false);
    },
    next: async (pending, chain) => {
      if (!after.hidden) return reopened(form, chain);
      made = await make(form, pending, chain);
      page.save(p12Blob(made.file), made.name);
      turn();
      ways();
      announce(t("The file is being saved. Please open it once more here."));
      return null;
    },
    pairOf: (pending) => unwrapped(needed(pending), passphraseOf(form)),
  };
}

function passphraseOf(form: HTMLFormElement, field = "passphrase"): string {
  const passphrase = valueOf(form, field);
  if (passphrase === "") throw complain(field, t("Please enter your pass-phrase."));
  return passphrase;
}

function needed(pending: PendingFileKey | null): PendingFileKey {
  if (pending === null) throw complain(null, t("The key of this certificate is not in this browser."));
  return pending;
}

async function make(form: HTMLFormElement, pending: PendingFileKey | null, chain: Chain): Promise<Made> {
  const passphrase = passphraseOf(form);
  const pair = await unwrapped(needed(pending), passphrase);
  const name = fileName(find(form, "[data-file-name]", HTMLElement), chain[0].serial, valueOf(form, "ending"));
  return { file: await fileOf(pair, chain, nameWithin(name), passphrase), name };
}

/** The key as it stands in the file that the customer has; its pass-phrase is typed at `field`. */
export async function reopened(form: HTMLFormElement, chain: Chain, field = "passphrase"): Promise<CryptoKey> {
  const passphrase = passphraseOf(form, field);
  const file = need(form, "#new_file", HTMLInputElement).files?.[0];
  if (file === undefined) throw complain("new_file", t("Please choose the file that was just saved."));
  const { P12Error, readP12 } = await import("../p12.ts");
  const [leaf] = chain;
  const octets = await octetsOf(file, "new_file");
  try {
    const wanted = [await sha256(leaf.der)];
    const content = await patiently(form, (waiting) => readP12(octets, passphrase, { wanted, waiting }));
    if (content.withoutMac) throw new P12Error("malformed");
    return (await fromPkcs8(content.key, false)).privateKey;
  } catch (error) {
    if (!(error instanceof P12Error)) throw error;
    const { issuerName } = readCertificate(leaf.der);
    const asked = { serial: leaf.serial, issuer: issuerName, issuerName };
    const complaint = explainFile(error, { passphrase, keyPassphrase: "" }, asked);
    throw new Complaints([{ ...complaint, field: complaint.field === "old_passphrase" ? field : "new_file" }], {
      cause: error,
    });
  }
}

/** The ways beside a download; the answer shows what this browser can do. */
function otherWays(page: Page, form: HTMLFormElement, after: HTMLElement, made: () => Made | null): () => void {
  const press = (selector: string, act: (file: Made) => Promise<void> | void): void => {
    find(after, selector, HTMLButtonElement)?.addEventListener("click", () => {
      void run(page, form, async () => {
        const file = made();
        if (file === null) throw complain(null, t("Please load the page again and save the file first."));
        await act(file);
        return null;
      });
    });
  };
  press("[data-save-again]", (file) => page.save(p12Blob(file.file), file.name));
  press("[data-copy-text]", (file) => asText(after, file));
  press("[data-share]", async (file) => {
    await navigator.share({ files: [shareable(file)] }).catch((error: unknown) => {
      if (!(error instanceof DOMException)) throw error; // closed by the customer
    });
  });
  return () => {
    const file = made();
    const can = file !== null && "canShare" in navigator && navigator.canShare({ files: [shareable(file)] });
    show(find(after, "[data-share]", HTMLElement), can);
  };
}

const shareable = ({ file, name }: Made): File => new File([file], name, { type: "application/x-pkcs12" });

/** In lines of 64, as other programs write it; shown as well, for where nothing may be copied. */
async function asText(after: HTMLElement, { file }: Made): Promise<void> {
  const letters = btoa(Array.from(file, (octet) => String.fromCharCode(octet)).join(""));
  const text = `-----BEGIN PKCS12-----\n${letters.replace(/.{1,64}/g, "$&\n")}-----END PKCS12-----\n`;
  const area = need(after, "[data-as-text]", HTMLTextAreaElement);
  area.value = text;
  show(area, true);
  show(find(after, "[data-text-hint]", HTMLElement), true);
  const copied = await navigator.clipboard.writeText(text).then(
    () => true,
    () => false,
  );
  if (copied) announce(need(after, "[data-copy-text]", HTMLElement).dataset["doneLabel"] ?? "");
  else area.select();
}
