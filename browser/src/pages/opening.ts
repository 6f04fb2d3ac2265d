/** A file that takes long to open: how far it is, and a button that stops it. */
import { announce, find, show } from "../dom.ts";
import type { Waiting } from "../p12.ts";
import { t } from "../words.ts";

/** Runs `work`; the place is shown as soon as the work says that it is slow. */
export async function patiently<T>(root: HTMLElement, work: (waiting: Waiting) => Promise<T>): Promise<T> {
  const place = find(root, "[data-opening]", HTMLElement);
  const bar = find(root, "[data-opening-bar]", HTMLProgressElement);
  const stop = new AbortController();
  const cancel = (): void => stop.abort();
  const button = find(root, "[data-opening-stop]", HTMLButtonElement);
  button?.addEventListener("click", cancel);
  const progress = (share: number): void => {
    if (place?.hidden === true) {
      show(place, true);
      announce(t("Opening your file: this can take up to a minute."));
    }
    if (bar !== null) bar.value = share;
  };
  try {
    return await work({ progress, signal: stop.signal });
  } finally {
    show(place, false);
    button?.removeEventListener("click", cancel);
  }
}
