/** The JSON API of the server, typed: a value, a Problem (RFC 9457), or a NetworkFailure. Nothing else comes out. */

export const KINDS = [
  "malformed",
  "unauthenticated",
  "forbidden",
  "not_found",
  "conflict",
  "step_required",
  "wrong_code",
  "code_dead",
  "wrong_birth_date",
  "bad_key",
  "bad_proof",
  "held",
  "too_many",
  "too_large",
  "unavailable",
] as const;
export type Kind = (typeof KINDS)[number];

/** The server said no, in words for the customer. */
export class Problem extends Error {
  override readonly name = "Problem";
  readonly status: number;
  /** "unavailable" when the answer was no problem document of ours. */
  readonly kind: Kind;
  readonly code: string | null;
  readonly title: string;
  /** A whole sentence in the customer's language; empty when the server gave none. */
  readonly detail: string;
  /** The member of the request it belongs to. */
  readonly field: string | null;
  /** Seconds. */
  readonly retryAfter: number | null;

  constructor(status: number, members: Readonly<Record<string, unknown>>, retryAfter: number | null) {
    super(text(members["detail"]) ?? text(members["title"]) ?? `status ${status}`);
    this.status = status;
    this.kind = KINDS.find((kind) => kind === members["kind"]) ?? "unavailable";
    this.code = text(members["code"]);
    this.title = text(members["title"]) ?? "";
    this.detail = text(members["detail"]) ?? "";
    this.field = text(members["field"]);
    this.retryAfter = retryAfter ?? seconds(members["retry_after_s"]);
  }
}

export type NetworkReason = "unreachable" | "timeout" | "not-json" | "unexpected-shape";

/** No answer, or none that can be understood: whether the server acted is not known, and the same action may be sent again. */
export class NetworkFailure extends Error {
  override readonly name = "NetworkFailure";
  readonly reason: NetworkReason;
  constructor(reason: NetworkReason, options?: ErrorOptions) {
    super(reason, options);
    this.reason = reason;
  }
}

/** Makes a typed value of the JSON, or throws a TypeError. */
export type Decoder<T> = (value: unknown) => T;

export interface Answer<T> {
  readonly status: number;
  readonly value: T;
}

export interface ApiParts {
  readonly fetch: typeof fetch;
  readonly csrfToken: () => string;
  /** Outlives a reload of the tab. */
  readonly storage: Pick<Storage, "getItem" | "setItem" | "removeItem">;
  readonly random: () => string;
  readonly base: string;
  readonly timeoutMs: number;
  readonly wait: (delayMs: number) => Promise<void>;
}

/** Of one request that the server is working on already. */
const MAX_TRIES = 6;

export type Method = "POST" | "PUT" | "DELETE";

export class Api {
  readonly #parts: ApiParts;
  /** The body last sent for an action; with another body it is another action. */
  readonly #sent = new Map<string, string>();

  constructor(parts: ApiParts) {
    this.#parts = parts;
  }

  async get<T>(path: string, decode: Decoder<T>): Promise<Answer<T>> {
    const response = await this.#fetch(path, { method: "GET", headers: { Accept: "application/json" } });
    return understood(response, decode);
  }

  /**
   * `action` names what the customer is doing ("orders/7f3/confirm"). Its Idempotency-Key stays the same until the
   * server has answered, over retries and reloads, so that a lost answer never makes it happen twice. The same request
   * still being worked on ("in_flight") is waited for; a key kept over a reload for another body ("key_reused") is given up.
   */
  async send<T>(method: Method, path: string, action: string, body: unknown, decode: Decoder<T>): Promise<Answer<T>> {
    const payload = JSON.stringify(body);
    for (let tries = 1; ; tries++) {
      const response = await this.#post(method, path, action, payload);
      const answer = await understood(response, decode).catch((error: unknown) => error);
      const inFlight = answer instanceof Problem && answer.code === "in_flight";
      const reused = answer instanceof Problem && answer.code === "key_reused";
      if (response.status < 500 && response.status !== 429 && !inFlight) this.#answered(action);
      if (tries < MAX_TRIES && (inFlight || reused)) {
        if (inFlight) await this.#parts.wait((answer.retryAfter ?? 1) * 1000);
        continue;
      }
      if (answer instanceof Error) throw answer;
      return answer as Answer<T>;
    }
  }

