/** Typed ways to the elements of a page. Text only ever goes in as text. */

type Kind<T extends Element> = abstract new (...parameters: never[]) => T;

/** The first element of that kind, or null. */
export function find<T extends Element>(root: ParentNode, selector: string, kind: Kind<T>): T | null {
  const found = root.querySelector(selector);
  return found instanceof kind ? found : null;
}

export function all<T extends Element>(root: ParentNode, selector: string, kind: Kind<T>): readonly T[] {
  return [...root.querySelectorAll(selector)].filter((each): each is T => each instanceof kind);
}

/** The element that the server's page must have; an Error names the one that is missing. */
export function need<T extends Element>(root: ParentNode, selector: string, kind: Kind<T>): T {
  const found = find(root, selector, kind);
  if (found === null) throw new Error(`the page lacks ${selector}`);
  return found;
}

export function show(element: Element | null, visible: boolean): void {
  element?.toggleAttribute("hidden", !visible);
}

/** The value of a form's field, of the chosen radio button, or "". */
export function valueOf(form: HTMLFormElement, name: string): string {
  const value = new FormData(form).get(name);
  return typeof value === "string" ? value : "";
}

/** A data attribute as a whole number; 0 for anything else. */
export function numberOf(text: string | null | undefined): number {
  return /^-?\d{1,15}$/.test(text ?? "") ? Number(text) : 0;
}

export function element(name: string, className: string, ...children: readonly (Node | string)[]): HTMLElement {
  const made = document.createElement(name);
  if (className !== "") made.className = className;
  made.append(...children);
  return made;
}

export function button(className: string, label: string, act: () => void): HTMLButtonElement {
  const made = document.createElement("button");
  made.type = "button";
  made.className = className;
  made.textContent = label;
  made.addEventListener("click", act);
  return made;
}

/** Polite words for a screen reader. */
export function announce(sentence: string): void {
  const live = document.querySelector("[data-live]");
  if (live !== null) live.textContent = sentence;
}
