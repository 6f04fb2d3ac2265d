/** An order as the JSON API speaks of it; only what the page needs is read. */
import type { Api } from "./api.ts";
import { fromBase64Url, toBase64Url } from "./base64.ts";
import type { SubjectName } from "./csr.ts";
import type { Bytes } from "./der.ts";

export interface IssuedCertificate {
  /** As `plainHex` has it. */
  readonly serial: string;
  /** DER; null where the server did not send it. */
  readonly der: Bytes | null;
  /** DER, in any order. */
  readonly chain: readonly Bytes[];
}

export interface OldCertificate extends IssuedCertificate {
  /** Of the DER, lower-case hex. */
  readonly sha256: string;
}

export interface Order {
  readonly id: string;
  readonly operation: string;
  readonly state: string;
  /** The step to show. */
  readonly next: string;
  readonly account: string;
  /** Why a new certificate is asked for; null where no reason is. */
  readonly reason: string | null;
  readonly portal: string | null;
  readonly nonce: Bytes | null;
  readonly oldCertificate: OldCertificate | null;
  /** Lower-case hex. */
  readonly spkiSha256: string | null;
  readonly certificate: IssuedCertificate | null;
  /** What the request for the key has to name, in this order; mostly nothing. */
  readonly csrSubject: readonly SubjectName[];
  /** The message with the newest code could not be handed over. */
  readonly undelivered: boolean;
}

type Members = Readonly<Record<string, unknown>>;

function members(value: unknown): Members {
  if (typeof value !== "object" || value === null || Array.isArray(value)) throw new TypeError("an object expected");
  return value as Members;
}

function text(of: Members, name: string): string {
  const value = of[name];
  if (typeof value !== "string") throw new TypeError(`${name}: a text expected`);
  return value;
}

function optional<T>(of: Members, name: string, read: (value: unknown) => T): T | null {
  const value = of[name];
  return value === undefined || value === null ? null : read(value);
}

function octets(value: unknown): Bytes {
  if (typeof value !== "string") throw new TypeError("base64url expected");
  return fromBase64Url(value);
}

function list(value: unknown): readonly Bytes[] {
  if (!Array.isArray(value)) throw new TypeError("a list expected");
  return value.map(octets);
}

function subject(value: unknown): readonly SubjectName[] {
  if (!Array.isArray(value)) throw new TypeError("a list expected");
  return value.map((each) => ({ type: text(members(each), "type"), value: text(members(each), "value") }));
}

/** A serial number as the vault writes it: whole octets, without leading zero octets. */
export function plainHex(value: string): string {
  const digits = value.toLowerCase().replace(/[^0-9a-f]/g, "");
  return (digits.length % 2 === 1 ? `0${digits}` : digits).replace(/^(00)+(?=..)/, "");
}

function digest(value: unknown): string {
  if (typeof value !== "string" || !/^[0-9a-f]{64}$/i.test(value)) throw new TypeError("a digest expected");
  return value.toLowerCase();
}

function issued(value: unknown): IssuedCertificate {
  const of = members(value);
  const chain = optional(of, "chain", list) ?? [];
  return { serial: plainHex(text(of, "serial")), der: optional(of, "der", octets), chain };
}

function old(value: unknown): OldCertificate {
  return { ...issued(value), sha256: digest(members(value)["sha256"]) };
}

export function decodeOrder(value: unknown): Order {
  const of = members(value);
  return {
    id: text(of, "id"),
    operation: text(of, "operation"),
    state: text(of, "state"),
    next: text(of, "next"),
    account: text(of, "account"),
    reason: optional(of, "reason", String),
    portal: optional(of, "portal", String),
    nonce: optional(of, "nonce", octets),
    oldCertificate: optional(of, "old_certificate", old),
    spkiSha256: optional(of, "spki_sha256", digest),
    certificate: optional(of, "certificate", issued),
    csrSubject: optional(of, "csr_subject", subject) ?? [],
    undelivered: optional(of, "challenge", (challenge) => members(challenge)["undelivered"] === true) ?? false,
  };
}

export interface Nonce {
  /** 32 octets. */
  readonly octets: Bytes;
  /** The id of this login, which a proof of possession names. */
  readonly login: string;
}

function decodeNonce(value: unknown): Nonce {
  const of = members(value);
  const nonce = octets(of["nonce"]);
  if (nonce.length !== 32) throw new TypeError("a nonce of 32 octets expected");
  return { octets: nonce, login: text(of, "login") };
}

function decodeTime(value: unknown): Date {
  const time = members(value)["server_time"];
  if (typeof time !== "number") throw new TypeError("server_time: a number expected");
  return new Date(time);
}

export type Verb = "possession" | "challenges" | "code" | "slip" | "birth-date" | "confirm" | "cancel" | "dispute";

/** What was made once with a nonce; sent again as it is when the answer was lost. */
export interface Prepared {
  readonly action: string;
  readonly body: Readonly<Record<string, string>>;
}

export class Orders {
  readonly #api: Api;

  constructor(api: Api) {
    this.#api = api;
  }

  async get(id: string): Promise<Order> {
    return (await this.#api.get(path(id), decodeOrder)).value;
  }

  async start(body: Readonly<Record<string, string>>): Promise<Order> {
    return (await this.#api.send("POST", "/orders", "orders", body, decodeOrder)).value;
  }

  /** A step whose body says all there is. */
  async step(id: string, verb: Verb, body: Readonly<Record<string, string>> = {}): Promise<Order> {
    return (await this.#api.send("POST", `${path(id)}/${verb}`, `orders/${id}/${verb}`, body, decodeOrder)).value;
  }

  /** The server's time at this moment. */
  async time(): Promise<Date> {
    return (await this.#api.get("/status", decodeTime)).value;
  }

  /** 32 octets; an earlier nonce of the order is dead. */
  async nonce(id: string): Promise<Bytes> {
    return (await this.nonceOfLogin(id)).octets;
  }

  /** As `nonce`, with the id of this login. */
  async nonceOfLogin(id: string): Promise<Nonce> {
    return (await this.#api.send("POST", `${path(id)}/nonce`, `orders/${id}/nonce`, {}, decodeNonce)).value;
  }

  async possess(id: string, prepared: Prepared): Promise<Order> {
    return (await this.#api.send("POST", `${path(id)}/possession`, prepared.action, prepared.body, decodeOrder)).value;
  }

  async putKey(id: string, prepared: Prepared): Promise<Order> {
    return (await this.#api.send("PUT", `${path(id)}/key`, prepared.action, prepared.body, decodeOrder)).value;
  }

  async prove(id: string, prepared: Prepared): Promise<Order> {
    return (await this.#api.send("POST", `${path(id)}/prove`, prepared.action, prepared.body, decodeOrder)).value;
  }

  async certificate(serial: string): Promise<IssuedCertificate> {
    return (await this.#api.get(`/certificates/${encodeURIComponent(serial)}`, issued)).value;
  }
}

/** One action for one nonce: the body can never be made twice the same. */
export function prepare(
  id: string,
  verb: "key" | "possession" | "prove",
  nonce: Bytes,
  body: Readonly<Record<string, string>>,
): Prepared {
  return { action: `orders/${id}/${verb}/${toBase64Url(nonce).slice(0, 16)}`, body };
}

const path = (id: string): string => `/orders/${encodeURIComponent(id)}`;
