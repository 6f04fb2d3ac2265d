/** After the end: the file once more while its key is still here, and nothing is kept that is not needed. */
import { find, need, show, valueOf } from "../dom.ts";
import type { Page } from "../page.ts";
import { complain } from "../problems.ts";
import { run } from "../submit.ts";
import { t } from "../words.ts";
import { chainFor, fileName, fileOf, nameWithin, p12Blob } from "./installed.ts";
import { unwrapped } from "./key.ts";

/** How long a file can be saved again from this browser. */
const KEPT_MS = 7 * 24 * 3600 * 1000;

/** The order is active: a browser key lies in the vault, so the pending entry goes; a file key stays for a week. */
export async function tidy(page: Page, id: string): Promise<void> {
  const vault = await page.vault().catch(() => null);
  const pending = vault === null ? null : await vault.pending(id);
  if (vault === null || pending === null) return;
  const old = page.clock.now().getTime() - pending.createdAt.getTime() > KEPT_MS;
  if (pending.home === "browser" || old) return vault.forget(id);
  show(find(document, "[data-download-again]", HTMLElement), true);
}

export function attachDownload(page: Page, form: HTMLFormElement): void {
  const id = form.dataset["order"] ?? "";
  const place = form.closest<HTMLElement>("[data-download-again]");
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    void run(page, form, async () => {
      const passphrase = valueOf(form, "passphrase");
      if (passphrase === "") throw complain("passphrase", t("Please enter your pass-phrase."));
      const pending = await (await page.vault()).pending(id);
      if (pending?.home !== "file") throw complain(null, t("The key of this certificate is not in this browser."));
      const pair = await unwrapped(pending, passphrase);
      const chain = await chainFor(page, await page.orders.get(id));
      const name = fileName(place, chain[0].serial, valueOf(form, "ending"));
      page.save(p12Blob(await fileOf(pair, chain, nameWithin(name), passphrase)), name);
      need(form, "input", HTMLInputElement).blur();
      return null;
    });
  });
}

/** The order ended without a certificate: its key is of no use. */
export async function forget(page: Page, id: string): Promise<void> {
  const vault = await page.vault().catch(() => null);
  await vault?.forget(id);
}
