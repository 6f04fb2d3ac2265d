/** The error summary on top and the message at the field, as the GOV.UK Design System has them. */
import { all, button, element, find, show } from "./dom.ts";
import type { Complaint, Way } from "./problems.ts";
import { t } from "./words.ts";

export function showComplaints(form: HTMLElement, complaints: readonly Complaint[]): void {
  clearComplaints();
  const items = complaints.map((each) => item(each, each.field ? mark(form, each.field, each.sentence) : null));
  const summary = find(document, "[data-error-summary]", HTMLElement);
  const list = summary === null ? null : find(summary, "[data-error-list]", HTMLElement);
  if (summary === null || list === null) {
    form.prepend(element("div", "cm-notice cm-notice--warning", ...items.map((each) => each)));
    return;
  }
  list.replaceChildren(...items);
  show(summary, true);
  document.title = `${t("Error:")} ${plainTitle()}`;
  summary.focus();
}

/** A refusal that the server has rendered takes the focus; WebKit does not do that for `autofocus` on a summary. */
export function focusComplaints(): void {
  find(document, "[data-error-summary]:not([hidden])", HTMLElement)?.focus();
}

export function clearComplaints(): void {
  for (const group of all(document, ".govuk-form-group--error", HTMLElement))
    group.classList.remove("govuk-form-group--error");
  for (const input of all(document, "[aria-invalid]", HTMLElement)) {
    input.removeAttribute("aria-invalid");
    input.classList.remove("govuk-input--error", "govuk-file-upload--error");
  }
  for (const message of all(document, "[data-field-error]", HTMLElement)) show(message, false);
  show(find(document, "[data-error-summary]", HTMLElement), false);
  document.title = plainTitle();
}

function plainTitle(): string {
  const prefix = `${t("Error:")} `;
  return document.title.startsWith(prefix) ? document.title.slice(prefix.length) : document.title;
}

/** Marks the field; the answer is the input to go to, null when the page has no such field. */
function mark(form: HTMLElement, field: string, sentence: string): HTMLElement | null {
  const group = find(form, `[data-field="${CSS.escape(field)}"]`, HTMLElement);
  if (group === null) return null;
  group.classList.add("govuk-form-group--error");
  const own = all(group, "[data-field-error]", HTMLElement).find((each) => each.closest("[data-field]") === group);
  const words = own === undefined ? null : find(own, "[data-field-error-text]", HTMLElement);
  if (own !== undefined && words !== null) {
    words.textContent = sentence;
    show(own, true);
  }
  const inputs = all(group, "input:not([type=hidden]), select, textarea", HTMLElement);
  const marked = inputs.filter((input) => input.tagName === "INPUT");
  for (const input of marked) {
    input.setAttribute("aria-invalid", "true");
    if (input.classList.contains("govuk-input")) input.classList.add("govuk-input--error");
  }
  return marked[0] ?? inputs[0] ?? null;
}

function item(complaint: Complaint, target: HTMLElement | null): HTMLElement {
  const made = document.createElement("li");
  if (target === null) {
    made.append(element("span", "cm-error-text", complaint.sentence));
  } else {
    const link = document.createElement("a");
    link.href = `#${target.id}`;
    link.textContent = complaint.sentence;
    link.addEventListener("click", (event) => {
      event.preventDefault();
      target.focus();
      target.scrollIntoView({ block: "center" });
    });
    made.append(link);
  }
  if (complaint.way !== undefined) made.append(" ", onward(complaint.way));
  return made;
}

function onward(way: Way): HTMLElement {
  if ("act" in way) return button("cm-link-button", way.label, way.act);
  const link = document.createElement("a");
  link.href = way.href;
  link.textContent = way.label;
  return link;
}
