/** Begins an order: what, for which account, and where the key will live. */
import { find, show, valueOf } from "../dom.ts";
import { orderAddress, type Page } from "../page.ts";
import { complain } from "../problems.ts";
import { onSubmit } from "../submit.ts";
import { t } from "../words.ts";

const MEMBERS = ["operation", "account", "key_home", "reason", "serial"] as const;

export function attachStart(page: Page, form: HTMLFormElement): void {
  const needsKey = valueOf(form, "operation") !== "revoke";
  const able = needsKey ? look(page, form) : Promise.resolve(true);
  onSubmit(page, form, async () => {
    if (!(await able)) {
      const way = { label: t("See what is missing and what to do"), href: "/help/browser" };
      throw complain(null, t("This browser cannot make a certificate safely."), way);
    }
    const said = MEMBERS.map((name) => [name, valueOf(form, name)] as const).filter(([, value]) => value !== "");
    return orderAddress((await page.orders.start(Object.fromEntries(said))).id);
  });
}

async function look(page: Page, form: HTMLFormElement): Promise<boolean> {
  const { probe, surroundings } = await import("../capability.ts");
  const found = await probe(surroundings(page.clock.now().getTime(), Date.now()));
  show(find(form, "[data-unsupported]", HTMLElement), found.obstacles.length > 0);
  return found.obstacles.length === 0;
}
