/** The pause between two codes: the button that sends one waits for it, and the page says how long. */
import { Problem } from "../api.ts";
import { startCountdown } from "../countdown.ts";
import { find, need, numberOf, show } from "../dom.ts";
import type { Page } from "../page.ts";

/** Attached to a form whose `data-submit` button sends a code; the answer is told what the server refused. */
export function attachPause(page: Page, form: HTMLFormElement): (error: unknown) => void {
  const send = need(form, "button[data-submit]", HTMLButtonElement);
  const wait = find(form, "[data-resend-wait]", HTMLElement);
  const left = find(form, "[data-resend-seconds]", HTMLElement);
  const pause = (remainingSeconds: number): void => {
    if (remainingSeconds <= 0) return;
    startCountdown({
      remainingSeconds,
      live: null,
      announce: () => "",
      onSecond: (seconds) => {
        send.disabled = seconds > 0;
        show(wait, seconds > 0);
        if (left !== null) left.textContent = String(seconds);
      },
    });
  };
  pause(numberOf(send.dataset["resendIn"]) - page.clock.sinceAnswerMs() / 1000);
  return (error) => {
    if (error instanceof Problem && error.code === "resend_too_soon") pause(error.retryAfter ?? 0);
  };
}
