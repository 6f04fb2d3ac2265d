/** This computer's clock is wrong: said where it hurts, with the difference and what to do. */
import { MAX_SKEW_MS } from "../clock.ts";
import { element } from "../dom.ts";
import type { Page } from "../page.ts";
import { t } from "../words.ts";

/** `skewMs`: this computer's time minus the server's. */
export function clockSentence(skewMs: number): string {
  const difference = durationOf(Math.abs(skewMs));
  return skewMs > 0
    ? t(
        "The clock of this computer is %(difference)s fast. Please set it to the internet time (in Windows: Settings, Time & language, Sync now); else your trading program may take your certificate for expired.",
        { difference },
      )
    : t(
        "The clock of this computer is %(difference)s slow. Please set it to the internet time (in Windows: Settings, Time & language, Sync now); else your trading program says that your new certificate is not valid yet.",
        { difference },
      );
}

function durationOf(ms: number): string {
  const minutes = Math.round(ms / 60_000);
  if (minutes < 120) return t("%(number)s minutes", { number: minutes });
  return minutes < 2880
    ? t("%(number)s hours", { number: Math.round(minutes / 60) })
    : t("%(number)s days", { number: Math.round(minutes / 1440) });
}

/** Before `place`, when the difference matters. */
export async function warnOfClock(page: Page, place: HTMLElement, localNowMs: number = Date.now()): Promise<void> {
  const skew = localNowMs - page.clock.now().getTime();
  if (Math.abs(skew) <= MAX_SKEW_MS) return;
  await page.ready;
  const notice = element("p", "cm-notice cm-notice--warning", clockSentence(skew));
  notice.setAttribute("data-clock-notice", "");
  place.before(notice);
}
