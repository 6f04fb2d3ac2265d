/** The page's own sentences: English is the message id, the catalogue has the others. */

export type Values = Readonly<Record<string, string | number>>;

let catalogue: Readonly<Record<string, unknown>> = {};

/** The sentence in the page's language; `%(name)s` is replaced by the value of that name. */
export function t(msgid: string, values: Values = {}): string {
  const said = catalogue[msgid];
  const pattern = typeof said === "string" ? said : msgid;
  return pattern.replace(/%\((\w+)\)s/g, (whole, name: string) => String(values[name] ?? whole));
}

/** Fetches the catalogue of a page that is not English. Without it the sentences stay English: better than none. */
export async function loadWords(lang: string, get: typeof fetch): Promise<void> {
  catalogue = {};
  if (!lang.toLowerCase().startsWith("zh")) return;
  try {
    const answer = await get("/static/messages.zh-TW.json", { credentials: "same-origin" });
    const body: unknown = answer.ok ? await answer.json() : {};
    if (typeof body === "object" && body !== null) catalogue = body as Readonly<Record<string, unknown>>;
  } catch (error) {
    if (!(error instanceof TypeError || error instanceof SyntaxError)) throw error;
  }
}
