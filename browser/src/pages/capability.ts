/** Shows what this browser can do. */
import { all, find, show } from "../dom.ts";
import type { Page } from "../page.ts";
import { type Capability, probe, surroundings } from "../capability.ts";
import { t } from "../words.ts";
import { clockSentence } from "./clock-notice.ts";

export async function attachCapability(page: Page, place: HTMLElement): Promise<void> {
  await page.ready;
  const result = find(place, "[data-check-result]", HTMLElement);
  if (result !== null) result.textContent = t("Checking…");
  const found = await probe(surroundings(page.clock.now().getTime(), Date.now()));
  for (const item of all(place, "[data-check]", HTMLElement)) {
    const good = isGood(item.dataset["check"] ?? "", found);
    item.dataset["state"] = good === null ? "unknown" : good ? "good" : "bad";
    const state = find(item, "[data-check-state]", HTMLElement);
    if (state !== null) state.textContent = good === null ? t("could not be checked") : good ? t("yes") : t("no");
    show(find(item, "[data-check-help]", HTMLElement), good === false);
  }
  if (result !== null) result.textContent = verdict(found);
}

/** null: another thing has to be put right before this can be seen. */
function isGood(check: string, found: Capability): boolean | null {
  switch (check) {
    case "secure":
      return !found.obstacles.includes("no-secure-context");
    case "webcrypto":
      return !found.obstacles.includes("no-webcrypto");
    case "indexeddb":
      return found.obstacles.includes("no-webcrypto") ? null : !found.obstacles.includes("no-indexeddb");
    case "stored-keys":
      return found.obstacles.length > 0 ? null : found.keepsKeys;
    case "persistent":
      return found.storage === "unknown" ? null : found.storage === "persistent";
    case "clock":
      return !found.warnings.includes("clock-skew");
    default:
      return null;
  }
}

function verdict(found: Capability): string {
  if (found.obstacles.length > 0)
    return t("With this browser you cannot apply for a certificate yet. Below is what to do.");
  if (!found.keepsKeys)
    return t("You can apply for a certificate file. This browser cannot keep a certificate itself.");
  if (found.warnings.includes("clock-skew"))
    return `${t("You can apply for a certificate. Please look at the marked line as well.")} ${clockSentence(found.clockSkewMs)}`;
  if (found.warnings.length > 0) return t("You can apply for a certificate. Please look at the marked line as well.");
  return t("Everything is in order: you can apply for a certificate with this browser.");
}
