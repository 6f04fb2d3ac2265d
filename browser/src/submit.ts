/** One form, one action at a time: busy buttons, and whatever goes wrong shown in place with nothing typed lost. */
import { all, announce } from "./dom.ts";
import type { Page } from "./page.ts";
import { explain } from "./problems.ts";
import { clearComplaints, showComplaints } from "./summary.ts";
import { t } from "./words.ts";

/** The address to go to, or null to stay. */
export type Work = () => Promise<string | null>;

export interface Options {
  /** Buttons outside of the form that are busy with it. */
  readonly buttons?: readonly HTMLButtonElement[];
  /** Called after something went wrong and is shown. */
  readonly failed?: (error: unknown) => void;
}

/** Runs `work` unless the form is busy. After success it stays busy: the next page is on its way. */
export async function run(page: Page, form: HTMLFormElement, work: Work, options: Options = {}): Promise<void> {
  if (form.hasAttribute("data-busy")) return;
  const free = busy(form, options.buttons ?? []);
  try {
    await page.ready;
    clearComplaints();
    const next = await work();
    if (next === null) free();
    else page.go(next);
  } catch (error) {
    free();
    const again = (): void => void run(page, form, work, options);
    const complaints = explain(error, again, location.pathname + location.search);
    const unforeseen = {
      sentence: t("Something went wrong in this page. Please load it again; what you have done is kept."),
    };
    showComplaints(form, complaints ?? [unforeseen]);
    options.failed?.(error);
    if (complaints === null) throw error;
  }
}

export function onSubmit(page: Page, form: HTMLFormElement, work: Work, options: Options = {}): void {
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    void run(page, form, work, options);
  });
}

function busy(form: HTMLFormElement, more: readonly HTMLButtonElement[]): () => void {
  const buttons = [...all(form, "button[data-submit]", HTMLButtonElement), ...more];
  const before = buttons.map((each) => ({ each, label: each.textContent, disabled: each.disabled }));
  form.setAttribute("data-busy", "");
  for (const { each } of before) {
    each.setAttribute("aria-busy", "true");
    each.disabled = true;
    const label = each.dataset["busyLabel"];
    if (label !== undefined) {
      each.textContent = label;
      announce(label);
    }
  }
  return () => {
    form.removeAttribute("data-busy");
    for (const { each, label, disabled } of before) {
      each.removeAttribute("aria-busy");
      each.disabled = disabled;
      each.textContent = label;
    }
  };
}
