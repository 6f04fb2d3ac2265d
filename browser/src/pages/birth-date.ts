/** The birth date in ROC years, with the western date echoed while it is typed. */
import { plainDigits } from "../digits.ts";
import { find, need, valueOf } from "../dom.ts";
import { orderAddress, type Page } from "../page.ts";
import { Complaints } from "../problems.ts";
import { onSubmit } from "../submit.ts";
import { t } from "../words.ts";
import { warnOfMissingKey } from "./kept-key.ts";

export interface Typed {
  readonly era: string;
  readonly year: string;
  readonly month: string;
  readonly day: string;
}

export function attachBirthDate(page: Page, form: HTMLFormElement): void {
  const id = form.dataset["order"] ?? "";
  const western = find(form, "[data-western]", HTMLElement);
  const typed = (): Typed => ({
    era: valueOf(form, "era"),
    year: valueOf(form, "year"),
    month: valueOf(form, "month"),
    day: valueOf(form, "day"),
  });
  const echo = (): void => {
    if (western !== null) western.textContent = echoOf(typed(), document.documentElement.lang);
  };
  void warnOfMissingKey(page, form);
  void page.ready.then(echo);
  form.addEventListener("input", echo);
  form.addEventListener("reset", () =>
    queueMicrotask(() => {
      echo();
      need(form, "#year", HTMLInputElement).focus();
    }),
  );
  onSubmit(page, form, async () => {
    const said = typed();
    const missing = EMPTY.filter(([name]) => said[name].trim() === "");
    if (missing.length > 0) throw new Complaints(missing.map(([field, sentence]) => ({ field, sentence: sentence() })));
    return orderAddress((await page.orders.step(id, "birth-date", { ...said })).id);
  });
}

const EMPTY = [
  ["year", () => t("Please enter the year of your birth.")],
  ["month", () => t("Please enter the month of your birth.")],
  ["day", () => t("Please enter the day of your birth.")],
] as const;

/** The western date of what is typed; "" while it is no date. The server alone judges it. */
export function echoOf(typed: Typed, lang: string): string {
  const year = number(typed.year);
  if (year === null) return "";
  if (year >= 1850 && year <= 2100)
    return t("This is a western year. Please enter the ROC year: the western year less 1911.");
  const western = typed.era === "before_roc" ? 1912 - year : 1911 + year;
  const [month, day] = [number(typed.month), number(typed.day)];
  if (year === 0 || year > 200 || month === null || day === null) return "";
  const date = new Date(Date.UTC(western, month - 1, day));
  if (date.getUTCMonth() !== month - 1 || date.getUTCDate() !== day) return "";
  const said = new Intl.DateTimeFormat(lang.startsWith("zh") ? "zh-TW" : "en-GB", {
    dateStyle: "long",
    timeZone: "UTC",
  }).format(date);
  return t("In the western calendar: %(date)s", { date: said });
}

function number(typed: string): number | null {
  const digits = plainDigits(typed.normalize("NFKC")).trim();
  return /^\d{1,4}$/.test(digits) ? Number(digits) : null;
}
