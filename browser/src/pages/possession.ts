/**
 * Shows that this login holds the key that another one has bound: the key signs the server's nonce and the login's id.
 * A key in the vault does so by itself, a file's key asks for its pass-phrase, a program's key is named by its words.
 */
import { NetworkFailure } from "../api.ts";
import { toBase64Url } from "../base64.ts";
import { find, show, valueOf } from "../dom.ts";
import type { KeyPair } from "../keys.ts";
import { type Order, type Prepared, prepare } from "../orders.ts";
import { orderAddress, type Page } from "../page.ts";
import { complain } from "../problems.ts";
import { onSubmit } from "../submit.ts";
import type { PendingKey } from "../vault.ts";
import { t } from "../words.ts";
import { portalOfPage, unwrapped } from "./key.ts";
import { serverTime } from "./server-time.ts";

interface PossessionStep {
  readonly page: Page;
  readonly form: HTMLFormElement;
  readonly id: string;
  /** Sent, and the answer was lost. */
  unanswered: Prepared | null;
}

export function attachPossession(page: Page, form: HTMLFormElement): void {
  const step: PossessionStep = { page, form, id: form.dataset["order"] ?? "", unanswered: null };
  if (find(form, "#key_words", HTMLInputElement) === null) void page.ready.then(() => look(step));
  onSubmit(page, form, () => possess(step));
}

/** Which of the three it is: a key of this browser goes on by itself, a file's key asks, and a missing one says so. */
async function look(step: PossessionStep): Promise<void> {
  const order = await step.page.orders.get(step.id).catch(() => null);
  const pending = order === null ? null : await pendingOf(step, order).catch(() => null);
  const home = pending?.home ?? "missing";
  show(find(step.form, `[data-possession="${home}"]`, HTMLElement), true);
  show(find(step.form, "[data-possession-submit]", HTMLElement), home !== "missing");
  const again = find(document, "details[data-begin-again]", HTMLDetailsElement);
  if (home === "missing" && again !== null) again.open = true;
  if (home === "browser") step.form.requestSubmit();
}

async function pendingOf(step: PossessionStep, order: Order): Promise<PendingKey | null> {
  const pending = await (await step.page.vault()).pending(step.id);
  return pending !== null && pending.spkiSha256 === order.spkiSha256 ? pending : null;
}

async function possess(step: PossessionStep): Promise<string> {
  const { orders } = step.page;
  if (find(step.form, "#key_words", HTMLInputElement) !== null) {
    const words = valueOf(step.form, "key_words");
    if (words.trim() === "") throw complain("key_words", t("Please type the key words that your program shows."));
    return orderAddress((await orders.step(step.id, "possession", { key_words: words })).id);
  }
  step.unanswered ??= await prepared(step, await orders.get(step.id));
  try {
    return orderAddress((await orders.possess(step.id, step.unanswered)).id);
  } catch (error) {
    if (!(error instanceof NetworkFailure)) step.unanswered = null;
    throw error;
  }
}

async function prepared(step: PossessionStep, order: Order): Promise<Prepared> {
  const pending = await pendingOf(step, order);
  if (pending === null) throw complain(null, t("The key of this request is not in this browser."));
  const pair = await opened(step, pending);
  const nonce = await step.page.orders.nonceOfLogin(step.id);
  const { makePossession } = await import("../proof.ts");
  const statement = {
    portal: order.portal ?? portalOfPage(),
    order: order.id,
    login: nonce.login,
    nonce: nonce.octets,
    at: await serverTime(step.page),
  };
  const proof = toBase64Url(await makePossession(statement, pending.spki, pair.privateKey));
  return prepare(step.id, "possession", nonce.octets, { proof });
}

async function opened(step: PossessionStep, pending: PendingKey): Promise<KeyPair> {
  if (pending.home === "browser") return pending;
  const passphrase = valueOf(step.form, "passphrase");
  if (passphrase === "") throw complain("passphrase", t("Please enter your pass-phrase."));
  return unwrapped(pending, passphrase);
}
