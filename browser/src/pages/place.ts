/** The certificate shall be kept elsewhere than was chosen: the open order ends and the same begins anew, in one step. */
import { valueOf } from "../dom.ts";
import { orderAddress, type Page } from "../page.ts";
import { onSubmit } from "../submit.ts";

export function attachPlace(page: Page, form: HTMLFormElement): void {
  const id = form.dataset["order"] ?? "";
  onSubmit(page, form, async () => {
    const { operation, account, reason } = await page.orders.get(id);
    const wanted = { operation, account, key_home: valueOf(form, "other_home"), instead: id };
    return orderAddress((await page.orders.start(reason === null ? wanted : { ...wanted, reason })).id);
  });
}
