/**
 * The first thing a page runs. It finds what the server's page offers and attaches the step's code; everything with
 * cryptography is loaded when a step needs it.
 */
import { pageApi } from "./api.ts";
import { pageClock } from "./clock.ts";
import { all } from "./dom.ts";
import { Orders } from "./orders.ts";
import type { Page } from "./page.ts";
import { attachComforts } from "./pages/comforts.ts";
import { sayNow } from "./pages/later.ts";
import type { Vault } from "./vault.ts";
import { focusComplaints, showComplaints } from "./summary.ts";
import { loadWords, t } from "./words.ts";

type Attach = (page: Page, form: HTMLFormElement) => void;

/** By `data-step`. */
const STEPS: Readonly<Record<string, () => Promise<Attach>>> = {
  start: async () => (await import("./pages/start.ts")).attachStart,
  key: async () => (await import("./pages/key.ts")).attachKey,
  place: async () => (await import("./pages/place.ts")).attachPlace,
  possession: async () => (await import("./pages/possession.ts")).attachPossession,
  channel: async () => (await import("./pages/channel.ts")).attachChannel,
  dispute: async () => (await import("./pages/channel.ts")).attachDispute,
  cancel: async () => (await import("./pages/channel.ts")).attachCancel,
  code: async () => (await import("./pages/code.ts")).attachCode,
  resend: async () => (await import("./pages/code.ts")).attachResend,
  slip: async () => (await import("./pages/slip.ts")).attachSlip,
  birth_date: async () => (await import("./pages/birth-date.ts")).attachBirthDate,
  review: async () => (await import("./pages/review.ts")).attachReview,
  install: async () => (await import("./pages/install.ts")).attachInstall,
  arrival: async () => (await import("./pages/arrival.ts")).attachArrival,
  download: async () => (await import("./pages/done.ts")).attachDownload,
};

export function openPage(): Page {
  const api = pageApi();
  let vault: Promise<Vault> | null = null;
  return {
    api,
    orders: new Orders(api),
    clock: pageClock(),
    vault: () => (vault ??= import("./vault.ts").then(({ Vault: opened }) => opened.open())),
    persist: async () => {
      const { persist } = await import("./vault.ts");
      await persist((navigator as { storage?: StorageManager }).storage);
    },
    go: (address) => location.assign(address),
    reload: () => location.reload(),
    save,
    wait: (delayMs) => new Promise((then) => setTimeout(then, delayMs)),
    ready: loadWords(document.documentElement.lang, (input, init) => fetch(input, init)),
  };
}

function save(file: Blob, name: string): void {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(file);
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 60_000);
}

/** Nothing is sent by the browser itself before the step's code is there; where it does not come, the page says so. */
async function attachStep(page: Page, form: HTMLFormElement, load: () => Promise<Attach>): Promise<void> {
  const hold = (event: Event): void => event.preventDefault();
  form.addEventListener("submit", hold);
  try {
    const attach = await load();
    for (const each of all(form, "fieldset[data-until-module]", HTMLFieldSetElement)) each.disabled = false;
    attach(page, form);
  } catch (error) {
    await page.ready;
    const way = { label: t("Load the page again"), act: page.reload };
    showComplaints(form, [
      { sentence: t("Something went wrong in this page. Please load it again; what you have done is kept."), way },
    ]);
    throw error;
  }
  form.removeEventListener("submit", hold);
  form.setAttribute("data-attached", "");
}

async function attachPlaces(page: Page): Promise<void> {
  for (const place of all(document, "[data-poll]", HTMLElement))
    (await import("./pages/wait.ts")).attachWait(page, place);
  for (const place of all(document, '[data-step="capability"]', HTMLElement)) {
    await (await import("./pages/capability.ts")).attachCapability(page, place);
  }
  for (const text of all(document, "[data-kept-text]", HTMLElement)) {
    const place = text.closest<HTMLElement>("[data-serial]");
    if (place !== null) await (await import("./pages/inquiry.ts")).attachWhereKept(page, place);
  }
  for (const place of all(document, "[data-ended]", HTMLElement)) {
    await (await import("./pages/done.ts")).forget(page, place.dataset["ended"] ?? "");
  }
  for (const place of all(document, "[data-done]", HTMLElement)) {
    await (await import("./pages/clock-notice.ts")).warnOfClock(page, place);
    await (await import("./pages/done.ts")).tidy(page, place.dataset["done"] ?? "");
  }
  for (const form of all(document, "form[data-launch]", HTMLFormElement)) {
    (await import("./pages/launch.ts")).attachLaunch(form, location, history);
  }
}

for (const each of all(document, "[data-moduleless]", HTMLElement)) each.remove();
document.documentElement.classList.add("js-enabled");
document.body.classList.add("govuk-frontend-supported");
const page = openPage();
attachComforts();
focusComplaints();
sayNow();
for (const form of all(document, "form[data-step]", HTMLFormElement)) {
  const load = STEPS[form.dataset["step"] ?? ""];
  if (load !== undefined) void attachStep(page, form, load);
}
void attachPlaces(page);
// A page out of the browser's memory shows an old state of the order.
addEventListener("pageshow", (event) => {
  if (event.persisted && document.querySelector("form[data-step]") !== null) location.reload();
});
