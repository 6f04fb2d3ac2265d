/** Where the code goes, a new one, and 「不是我的號碼」. */
import { ask } from "../dialog.ts";
import { find, valueOf } from "../dom.ts";
import { orderAddress, type Page } from "../page.ts";
import { complain } from "../problems.ts";
import { onSubmit } from "../submit.ts";
import { t } from "../words.ts";
import { warnOfMissingKey } from "./kept-key.ts";
import { attachPause } from "./resend.ts";

export function attachChannel(page: Page, form: HTMLFormElement): void {
  const id = form.dataset["order"] ?? "";
  const failed =
    find(form, "button[data-submit]", HTMLButtonElement) === null ? () => undefined : attachPause(page, form);
  void warnOfMissingKey(page, form);
  const work = async (): Promise<string> => {
    const channel = valueOf(form, "channel");
    if (channel === "") throw complain("channel", t("Please choose how to receive the code."));
    return orderAddress((await page.orders.step(id, "challenges", { channel })).id);
  };
  onSubmit(page, form, work, { failed });
}

export function attachDispute(page: Page, form: HTMLFormElement): void {
  const id = form.dataset["order"] ?? "";
  onSubmit(page, form, async () => {
    const sure = await ask({
      title: t("Really stop this request?"),
      body: t("You can begin again after we have corrected your details."),
      yes: t("Stop this request"),
      no: t("Cancel"),
    });
    if (!sure) return null;
    return orderAddress((await page.orders.step(id, "dispute", { channel: valueOf(form, "dispute_channel") })).id);
  });
}

export function attachCancel(page: Page, form: HTMLFormElement): void {
  const id = form.dataset["order"] ?? "";
  onSubmit(page, form, async () => {
    const ended = orderAddress((await page.orders.step(id, "cancel")).id);
    return valueOf(form, "next") || ended;
  });
}
