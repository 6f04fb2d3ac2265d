/** The certificate is being made elsewhere: asks again, ever more gently, until there is a next step. */
import { NetworkFailure, Problem } from "../api.ts";
import { numberOf } from "../dom.ts";
import { orderAddress, type Page } from "../page.ts";

const SLOWEST_MS = 15_000;

export async function watch(page: Page, id: string, everySeconds: number): Promise<void> {
  let pause = everySeconds * 1000;
  for (;;) {
    await page.wait(pause);
    pause = Math.min(pause * 1.1, SLOWEST_MS);
    if (document.hidden) continue;
    try {
      if ((await page.orders.get(id)).next !== "wait") return page.go(orderAddress(id));
    } catch (error) {
      if (error instanceof Problem && error.status < 500 && error.status !== 429) return page.reload();
      if (!(error instanceof Problem || error instanceof NetworkFailure)) throw error;
      pause = SLOWEST_MS;
    }
  }
}

export function attachWait(page: Page, place: HTMLElement): void {
  const id = place.closest<HTMLElement>("[data-order]")?.dataset["order"] ?? "";
  void watch(page, id, Math.max(numberOf(place.dataset["poll"]), 2));
}
