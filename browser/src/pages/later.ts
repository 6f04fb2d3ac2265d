/** A sentence that the next page says, because this one is about to be left. */
import { element, find } from "../dom.ts";

const SLOT = "chopmark:say";

export function sayLater(sentence: string, storage: Pick<Storage, "setItem"> = sessionStorage): void {
  storage.setItem(SLOT, sentence);
}

/** Once, above the step. */
export function sayNow(storage: Pick<Storage, "getItem" | "removeItem"> = sessionStorage): void {
  const sentence = storage.getItem(SLOT);
  const step = find(document, "main form[data-step]", HTMLElement);
  if (sentence === null || step === null) return;
  storage.removeItem(SLOT);
  const notice = element("p", "cm-notice", sentence);
  notice.setAttribute("role", "status");
  step.before(notice);
}
