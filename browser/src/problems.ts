/** Whatever went wrong, as sentences for the customer: which field, and what to do. */
import { NetworkFailure, Problem } from "./api.ts";
import { t } from "./words.ts";

export type Way =
  | { readonly label: string; readonly href: string }
  | { readonly label: string; readonly act: () => void };

export interface Complaint {
  readonly sentence: string;
  /** The `data-field` it belongs to. */
  readonly field?: string | null;
  /** The way on. */
  readonly way?: Way;
}

/** Found wrong in the page, before anything was sent. */
export class Complaints extends Error {
  override readonly name = "Complaints";
  readonly list: readonly Complaint[];
  constructor(list: readonly Complaint[], options?: ErrorOptions) {
    super(list.map((each) => each.sentence).join(" "), options);
    this.list = list;
  }
}

export const complain = (field: string | null, sentence: string, way?: Way): Complaints =>
  new Complaints([way === undefined ? { field, sentence } : { field, sentence, way }]);

/** What to show; null for an error that nobody foresaw. */
export function explain(error: unknown, again: () => void, here: string): readonly Complaint[] | null {
  if (error instanceof Complaints) return error.list;
  if (error instanceof NetworkFailure) return [network(error, again)];
  if (error instanceof Problem) return [problem(error, again, here)];
  const sentence = error instanceof Error ? local(error) : null;
  return sentence === null ? null : [{ sentence, way: { label: t("Check this browser"), href: "/help/browser" } }];
}

function network(failure: NetworkFailure, again: () => void): Complaint {
  const sentence =
    failure.reason === "unreachable" || failure.reason === "timeout"
      ? t("No answer has come from us. Please check your connection and try again; nothing is done twice.")
      : t("The answer could not be understood. Please try again; nothing is done twice.");
  return { sentence, way: { label: t("Try again"), act: again } };
}

function problem(error: Problem, again: () => void, here: string): Complaint {
  const sentence = error.detail || t("This cannot be done at the moment. Please try again in a moment, or call us.");
  const open = /^open:(.+)$/.exec(error.code ?? "")?.[1];
  if (error.status === 401) {
    const expired = error.detail || t("You have been signed out, because nothing was done for a while.");
    const kept = `${expired} ${t("What you have done is kept.")}`;
    return { sentence: kept, way: { label: t("Sign in again"), href: `/sign-in?next=${encodeURIComponent(here)}` } };
  }
  if (open !== undefined) {
    return { sentence, way: { label: t("Go on with the open request"), href: `/orders/${encodeURIComponent(open)}` } };
  }
  if (error.code === "csrf") return { sentence, way: { label: t("Load the page again"), href: here } };
  if (error.kind === "unavailable") return { sentence, way: { label: t("Try again"), act: again } };
  if ((error.kind === "conflict" || error.kind === "step_required") && here.startsWith("/orders/")) {
    const path = here.split("?")[0] ?? here;
    return { sentence, field: error.field, way: { label: t("Show the present step"), href: path } };
  }
  return { sentence, field: error.field ?? FIELD_OF[error.kind] ?? null };
}

const FIELD_OF: Readonly<Partial<Record<Problem["kind"], string>>> = {
  wrong_code: "code",
  code_dead: "code",
  wrong_birth_date: "birth_date",
};

/** The vault's faults; told by name, so that its module is loaded only where it is used. */
function local(error: Error): string | null {
  if (error.name !== "VaultError" || !("code" in error)) return null;
  switch (error.code) {
    case "no-space":
      return t("There is no space left on this computer for your key. Please make some space and try again.");
    case "blocked":
      return t("An older page of ours is still open. Please close all other windows of this site and try again.");
    case "no-answer":
      return t("This browser's storage does not answer. Please close all windows of the browser and open it again.");
    default:
      return t(
        "This browser does not keep anything for us, perhaps because the window is private. Please use a normal window.",
      );
  }
}
