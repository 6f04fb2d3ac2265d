/** The way in from the trading program: the ticket stands in the fragment, which no server and no log sees. */
import { find, need, show } from "../dom.ts";

export function attachLaunch(form: HTMLFormElement, here: Location, past: History): void {
  const ticket = new URLSearchParams(here.hash.slice(1)).get("t") ?? "";
  past.replaceState(null, "", here.pathname);
  if (ticket === "") {
    show(find(document, "[data-launch-missing]", HTMLElement), true);
    show(find(document, ".cm-waiting", HTMLElement), false);
    return;
  }
  need(form, 'input[name="ticket"]', HTMLInputElement).value = ticket;
  form.submit();
}
