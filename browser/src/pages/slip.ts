/** The approval slip: letters that a branch has printed, typed in the place of a code. */
import { need } from "../dom.ts";
import { orderAddress, type Page } from "../page.ts";
import { complain } from "../problems.ts";
import { onSubmit } from "../submit.ts";
import { t } from "../words.ts";
import { warnOfMissingKey } from "./kept-key.ts";

export function attachSlip(page: Page, form: HTMLFormElement): void {
  const id = form.dataset["order"] ?? "";
  const input = need(form, "#slip", HTMLInputElement);
  void warnOfMissingKey(page, form);
  onSubmit(page, form, async () => {
    if (input.value.trim() === "") throw complain("slip", t("Please type the letters of your slip."));
    return orderAddress((await page.orders.step(id, "slip", { slip: input.value })).id);
  });
}
