/**
 * The new certificate: into the vault, or saved as a .p12 that is opened once more; then the new key proves itself, and
 * only then it counts.
 */
import { NetworkFailure } from "../api.ts";
import { find, need, show } from "../dom.ts";
import { fromPkcs8, pkcs8Of } from "../keys.ts";
import type { Order, Prepared } from "../orders.ts";
import { orderAddress, type Page } from "../page.ts";
import { complain } from "../problems.ts";
import { onSubmit, run } from "../submit.ts";
import type { PendingFileKey, PendingKey } from "../vault.ts";
import { t } from "../words.ts";
import { warnOfClock } from "./clock-notice.ts";
import { type Chain, chainFor, type Installed, proven } from "./installed.ts";
import { attachSaving, type Saving } from "./saving.ts";

/** What the customer does: the file is saved and opened again, or they say that it is there, or this browser keeps it. */
type Way = "opened" | "said" | "kept";

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
  for (const [selector, way] of [
    ["[data-said]", "said"],
    ["[data-into-browser]", "kept"],
  ] as const) {
    find(form, selector, HTMLButtonElement)?.addEventListener(
      "click",
      () => void run(page, form, () => install(step, way), { failed }),
    );
  }
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
  const serial = order.certificate?.serial;
  const installed = serial === undefined ? null : await vault.installed(serial);
  if (installed !== null) return installed.privateKey;
  const pending = await vault.pending(step.id);
  return pending !== null && (order.spkiSha256 === null || pending.spkiSha256 === order.spkiSha256) ? pending : null;
}

/**
 * 1 the certificate  2 it lies beside its key; or it is saved, and the file is opened once more  3 nonce and proof by
 * the new key  4 the server activates it.
 */
async function install(step: InstallStep, how: Way): Promise<string | null> {
  const { orders } = step.page;
  if (step.unanswered === null) {
    const order = await orders.get(step.id);
    if (order.next !== "install") return orderAddress(order.id); // another tab was quicker
    const chain = await chainFor(step.page, order);
    const privateKey = await arrived(step, order, chain, how);
    if (privateKey === null) return null;
    progress(step, t("The new key proves itself…"));
    const installed: Installed = how === "said" ? "said" : "opened";
    step.unanswered = await proven(step.page, order, chain, privateKey, installed);
  }
  try {
    return orderAddress((await orders.prove(step.id, step.unanswered)).id);
  } catch (error) {
    if (!(error instanceof NetworkFailure)) step.unanswered = null;
    throw error;
  }
}

/** The new key, out of where the certificate is kept; null when there is something left for the customer to do. */
async function arrived(step: InstallStep, order: Order, chain: Chain, how: Way): Promise<CryptoKey | null> {
  const here = await keyHere(step, order);
  if (here instanceof CryptoKey) return here;
  if (step.saving !== null) {
    const pending = here?.home === "file" ? here : null;
    if (how === "kept") return intoBrowser(step, pending, chain);
    progress(step, step.saving.saved() ? t("Opening the file…") : t("Making the certificate file…"));
    const key =
      how === "said" ? (await step.saving.pairOf(pending)).privateKey : await step.saving.next(pending, chain);
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

/** A key that was made for a file that does not come: kept here as one that can never leave the browser. */
async function intoBrowser(step: InstallStep, pending: PendingFileKey | null, chain: Chain): Promise<CryptoKey | null> {
  progress(step, t("Putting the certificate into this browser…"));
  const pair = await step.saving?.pairOf(pending);
  if (pair === undefined || pending === null) return null;
  // Some browsers ask the customer and answer only then: nothing waits for it.
  void step.page.persist().catch(() => undefined);
  const pkcs8 = await pkcs8Of(pair.privateKey);
  const locked = await fromPkcs8(pkcs8, false);
  pkcs8.fill(0);
  const vault = await step.page.vault();
  const { serial } = await vault.adopt(chain, locked, pending.spki, pending.spkiSha256, step.page.clock.now());
  return (await vault.installed(serial))?.privateKey ?? null;
}

function progress(step: InstallStep, sentence: string): void {
  need(step.form, "[data-progress]", HTMLElement).textContent = sentence;
}
