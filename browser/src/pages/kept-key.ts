/** Says early that the key of the order is not in this browser, instead of at the last step. */
import { element, find } from "../dom.ts";
import { orderAddress, type Page } from "../page.ts";
import { t } from "../words.ts";

/** For the steps between key and certificate. */
export async function warnOfMissingKey(page: Page, form: HTMLFormElement): Promise<void> {
  const id = form.dataset["order"] ?? "";
  const vault = await page.vault().catch(() => null);
  const order = await page.orders.get(id).catch(() => null);
  if (vault === null || order === null || order.spkiSha256 === null || order.operation === "revoke") return;
  if ((await vault.pending(id))?.spkiSha256 === order.spkiSha256) return;
  await page.ready;
  const sentence = t(
    "The key of this request is not in this browser. Please go on in the browser where you began, or make a new key here; then a new verification code is sent.",
  );
  const link = document.createElement("a");
  link.href = `${orderAddress(id)}?step=key`;
  link.textContent = t("Make a new key here");
  notice(form, sentence, link);
}

export function notice(form: HTMLElement, ...content: readonly (Node | string)[]): void {
  find(document, "[data-key-notice]", HTMLElement)?.remove();
  const made = element("p", "cm-notice cm-notice--warning", ...content.flatMap((each) => [each, " "]));
  made.setAttribute("data-key-notice", "");
  form.before(made);
}
