/** The pass-phrase of the new file: made for the customer, or chosen and judged here; it never leaves the page. */
import { button, element, find, need, show } from "../dom.ts";
import { generatePassphrase, judge, type PassphraseReason } from "../passphrase.ts";
import type { Complaint } from "../problems.ts";
import { t } from "../words.ts";

export interface NewPassphrase {
  readonly value: () => string;
  readonly lacking: () => readonly Complaint[];
  /** The key is there already, under a pass-phrase that was chosen earlier; `anew` when it is not known any more. */
  readonly askForOld: (anew: () => void) => void;
}

export function attachPassphrase(form: HTMLFormElement, known: readonly string[]): NewPassphrase {
  const input = need(form, "[data-passphrase]", HTMLInputElement);
  const written = need(form, "#written_down", HTMLInputElement);
  const tools = find(form, ".cm-inline-buttons", HTMLElement);
  const hint = find(form, "#passphrase-hint", HTMLElement);
  const fresh = hint?.textContent ?? "";
  let old = false;
  const suggest = (): void => {
    input.value = generatePassphrase();
    written.checked = false;
  };
  if (input.value === "") suggest();
  find(form, "[data-regenerate]", HTMLElement)?.addEventListener("click", suggest);
  input.addEventListener("input", () => {
    written.checked = false;
  });

  const makeAnew = (anew: () => void): void => {
    old = false;
    if (hint !== null) hint.textContent = fresh;
    show(tools, true);
    show(written.closest("[data-field]"), true);
    suggest();
    anew();
  };
  return {
    value: () => input.value,
    lacking: () => {
      if (old)
        return input.value === "" ? [{ field: "passphrase", sentence: t("Please enter your pass-phrase.") }] : [];
      const [reason] = judge(input.value, { known });
      const complaints: Complaint[] =
        reason === undefined ? [] : [{ field: "passphrase", sentence: sentenceOf(reason) }];
      if (!written.checked)
        complaints.push({ field: "written_down", sentence: t("Please write the pass-phrase down and tick the box.") });
      return complaints;
    },
    askForOld: (anew) => {
      old = true;
      input.value = "";
      show(tools, false);
      show(written.closest("[data-field]"), false);
      if (hint === null) return;
      hint.textContent = t(
        "This browser has already made the key for this request. Please type the pass-phrase that you wrote down.",
      );
      const link = button("cm-link-button", t("I do not have it: make a new key"), () => {
        link.remove();
        makeAnew(anew);
      });
      hint.after(element("p", "govuk-body", link));
    },
  };
}

function sentenceOf(reason: PassphraseReason): string {
  switch (reason) {
    case "too-short":
      return t("The pass-phrase is too short. Please take at least 12 letters, digits or signs.");
    case "too-long":
      return t("The pass-phrase is too long. Please take at most 64 letters, digits or signs.");
    case "not-printable-ascii":
      return t(
        "Please take only letters, digits and signs of the English keyboard; other programs cannot read anything else.",
      );
    case "edge-space":
      return t("Please take no space at the beginning or the end of the pass-phrase.");
    case "too-simple":
      return t("This pass-phrase is too easy to guess. Please take another one, or the suggested one.");
    default:
      return t(
        "Please take nothing that others know of you: no identity card number, date of birth, phone or account number.",
      );
  }
}
