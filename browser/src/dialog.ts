/** A question before something that cannot be taken back. */
import { button, element } from "./dom.ts";

export interface Question {
  readonly title: string;
  readonly body: string;
  readonly yes: string;
  readonly no: string;
}

/** True for yes; Escape is no. */
export async function ask(question: Question): Promise<boolean> {
  const dialog = document.createElement("dialog");
  dialog.className = "cm-dialog";
  const title = element("h2", "govuk-heading-m", question.title);
  title.id = "question-title";
  dialog.setAttribute("aria-labelledby", title.id);
  return new Promise((answer) => {
    const yes = button("govuk-button govuk-button--warning", question.yes, () => dialog.close("yes"));
    const no = button("govuk-button govuk-button--secondary", question.no, () => dialog.close("no"));
    dialog.addEventListener("close", () => {
      dialog.remove();
      answer(dialog.returnValue === "yes");
    });
    dialog.append(
      title,
      element("p", "govuk-body", question.body),
      element("div", "govuk-button-group cm-dialog__buttons", yes, no),
    );
    document.body.append(dialog);
    dialog.showModal();
    no.focus();
  });
}
