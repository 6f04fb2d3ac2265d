/** The new certificate: into the vault, or saved as a .p12; then the new key proves itself, and only then it counts. */
import { NetworkFailure } from "../api.ts";
import { toBase64Url } from "../base64.ts";
import { find, need, show, valueOf } from "../dom.ts";
import { sha256 } from "../keys.ts";
import { type Order, type Prepared, prepare } from "../orders.ts";
import { orderAddress, type Page } from "../page.ts";
import { complain } from "../problems.ts";
import { onSubmit } from "../submit.ts";
import type { PendingKey } from "../vault.ts";
import { t } from "../words.ts";
import { type Chain, chainFor, fileName, fileOf, nameWithin, p12Blob } from "./installed.ts";
import { portalOfPage, unwrapped } from "./key.ts";
import { warnOfClock } from "./clock-notice.ts";
import { serverTime } from "./server-time.ts";

interface InstallStep {
  readonly page: Page;
  readonly form: HTMLFormElement;
  readonly id: string;
  /** Sent, and the answer was lost. */
  unanswered: Prepared | null;
}

export function attachInstall(page: Page, form: HTMLFormElement): void {
  const step: InstallStep = { page, form, id: form.dataset["order"] ?? "", unanswered: null };
  void look(step);
  void warnOfClock(page, form);
  onSubmit(page, form, () => install(step), { failed: () => progress(step, "") });
}

/** Says at once when the key is not here. */
async function look(step: InstallStep): Promise<void> {
  const order = await step.page.orders.get(step.id).catch(() => null);
  if (order === null) return;
  const here = await keyHere(step, order).catch(() => null);
  if (here === null) missing(step);
}

function missing(step: InstallStep): void {
  show(find(document, "[data-key-missing]", HTMLElement), true);
  show(step.form, false);
  const leave = document.querySelector<HTMLDetailsElement>("details.cm-leave");
  if (leave !== null) leave.open = true;
}

/** The pending key of this order; the private key of the vault where it was put there before; null when neither is here. */
async function keyHere(step: InstallStep, order: Order): Promise<PendingKey | CryptoKey | null> {
  const vault = await step.page.vault();
  const pending = await vault.pending(step.id);
  if (pending !== null && (order.spkiSha256 === null || pending.spkiSha256 === order.spkiSha256)) return pending;
  const serial = order.certificate?.serial;
  return serial === undefined ? null : ((await vault.installed(serial))?.privateKey ?? null);
}

/** 1 the certificate; 2 it lies beside its key, or is saved; 3 nonce and proof by the new key; 4 the server activates it. */
async function install(step: InstallStep): Promise<string> {
  const { orders } = step.page;
  if (step.unanswered === null) {
    const order = await orders.get(step.id);
    if (order.next !== "install") return orderAddress(order.id); // another tab was quicker
    const chain = await chainFor(step.page, order);
    const privateKey = await installed(step, order, chain);
    progress(step, t("The new key proves itself…"));
    step.unanswered = await proven(step, order, chain, privateKey);
  }
  try {
    return orderAddress((await orders.prove(step.id, step.unanswered)).id);
  } catch (error) {
    if (!(error instanceof NetworkFailure)) step.unanswered = null;
    throw error;
  }
}

async function installed(step: InstallStep, order: Order, chain: Chain): Promise<CryptoKey> {
  const here = await keyHere(step, order);
  if (here === null) {
    missing(step);
    throw complain(null, t("The key of this certificate is not in this browser."));
  }
  if (here instanceof CryptoKey) return here;
  if (here.home === "browser") {
    progress(step, t("Putting the certificate into this browser…"));
    return (await (await step.page.vault()).install(step.id, chain, step.page.clock.now())).privateKey;
  }
  const passphrase = valueOf(step.form, "passphrase");
  if (passphrase === "") throw complain("passphrase", t("Please enter your pass-phrase."));
  progress(step, t("Making the certificate file…"));
  const pair = await unwrapped(here, passphrase);
  const name = fileName(find(step.form, "[data-file-name]", HTMLElement), chain[0].serial, valueOf(step.form, "ending"));
  const file = await fileOf(pair, chain, nameWithin(name), passphrase);
  step.page.save(p12Blob(file), name);
  return pair.privateKey;
}

async function proven(step: InstallStep, order: Order, chain: Chain, privateKey: CryptoKey): Promise<Prepared> {
  const [leaf] = chain;
  const nonce = await step.page.orders.nonce(step.id);
  const { makeProof } = await import("../proof.ts");
  const statement = {
    portal: order.portal ?? portalOfPage(),
    order: order.id,
    nonce,
    newSpkiSha256: await sha256(new Uint8Array(leaf.spki)),
    purpose: "install" as const,
    at: await serverTime(step.page),
  };
  return prepare(step.id, "prove", nonce, { proof: toBase64Url(await makeProof(statement, leaf.der, privateKey)) });
}

function progress(step: InstallStep, sentence: string): void {
  need(step.form, "[data-progress]", HTMLElement).textContent = sentence;
}
