/** Small things on any page: showing what is typed, copying, printing. */
import { all, announce } from "../dom.ts";
import { t } from "../words.ts";

export function attachComforts(): void {
  for (const each of all(document, "button[data-reveal]", HTMLButtonElement)) each.addEventListener("click", () => reveal(each));
  for (const each of all(document, "button[data-copy]", HTMLButtonElement)) each.addEventListener("click", () => void copy(each));
  for (const each of all(document, "button[data-print]", HTMLButtonElement)) each.addEventListener("click", () => window.print());
}

function reveal(button: HTMLButtonElement): void {
  const input = document.getElementById(button.dataset["reveal"] ?? "");
  if (!(input instanceof HTMLInputElement)) return;
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
