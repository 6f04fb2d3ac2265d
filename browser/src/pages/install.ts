/**
 * The new certificate: into the vault, or saved as a .p12 that is opened once more; then the new key proves itself, and
 * only then it counts.
 */
import { NetworkFailure } from "../api.ts";
import { toBase64Url } from "../base64.ts";
import { find, need, show } from "../dom.ts";
import { sha256 } from "../keys.ts";
import { type Order, type Prepared, prepare } from "../orders.ts";
import { orderAddress, type Page } from "../page.ts";
import { complain } from "../problems.ts";
import { onSubmit, run } from "../submit.ts";
import type { PendingKey } from "../vault.ts";
import { t } from "../words.ts";
import { warnOfClock } from "./clock-notice.ts";
import { type Chain, chainFor } from "./installed.ts";
import { portalOfPage } from "./key.ts";
import { attachSaving, type Saving } from "./saving.ts";
import { serverTime } from "./server-time.ts";

/** How it is known that the certificate has arrived. */
type Installed = "opened" | "said";

interface InstallStep {
  readonly page: Page;
  readonly form: HTMLFormElement;
  readonly id: string;
  /** For the way of the file. */
  readonly saving: Saving | null;
  /** Sent, and the answer was lost. */
  unanswered: Prepared | null;
}

export function attachInstall(page: Page, form: HTMLFormElement): void {
  const id = form.dataset["order"] ?? "";
  const saving = find(form, "[data-saved]", HTMLElement) === null ? null : attachSaving(page, form);
  const step: InstallStep = { page, form, id, saving, unanswered: null };
  const failed = (): void => progress(step, "");
  void look(step);
  void warnOfClock(page, form);
  onSubmit(page, form, () => install(step, "opened"), { failed });
  find(form, "[data-said]", HTMLButtonElement)?.addEventListener("click", () => void run(page, form, () => install(step, "said"), { failed }));
}

/** Says at once when the key is not here; a file that was saved elsewhere can still be opened here. */
async function look(step: InstallStep): Promise<void> {
  const order = await step.page.orders.get(step.id).catch(() => null);
  if (order === null) return;
  const here = await keyHere(step, order).catch(() => null);
  if (here === null) missing(step);
}

function missing(step: InstallStep): void {
  show(find(document, "[data-key-missing]", HTMLElement), true);
  if (step.saving === null) show(step.form, false);
  else step.saving.onlyOpen();
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

/**
 * 1 the certificate  2 it lies beside its key; or it is saved, and the file is opened once more  3 nonce and proof by
 * the new key  4 the server activates it.
 */
async function install(step: InstallStep, how: Installed): Promise<string | null> {
  const { orders } = step.page;
  if (step.unanswered === null) {
    const order = await orders.get(step.id);
    if (order.next !== "install") return orderAddress(order.id); // another tab was quicker
    const chain = await chainFor(step.page, order);
    const privateKey = await arrived(step, order, chain, how);
    if (privateKey === null) return null;
    progress(step, t("The new key proves itself…"));
    step.unanswered = await proven(step, order, chain, privateKey, how);
  }
  try {
    return orderAddress((await orders.prove(step.id, step.unanswered)).id);
  } catch (error) {
    if (!(error instanceof NetworkFailure)) step.unanswered = null;
    throw error;
  }
}

/** The new key, out of where the certificate is kept; null when there is something left for the customer to do. */
async function arrived(step: InstallStep, order: Order, chain: Chain, how: Installed): Promise<CryptoKey | null> {
  const here = await keyHere(step, order);
  if (here instanceof CryptoKey) return here;
  if (step.saving !== null) {
    const pending = here?.home === "file" ? here : null;
    progress(step, step.saving.saved() ? t("Opening the file…") : t("Making the certificate file…"));
    const key = how === "said" ? await step.saving.keyOf(pending) : await step.saving.next(pending, chain);
    if (key === null) progress(step, "");
    return key;
  }
  if (here?.home !== "browser") {
    missing(step);
    throw complain(null, t("The key of this certificate is not in this browser."));
  }
  progress(step, t("Putting the certificate into this browser…"));
  const vault = await step.page.vault();
  const { serial } = await vault.install(step.id, chain, step.page.clock.now());
  // Read again: what proves itself is what lies there.
  return (await vault.installed(serial))?.privateKey ?? null;
}

async function proven(step: InstallStep, order: Order, chain: Chain, privateKey: CryptoKey, installed: Installed): Promise<Prepared> {
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
  const proof = toBase64Url(await makeProof(statement, leaf.der, privateKey));
  return prepare(step.id, "prove", nonce, { proof, installed });
}

function progress(step: InstallStep, sentence: string): void {
  need(step.form, "[data-progress]", HTMLElement).textContent = sentence;
}
