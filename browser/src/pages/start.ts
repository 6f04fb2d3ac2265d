/** Begins an order: what, for which account, and where the key will live; another open one may end for it. */
import { Problem } from "../api.ts";
import { ask } from "../dialog.ts";
import { find, show, valueOf } from "../dom.ts";
import { orderAddress, type Page } from "../page.ts";
import { complain } from "../problems.ts";
import { onSubmit } from "../submit.ts";
import { t } from "../words.ts";

const MEMBERS = ["operation", "account", "key_home", "reason", "serial", "instead"] as const;

export function attachStart(page: Page, form: HTMLFormElement): void {
  const needsKey = valueOf(form, "operation") !== "revoke";
  const able = needsKey ? look(page, form) : Promise.resolve(true);
  onSubmit(page, form, async () => {
    if (!(await able)) {
      const way = { label: t("See what is missing and what to do"), href: "/help/browser" };
      throw complain(null, t("This browser cannot make a certificate safely."), way);
    }
    const said = MEMBERS.map((name) => [name, valueOf(form, name)] as const).filter(([, value]) => value !== "");
    return begin(page, Object.fromEntries(said));
  });
}

async function begin(page: Page, said: Readonly<Record<string, string>>): Promise<string> {
  try {
    return orderAddress((await page.orders.start(said)).id);
  } catch (error) {
    const open = openOrder(error);
    if (open === null) throw error;
    const end = await ask({
      title: t("You have another request open."),
      body: t("You can go on with it, or end it and begin this one. Nothing is issued for a request that is ended."),
      yes: t("End it and begin this one"),
      no: t("Go on with the open request"),
    });
    return end ? orderAddress((await page.orders.start({ ...said, instead: open })).id) : orderAddress(open);
  }
}

/** The open order that stands in the way. */
export function openOrder(error: unknown): string | null {
  return error instanceof Problem ? (/^open:(.+)$/.exec(error.code ?? "")?.[1] ?? null) : null;
}

async function look(page: Page, form: HTMLFormElement): Promise<boolean> {
  const { probe, surroundings } = await import("../capability.ts");
  const found = await probe(surroundings(page.clock.now().getTime(), Date.now()));
  show(find(form, "[data-unsupported]", HTMLElement), found.obstacles.length > 0);
  return found.obstacles.length === 0;
}
