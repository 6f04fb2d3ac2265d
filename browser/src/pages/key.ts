/** Makes the key of the order, or finds it again, and binds it; a renewal is signed by the old key. */
import { toBase64Url } from "../base64.ts";
import { find, need, valueOf } from "../dom.ts";
import { generate, type KeyPair, sha256, spkiOf, spkiSha256, KeyError, unwrap, wrap } from "../keys.ts";
import { NetworkFailure } from "../api.ts";
import { type Order, type Prepared, prepare } from "../orders.ts";
import { orderAddress, type Page } from "../page.ts";
import { complain, Complaints } from "../problems.ts";
import { onSubmit } from "../submit.ts";
import type { PendingKey } from "../vault.ts";
import { t } from "../words.ts";
import { notice } from "./kept-key.ts";
import { attachPassphrase, type NewPassphrase } from "./new-passphrase.ts";
import { attachOldKey, type OldKey } from "./old-key.ts";
import { serverTime } from "./server-time.ts";

interface KeyStep {
  readonly page: Page;
  readonly form: HTMLFormElement;
  readonly id: string;
  readonly home: "browser" | "file";
  readonly old: OldKey | null;
  readonly passphrase: NewPassphrase | null;
  /** The digest of a key that the customer gives up. */
  given: string | null;
  /** Sent, and the answer was lost. */
  unanswered: Prepared | null;
}

export function attachKey(page: Page, form: HTMLFormElement): void {
  const home = valueOf(form, "key_home") === "file" ? "file" : "browser";
  const section = find(form, "[data-old-key]", HTMLElement);
  const account = document.querySelector<HTMLSelectElement>("#account")?.value ?? "";
  const step: KeyStep = {
    page,
    form,
    id: form.dataset["order"] ?? "",
    home,
    old: section === null ? null : attachOldKey(page, section),
    passphrase: home === "file" ? attachPassphrase(form, [account]) : null,
    given: null,
    unanswered: null,
  };
  void page.ready.then(() => resume(step));
  onSubmit(page, form, () => bind(step), { failed: () => progress(step, "") });
}

/** What was begun earlier: here, or in another browser. Nothing of it is needed to go on. */
async function resume(step: KeyStep): Promise<void> {
  const vault = await step.page.vault().catch(() => null);
  const pending = vault === null ? null : await vault.pending(step.id);
  if (pending?.home === "file" && step.passphrase !== null) {
    step.passphrase.askForOld(() => {
      step.given = pending.spkiSha256;
    });
  }
  const order = await step.page.orders.get(step.id).catch(() => null);
  const bound = order?.spkiSha256 ?? null;
  if (bound === null || bound === pending?.spkiSha256) return;
  notice(
    step.form,
    t(
      "The key of this request was made in another browser or on another computer. You can go on there, or make a new key here; then a new verification code is sent.",
    ),
  );
}

/** 1 what is missing; 2 the key, on disk before it is sent; 3 CSR, nonce and proof; 4 the server binds it. */
async function bind(step: KeyStep): Promise<string> {
  const { orders } = step.page;
  const missing = [...((await step.old?.lacking()) ?? []), ...(step.passphrase?.lacking() ?? [])];
  if (missing.length > 0) throw new Complaints(missing);
  step.unanswered ??= await prepared(step, await orders.get(step.id));
  progress(step, t("Sending…"));
  try {
    return orderAddress((await orders.putKey(step.id, step.unanswered)).id);
  } catch (error) {
    if (!(error instanceof NetworkFailure)) step.unanswered = null;
    throw error;
  }
}

async function prepared(step: KeyStep, order: Order): Promise<Prepared> {
  const renewed = order.oldCertificate;
  const signer = step.old === null || renewed === null ? null : await step.old.signer(renewed);
  progress(step, t("Making your key…"));
  const pair = await keyOf(step);
  const { makeCsr } = await import("../csr.ts");
  const csr = toBase64Url(await makeCsr(pair, order.csrSubject));
  const nonce = await step.page.orders.nonce(step.id);
  if (signer === null) return prepare(step.id, "key", nonce, { csr });
  const { makeProof } = await import("../proof.ts");
  const statement = {
    portal: order.portal ?? portalOfPage(),
    order: order.id,
    nonce,
    newSpkiSha256: await sha256(await spkiOf(pair.publicKey)),
    purpose: "rekey" as const,
    at: await serverTime(step.page),
  };
  const proof = toBase64Url(await makeProof(statement, signer.certificate, signer.privateKey));
  return prepare(step.id, "key", nonce, { csr, proof });
}

/** The key that is on disk for this order: the earlier one, another tab's, or a new one. */
async function keyOf(step: KeyStep): Promise<KeyPair> {
  const vault = await step.page.vault();
  const there = await vault.pending(step.id);
  if (there !== null && there.spkiSha256 !== step.given) return openPending(step, there);
  // Some browsers ask the customer and answer only then: the key does not wait for it.
  if (step.home === "browser") void step.page.persist().catch(() => undefined);
  const pair = await generate(step.home, "P-256");
  const pending = await pendingOf(step, pair);
  const kept = step.given === null ? await vault.keep(pending) : await vault.replace(pending, step.given);
  step.given = null;
  return kept.spkiSha256 === pending.spkiSha256 ? pair : openPending(step, kept);
}

async function pendingOf(step: KeyStep, pair: KeyPair): Promise<PendingKey> {
  const facts = {
    orderId: step.id,
    algorithm: pair.algorithm,
    spkiSha256: await spkiSha256(pair.publicKey),
    spki: await spkiOf(pair.publicKey),
    createdAt: step.page.clock.now(),
  };
  if (step.passphrase === null)
    return { ...facts, home: "browser", privateKey: pair.privateKey, publicKey: pair.publicKey };
  return { ...facts, home: "file", wrapped: await wrap(pair.privateKey, step.passphrase.value()) };
}

async function openPending(step: KeyStep, pending: PendingKey): Promise<KeyPair> {
  if (pending.home === "browser") return pending;
  return unwrapped(pending, step.passphrase?.value() ?? "");
}

/** The pair of a file key; Complaints at `passphrase` when it does not fit. */
export async function unwrapped(pending: PendingKey & { readonly home: "file" }, passphrase: string): Promise<KeyPair> {
  try {
    return await unwrap(pending.wrapped, passphrase);
  } catch (error) {
    if (!(error instanceof KeyError)) throw error;
    throw complain(
      "passphrase",
      t(
        "This is not the pass-phrase under which the key of this request was made. Please type the one that you wrote down.",
      ),
    );
  }
}

function progress(step: KeyStep, sentence: string): void {
  const place = find(step.form, "[data-progress]", HTMLElement);
  if (place !== null) place.textContent = sentence;
}

export function portalOfPage(): string {
  return need(document, 'meta[name="portal-id"]', HTMLMetaElement).content;
}
