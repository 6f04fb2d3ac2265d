/** Begins an order: what, for which account, and where the key will live; another open one may end for it. */
import { Problem } from "../api.ts";
import { ask } from "../dialog.ts";
import { find, show, valueOf } from "../dom.ts";
import { orderAddress, type Page } from "../page.ts";
import { inTime } from "../patience.ts";
import { complain } from "../problems.ts";
import { onSubmit } from "../submit.ts";
import { t } from "../words.ts";

/** A browser that needs longer to say what it can do is not waited for: the step that makes the key asks again. */
const LOOK_MS = 5_000;

const MEMBERS = ["operation", "account", "key_home", "reason", "serial", "instead"] as const;

export function attachStart(page: Page, form: HTMLFormElement): void {
  const needsKey = valueOf(form, "operation") !== "revoke";
  const able = needsKey ? look(page, form) : Promise.resolve(null);
  onSubmit(page, form, async () => {
    const missing = await inTime(able, LOOK_MS, () => null);
    if (missing !== null && (missing.all || valueOf(form, "key_home") === "browser")) {
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

/** What this browser lacks: `all` ways, or only the one that keeps the certificate in it. */
interface Lack {
  readonly all: boolean;
}

/** Says at the choice what this browser cannot do or may forget, and recommends the file then. */
async function look(page: Page, form: HTMLFormElement): Promise<Lack | null> {
  const { probe, surroundings } = await import("../capability.ts");
  const found = await probe(surroundings(page.clock.now().getTime(), Date.now()));
  const inBrowser = find(form, 'input[name="key_home"][value="browser"]', HTMLInputElement);
  const file = find(form, 'input[name="key_home"][value="file"]', HTMLInputElement);
  const all = found.obstacles.length > 0;
  show(find(form, "[data-unsupported]", HTMLElement), all);
  if (all) return { all };
  show(find(form, "[data-forgets]", HTMLElement), found.keepsKeys && found.storage !== "persistent");
  if (found.keepsKeys) return null;
  show(find(form, "[data-keeps-no-keys]", HTMLElement), true);
  if (inBrowser !== null && file !== null) {
    inBrowser.disabled = true;
    file.checked = true;
  }
  return { all };
}
