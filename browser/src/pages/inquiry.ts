/** Where the certificate is kept, as far as this browser can tell. */
import { element, find } from "../dom.ts";
import { plainHex } from "../orders.ts";
import type { Page } from "../page.ts";
import { t } from "../words.ts";

export async function attachWhereKept(page: Page, place: HTMLElement): Promise<void> {
  const text = find(place, "[data-kept-text]", HTMLElement);
  const home = place.dataset["keyHome"];
  if (text === null || (home !== "browser" && home !== "file")) return;
  const vault = await page.vault().catch(() => null);
  if (vault === null) return;
  const here = await vault.installed(plainHex(place.dataset["serial"] ?? ""));
  await page.ready;
  if (home === "file") {
    // It was put here where its file did not come.
    if (here !== null) text.textContent = t("In this browser on this computer, and in a file if you have saved one");
    return;
  }
  if (here !== null) {
    text.textContent = t("In this browser on this computer");
    return;
  }
  text.textContent = t("Not found in this browser");
  const way = document.createElement("a");
  way.className = "govuk-link";
  way.href = "/certificates/apply?operation=replace";
  way.textContent = t("Apply for a new one");
  const hint = t("It is in the browser in which you applied, unless that browser has cleared it: then please");
  text.after(element("p", "govuk-hint", `${hint} `, way));
}
