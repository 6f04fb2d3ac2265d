/** The moment that goes into a proof: asked for when it is needed, because a computer may have slept since the page came. */
import { Problem } from "../api.ts";
import type { Page } from "../page.ts";

export async function serverTime(page: Page): Promise<Date> {
  try {
    return await page.orders.time();
  } catch (error) {
    if (error instanceof Problem) return page.clock.now();
    throw error;
  }
}
