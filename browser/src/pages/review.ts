/** The last look: consent, the question, and one confirmation. */
import { find, need, valueOf } from "../dom.ts";
import { orderAddress, type Page } from "../page.ts";
import { complain } from "../problems.ts";
import { onSubmit, run } from "../submit.ts";
import { t } from "../words.ts";
import { warnOfMissingKey } from "./kept-key.ts";

export function attachReview(page: Page, form: HTMLFormElement): void {
  const id = form.dataset["order"] ?? "";
  const agreed = need(form, "#consent", HTMLInputElement);
  const dialog = need(document, "[data-confirm-dialog]", HTMLDialogElement);
  const yes = need(dialog, "[data-dialog-confirm]", HTMLButtonElement);
  const no = find(dialog, "[data-dialog-cancel]", HTMLButtonElement);
  void warnOfMissingKey(page, form);
  onSubmit(page, form, async () => {
    if (!agreed.checked) throw complain("consent", t("Please read the text and tick the box, if you agree."));
    if (!dialog.open) dialog.showModal();
    return null;
  });
  no?.addEventListener("click", () => dialog.close());
  dialog.addEventListener("cancel", (event) => {
    if (form.hasAttribute("data-busy")) event.preventDefault();
  });
  const confirm = async (): Promise<string> => {
    const consent = valueOf(form, "consent_sha256");
    try {
      return orderAddress((await page.orders.step(id, "confirm", { consent })).id);
    } catch (error) {
      dialog.close();
      throw error;
    }
  };
  yes.addEventListener("click", () => void run(page, form, confirm, { buttons: no === null ? [yes] : [yes, no] }));
}
