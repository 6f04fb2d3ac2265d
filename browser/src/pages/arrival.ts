/** A file of which the customer had only said that it is there: it is opened now, and the old certificate ends at once. */
import { NetworkFailure } from "../api.ts";
import type { Prepared } from "../orders.ts";
import { orderAddress, type Page } from "../page.ts";
import { onSubmit } from "../submit.ts";
import { chainFor, proven } from "./installed.ts";
import { reopened } from "./saving.ts";

export function attachArrival(page: Page, form: HTMLFormElement): void {
  const id = form.dataset["order"] ?? "";
  let unanswered: Prepared | null = null;
  onSubmit(page, form, async () => {
    if (unanswered === null) {
      const order = await page.orders.get(id);
      const chain = await chainFor(page, order);
      unanswered = await proven(page, order, chain, await reopened(form, chain, "new_passphrase"), "opened");
    }
    try {
      return orderAddress((await page.orders.prove(id, unanswered)).id);
    } catch (error) {
      if (!(error instanceof NetworkFailure)) unanswered = null;
      throw error;
    }
  });
}
