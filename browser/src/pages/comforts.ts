/** Small things on any page: showing what is typed, copying, printing, a menu that closes, a form that is sent once. */
import { all, announce } from "../dom.ts";
import { t } from "../words.ts";

export function attachComforts(): void {
  for (const each of all(document, "button[data-reveal]", HTMLButtonElement))
    each.addEventListener("click", () => reveal(each));
  for (const each of all(document, "button[data-copy]", HTMLButtonElement))
    each.addEventListener("click", () => void copy(each));
  for (const each of all(document, "button[data-print]", HTMLButtonElement))
    each.addEventListener("click", () => window.print());
  for (const each of all(document, "details[data-menu]", HTMLDetailsElement)) closeWhenLeft(each);
  for (const each of all(document, "form[method=post]:not([data-step])", HTMLFormElement)) sendOnce(each);
  for (const each of all(document, "[data-shown-once]", HTMLElement)) standAt(each.dataset["shownOnce"] ?? "");
}

/** The answer to a form gets another page's address: loaded again, or come back to, nothing is sent once more. */
function standAt(address: string): void {
  history.replaceState(null, "", address);
}

const TWICE_MS = 1_000;

/** A double click sends a form once. Firefox would give up the first answer, and what is good once is refused then. */
function sendOnce(form: HTMLFormElement): void {
  let sentAt = Number.NEGATIVE_INFINITY;
  form.addEventListener("submit", (event) => {
    if (event.timeStamp - sentAt < TWICE_MS) event.preventDefault();
    else sentAt = event.timeStamp;
  });
}

/** Escape closes an open menu and goes back to its name; a press or a step elsewhere closes it too. */
function closeWhenLeft(menu: HTMLDetailsElement): void {
  menu.addEventListener("keydown", (event) => {
    if (event.key !== "Escape" || !menu.open) return;
    menu.open = false;
    menu.querySelector("summary")?.focus();
  });
  const left = ({ target }: Event): void => {
    if (target instanceof Node && !menu.contains(target)) menu.open = false;
  };
  document.addEventListener("click", left);
  document.addEventListener("focusin", left);
}

/** A pass-phrase that is no password of this site is veiled by the style sheet: browsers neither fill nor save it. */
const VEILED = "cm-veiled";

function reveal(button: HTMLButtonElement): void {
  const input = document.getElementById(button.dataset["reveal"] ?? "");
  if (!(input instanceof HTMLInputElement)) return;
  if (button.dataset["reveals"] === "veiled") {
    button.setAttribute("aria-pressed", String(!input.classList.toggle(VEILED)));
    return;
  }
  const visible = input.type === "password";
  input.type = visible ? "text" : "password";
  button.setAttribute("aria-pressed", String(visible));
}

async function copy(button: HTMLButtonElement): Promise<void> {
  const input = document.getElementById(button.dataset["copy"] ?? "");
  if (!(input instanceof HTMLInputElement)) return;
  const copied = await navigator.clipboard.writeText(input.value).then(
    () => true,
    () => false,
  );
  if (!copied) return input.select();
  const done = button.dataset["doneLabel"] ?? t("Copied");
  announce(done);
  button.textContent = done;
}
