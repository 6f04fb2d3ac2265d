/** Where the certificate is kept, as far as this browser can tell. */
import { find } from "../dom.ts";
import { plainHex } from "../orders.ts";
import type { Page } from "../page.ts";
import { t } from "../words.ts";

export async function attachWhereKept(page: Page, place: HTMLElement): Promise<void> {
  const text = find(place, "[data-kept-text]", HTMLElement);
  if (text === null || place.dataset["keyHome"] !== "browser") return;
  const vault = await page.vault().catch(() => null);
  if (vault === null) return;
  const here = await vault.installed(plainHex(place.dataset["serial"] ?? ""));
  await page.ready;
  text.textContent = here === null ? t("In another browser or on another computer, not in this one") : t("In this browser on this computer");
}
