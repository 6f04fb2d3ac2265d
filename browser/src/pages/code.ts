/** The code: how long it is valid, typing or pasting it, and a new one. */
import { NetworkFailure, Problem } from "../api.ts";
import { bare, codeIn, codesIn, folded } from "../code.ts";
import { type Countdown, startCountdown } from "../countdown.ts";
import { element, find, need, numberOf, show, valueOf } from "../dom.ts";
import { orderAddress, type Page } from "../page.ts";
import { complain } from "../problems.ts";
import { onSubmit } from "../submit.ts";
import { t } from "../words.ts";
import { latinOf } from "../zhuyin.ts";
import { warnOfMissingKey } from "./kept-key.ts";
import { attachPause } from "./resend.ts";

export function attachCode(page: Page, form: HTMLFormElement): void {
  const id = form.dataset["order"] ?? "";
  const input = need(form, "#code", HTMLInputElement);
  const digits = numberOf(input.dataset["digits"]) || 6;
  const countdown = startValidity(page);
  void warnOfMissingKey(page, form);
  void watchDelivery(page, id);
  input.addEventListener("paste", (event) => paste(event, input, digits));
  // A keyboard's suggestion comes without a paste, and what is still being composed is not ours to change.
  input.addEventListener("input", (event) => {
    if (!(event instanceof InputEvent && event.isComposing)) settle(input, digits);
  });
  for (const moment of ["compositionend", "change"]) input.addEventListener(moment, () => settle(input, digits));
  const failed = (error: unknown): void => {
    if (!(error instanceof Problem)) return;
    if (error.kind === "code_dead") over(countdown);
  };
  const work = async (): Promise<string> => {
    const code = codeIn(input.value, digits);
    if (code === null) throw complain("code", lacking(input.value, digits));
    return orderAddress((await page.orders.step(id, "code", { code })).id);
  };
  onSubmit(page, form, work, { failed });
  if (input.value === "" && document.activeElement === document.body) input.focus({ preventScroll: true });
}

/**
 * A code that no mail server and no gateway takes: the page says so and offers the other way. Asked a few times only.
 * The server calls a code late after 4 seconds, so the second look shows it before 5 seconds have passed.
 */
const LOOKS_MS = [2_000, 2_500, 5_500, 20_000, 60_000, 120_000] as const;

async function watchDelivery(page: Page, id: string): Promise<void> {
  const notice = find(document, "[data-undelivered]", HTMLElement);
  if (notice === null || !notice.hidden) return;
  for (const pause of LOOKS_MS) {
    await page.wait(pause);
    if (document.hidden) continue;
    try {
      if (!(await page.orders.get(id)).undelivered) continue;
      show(notice, true);
      return;
    } catch (error) {
      if (!(error instanceof Problem || error instanceof NetworkFailure)) throw error;
      if (error instanceof Problem && error.status < 500 && error.status !== 429) return;
    }
  }
}

function lacking(typed: string, digits: number): string {
  const left = bare(folded(typed));
  if (left === "") return t("Please enter the verification code.");
  if (latinOf(typed) !== null && !/^[0-9]+$/.test(left)) {
    return t(
      "Your keyboard is set to Zhuyin. Please switch it to English and type the %(digits)s digits of the code.",
      { digits },
    );
  }
  if (codesIn(typed, digits) > 1)
    return t("There is more than one number with %(digits)s digits in it. Please type only the code.", { digits });
  return t("The verification code has %(digits)s digits. Please look at the message again.", { digits });
}

/** A whole message may be pasted. */
function paste(event: ClipboardEvent, input: HTMLInputElement, digits: number): void {
  const code = codeIn(event.clipboardData?.getData("text") ?? "", digits);
  if (code === null) return;
  event.preventDefault();
  input.value = code;
}

/** What a keyboard wrote becomes the code, as soon as it is one; digits that are being typed are left alone. */
function settle(input: HTMLInputElement, digits: number): void {
  const typed = input.value;
  const code = codeIn(typed, digits);
  if (code !== null && code !== typed) input.value = code;
  if (code === null && latinOf(typed) !== null && /^[0-9]*$/.test(bare(folded(typed))))
    input.value = bare(folded(typed));
}

function startValidity(page: Page): Countdown | null {
  const left = find(document, "[data-countdown]", HTMLElement);
  if (left === null) return null;
  const bar = find(document, "[data-countdown-bar]", HTMLProgressElement);
  return startCountdown({
    remainingSeconds: numberOf(left.dataset["remaining"]) - page.clock.sinceAnswerMs() / 1000,
    live: find(document, "[data-live]", HTMLElement),
    announce: (seconds) =>
      seconds === 0
        ? t("The verification code has run out.")
        : t("The verification code is valid for another %(seconds)s seconds.", { seconds }),
    onSecond: (seconds) => {
      left.textContent = String(seconds);
      if (bar !== null) bar.value = seconds;
      if (seconds > 0) return;
      show(find(document, "[data-countdown-box]", HTMLElement), false);
      show(find(document, "[data-countdown-over]", HTMLElement), true);
    },
  });
}

/** The code is dead: no more counting, and the way to a new one in the summary. */
function over(countdown: Countdown | null): void {
  countdown?.stop();
  show(find(document, "[data-countdown-box]", HTMLElement), false);
  const resend = find(document, 'form[data-step="resend"] button[data-submit]', HTMLButtonElement);
  const list = find(document, "[data-error-list]", HTMLElement);
  if (resend === null || list === null) return;
  resend.id ||= "resend";
  const link = document.createElement("a");
  link.href = `#${resend.id}`;
  link.textContent = t('Go to "Send a new code"');
  link.addEventListener("click", (event) => {
    event.preventDefault();
    resend.scrollIntoView({ block: "center" });
    resend.focus();
  });
  list.append(element("li", "", link));
}

export function attachResend(page: Page, form: HTMLFormElement): void {
  const id = form.dataset["order"] ?? "";
  const failed = attachPause(page, form);
  const work = async (): Promise<string> =>
    orderAddress((await page.orders.step(id, "challenges", { channel: valueOf(form, "channel") })).id);
  onSubmit(page, form, work, { failed });
}
