/** A page in happy-dom with a server of the test's own: what was sent, where it went, what was saved. */
import { onTestFinished } from "vitest";
import { Api } from "../../src/api.ts";
import { serverClock } from "../../src/clock.ts";
import { Orders } from "../../src/orders.ts";
import type { Page } from "../../src/page.ts";
import { Vault } from "../../src/vault.ts";

export interface Sent {
  readonly method: string;
  readonly path: string;
  readonly body: Readonly<Record<string, string>>;
  readonly key: string | null;
}

/** An answer, or null for a lost one. */
export type Server = (sent: Sent) => Response | null | Promise<Response | null>;

export const SERVER_TIME = new Date("2026-01-02T03:04:05Z");
let databases = 0;

export const json = (status: number, body: unknown): Response =>
  new Response(JSON.stringify(body), { status, headers: { "Content-Type": "application/json" } });

export const no = (
  status: number,
  kind: string,
  detail: string,
  more: Readonly<Record<string, unknown>> = {},
): Response => json(status, { type: "about:blank", title: kind, status, kind, detail, ...more });

export function opened(html: string, server: Server) {
  document.documentElement.lang = "en";
  document.title = "A page";
  document.body.innerHTML = `
    <meta name="portal-id" content="portal-1">
    <div data-error-summary tabindex="-1" hidden><ul data-error-list></ul></div>
    ${html}<p data-live></p>`;
  const sent: Sent[] = [];
  const went: string[] = [];
  const saved: { file: Blob; name: string }[] = [];
  const stored = new Map<string, string>();
  let keys = 0;
  let idle: () => void = () => undefined;
  const api = new Api({
    base: "/api/v1",
    csrfToken: () => "token",
    storage: {
      getItem: (name) => stored.get(name) ?? null,
      setItem: (name, value) => void stored.set(name, value),
      removeItem: (name) => void stored.delete(name),
    },
    random: () => `key-${++keys}`,
    timeoutMs: 1000,
    wait: () => Promise.resolve(),
    fetch: async (input, init) => {
      const request: Sent = {
        method: init?.method ?? "GET",
        path: String(input).replace("/api/v1", ""),
        body: typeof init?.body === "string" ? (JSON.parse(init.body) as Record<string, string>) : {},
        key: new Headers(init?.headers).get("Idempotency-Key"),
      };
      sent.push(request);
      const answer = await server(request);
      if (answer === null) throw new TypeError("Failed to fetch");
      return answer;
    },
  });
  const name = `page-${++databases}`;
  let vault: Promise<Vault> | null = null;
  onTestFinished(async () => (await vault)?.close());
  const page: Page = {
    api,
    orders: new Orders(api),
    clock: serverClock(SERVER_TIME.getTime(), 0, () => 0),
    vault: () => (vault ??= Vault.open(name)),
    persist: () => Promise.resolve(),
    go: (address) => void went.push(address),
    reload: () => void went.push("reload"),
    save: (file, as) => void saved.push({ file, name: as }),
    wait: () => new Promise((then) => (idle = then)),
    ready: Promise.resolve(),
  };
  const posts = () => sent.filter((each) => each.method !== "GET");
  return { page, sent, posts, went, saved, tick: () => idle() };
}

export function form(step: string): HTMLFormElement {
  return get<HTMLFormElement>(`form[data-step="${step}"]`);
}

export function get<T extends Element = HTMLElement>(selector: string): T {
  const found = document.querySelector<T>(selector);
  if (found === null) throw new Error(`nothing fits ${selector}`);
  return found;
}

export function type(selector: string, value: string): void {
  const input = get<HTMLInputElement>(selector);
  input.value = value;
  input.dispatchEvent(new Event("input", { bubbles: true }));
}

export const submit = (step: string): void => form(step).requestSubmit();

/** What the customer reads in the summary; "" while it is hidden. */
export function summary(): string {
  const box = get("[data-error-summary]");
  return box.hasAttribute("hidden") ? "" : (box.textContent ?? "").trim();
}

/** One form of a step, with its button. */
export const stepForm = (step: string, inside: string): string =>
  `<form data-step="${step}" data-order="o-1">${inside}<button type="submit" data-submit data-busy-label="Please wait…">Go</button></form>`;

export const field = (name: string, input: string): string =>
  `<div class="govuk-form-group" data-field="${name}">
    <p id="${name}-error" data-field-error hidden><span data-field-error-text></span></p>${input}</div>`;

export const order = (more: Readonly<Record<string, unknown>> = {}) => ({
  id: "o-1",
  operation: "rekey",
  state: "open",
  next: "key",
  account: "F014000-0000007",
  portal: "portal-1",
  channels: [],
  ...more,
});