  #post(method: Method, path: string, action: string, payload: string): Promise<Response> {
    return this.#fetch(path, {
      method,
      body: payload,
      headers: {
        Accept: "application/json",
        "Content-Type": "application/json",
        "x-csrftoken": this.#parts.csrfToken(),
        "Idempotency-Key": this.#keyFor(action, payload),
      },
    });
  }

  #keyFor(action: string, payload: string): string {
    const last = this.#sent.get(action);
    const kept = last === undefined || last === payload ? this.#parts.storage.getItem(slot(action)) : null;
    const key = kept ?? this.#parts.random();
    this.#sent.set(action, payload);
    this.#parts.storage.setItem(slot(action), key);
    return key;
  }

  #answered(action: string): void {
    this.#sent.delete(action);
    this.#parts.storage.removeItem(slot(action));
  }

  async #fetch(path: string, init: RequestInit): Promise<Response> {
    const signal = AbortSignal.timeout(this.#parts.timeoutMs);
    const options: RequestInit = { ...init, signal, credentials: "same-origin", redirect: "error", cache: "no-store" };
    try {
      return await this.#parts.fetch(`${this.#parts.base}${path}`, options);
    } catch (cause) {
      throw failure(cause);
    }
  }
}

const slot = (action: string): string => `chopmark:idempotency:${action}`;

function failure(cause: unknown): NetworkFailure {
  const timedOut = cause instanceof DOMException && cause.name === "TimeoutError";
  return new NetworkFailure(timedOut ? "timeout" : "unreachable", { cause });
}

async function understood<T>(response: Response, decode: Decoder<T>): Promise<Answer<T>> {
  const body = await json(response);
  if (!response.ok)
    throw new Problem(response.status, isRecord(body) ? body : {}, seconds(response.headers.get("Retry-After")));
  try {
    return { status: response.status, value: decode(body) };
  } catch (cause) {
    if (cause instanceof TypeError) throw new NetworkFailure("unexpected-shape", { cause });
    throw cause;
  }
}

/** The body; undefined when it is empty, or when an error answer is no JSON (a proxy's page, say). */
async function json(response: Response): Promise<unknown> {
  const body = await response.text().catch((cause: unknown) => {
    throw failure(cause);
  });
  const type = response.headers.get("Content-Type") ?? "";
  if (body === "") return undefined;
  try {
    if (/^application\/([\w.-]+\+)?json\b/i.test(type)) return JSON.parse(body) as unknown;
  } catch (cause) {
    if (!(cause instanceof SyntaxError)) throw cause;
  }
  if (!response.ok) return undefined;
  throw new NetworkFailure("not-json");
}

function isRecord(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

function text(value: unknown): string | null {
  return typeof value === "string" && value !== "" ? value : null;
}

function seconds(value: unknown): number | null {
  const number = typeof value === "string" && /^\d{1,9}$/.test(value) ? Number(value) : value;
  return typeof number === "number" && Number.isFinite(number) && number >= 0 ? Math.ceil(number) : null;
}

/** The API of the page that is open: token from `<meta name="csrf-token">`, keys in sessionStorage. */
export function pageApi(base = "/api/v1"): Api {
  return new Api({
    base,
    fetch: (input, init) => fetch(input, init),
    csrfToken: () => document.querySelector<HTMLMetaElement>('meta[name="csrf-token"]')?.content ?? "",
    storage: sessionStorage,
    random: () => crypto.randomUUID(),
    timeoutMs: 30_000,
    wait: (delayMs) => new Promise((then) => setTimeout(then, delayMs)),
  });
}
