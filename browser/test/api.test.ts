import { describe, expect, test } from "vitest";
import { Api, NetworkFailure, Problem } from "../src/api.ts";

type Reply = Response | Error;

function server(...replies: readonly Reply[]) {
  const requests: { url: string; init: RequestInit }[] = [];
  const left = [...replies];
  const waits: number[] = [];
  let made = 0;
  const stored = new Map<string, string>();
  const storage = {
    getItem: (key: string) => stored.get(key) ?? null,
    setItem: (key: string, value: string) => void stored.set(key, value),
    removeItem: (key: string) => void stored.delete(key),
  };
  const page = () =>
    new Api({
      base: "/api/v1",
      csrfToken: () => "token-1",
      storage,
      random: () => `key-${++made}`,
      timeoutMs: 1000,
      wait: (delayMs) => {
        waits.push(delayMs);
        return Promise.resolve();
      },
      fetch: (input, init) => {
        requests.push({ url: String(input), init: init ?? {} });
        const reply = left.shift() ?? new Error("no reply left");
        return reply instanceof Error ? Promise.reject(reply) : Promise.resolve(reply);
      },
    });
  const keys = () => requests.map(({ init }) => new Headers(init.headers).get("Idempotency-Key"));
  return { page, requests, keys, stored, waits };
}

const json = (status: number, body: unknown, headers: Record<string, string> = {}) =>
  new Response(JSON.stringify(body), { status, headers: { "Content-Type": "application/json", ...headers } });

const id = (value: unknown): string => {
  if (typeof value === "object" && value !== null && "id" in value && typeof value.id === "string") return value.id;
  throw new TypeError("id");
};

const send = (api: Api, body: unknown = { code: "012345" }) =>
  api.send("POST", "/orders/1/code", "orders/1/code", body, id);

describe("a request", () => {
  test("carries the token, the key and JSON, to this site only", async () => {
    const { page, requests } = server(json(201, { id: "a" }));
    expect(await send(page())).toEqual({ status: 201, value: "a" });
    const [request] = requests;
    const headers = new Headers(request?.init.headers);
    expect(request?.url).toBe("/api/v1/orders/1/code");
    expect(headers.get("x-csrftoken")).toBe("token-1");
    expect(headers.get("idempotency-key")).toBe("key-1");
    expect(headers.get("content-type")).toBe("application/json");
    expect(request?.init).toMatchObject({
      method: "POST",
      credentials: "same-origin",
      redirect: "error",
      body: '{"code":"012345"}',
    });
  });

  test("that reads carries no key", async () => {
    const { page, keys } = server(json(200, { id: "a" }));
    await page().get("/overview", id);
    expect(keys()).toEqual([null]);
  });
});

describe("the Idempotency-Key", () => {
  test("stays the same over a lost answer, a full server, a wait and a reload, and is new after an answer", async () => {
    const { page, keys, stored } = server(
      new TypeError("Failed to fetch"),
      json(503, { kind: "unavailable" }),
      json(429, { kind: "too_many" }),
      json(201, { id: "a" }),
      json(201, { id: "b" }),
    );
    const first = page();
    await expect(send(first)).rejects.toBeInstanceOf(NetworkFailure);
    await expect(send(first)).rejects.toBeInstanceOf(Problem);
    const reloaded = page();
    await expect(send(reloaded)).rejects.toBeInstanceOf(Problem);
    await send(reloaded);
    await send(reloaded);
    expect(keys()).toEqual(["key-1", "key-1", "key-1", "key-1", "key-2"]);
    expect(stored.size).toBe(0);
  });

  test("is another one for another body, and after a no", async () => {
    const { page, keys } = server(
      new TypeError("Failed to fetch"),
      json(400, { kind: "wrong_code" }),
      json(201, { id: "a" }),
    );
    const api = page();
    await expect(send(api, { code: "1" })).rejects.toBeInstanceOf(NetworkFailure);
    await expect(send(api, { code: "2" })).rejects.toBeInstanceOf(Problem);
    await send(api, { code: "2" });
    expect(keys()).toEqual(["key-1", "key-2", "key-3"]);
  });
});

describe("the same request twice", () => {
  const no = (code: string, headers: Record<string, string> = {}) =>
    json(409, { kind: "conflict", code, detail: "No." }, headers);

  test("that is being worked on is waited for and gets the first one's answer", async () => {
    const { page, keys, waits } = server(
      no("in_flight", { "Retry-After": "2" }),
      no("in_flight"),
      json(201, { id: "a" }),
    );
    expect(await send(page())).toEqual({ status: 201, value: "a" });
    expect(keys()).toEqual(["key-1", "key-1", "key-1"]);
    expect(waits).toEqual([2000, 1000]);
  });

  test("is not waited for without end", async () => {
    const { page, requests } = server(...Array.from({ length: 9 }, () => no("in_flight")));
    await expect(send(page())).rejects.toMatchObject({ kind: "conflict", code: "in_flight" });
    expect(requests).toHaveLength(6);
  });

  test("with other contents after a reload gets a key of its own", async () => {
    const { page, keys } = server(new TypeError("Failed to fetch"), no("key_reused"), json(201, { id: "a" }));
    await expect(send(page(), { code: "1" })).rejects.toBeInstanceOf(NetworkFailure);
    expect(await send(page(), { code: "2" })).toEqual({ status: 201, value: "a" });
    expect(keys()).toEqual(["key-1", "key-1", "key-2"]);
  });
});

describe("what comes out", () => {
  const outcome = (reply: Reply) => send(server(reply).page()).catch((error: unknown) => error);

  test("a no is a Problem with all its members (RFC 9457)", async () => {
    const body = {
      type: "about:blank",
      title: "Wrong code",
      detail: "The code differs.",
      status: 400,
      kind: "wrong_code",
      code: "c1",
      field: "code",
    };
    const reply = json(400, body, { "Content-Type": "application/problem+json", "Retry-After": "60" });
    const problem = await outcome(reply);
    expect(problem).toBeInstanceOf(Problem);
    expect(problem).toMatchObject({
      status: 400,
      kind: "wrong_code",
      code: "c1",
      title: "Wrong code",
      detail: "The code differs.",
      field: "code",
      retryAfter: 60,
    });
  });

  test("a proxy's page is a Problem of kind unavailable", async () => {
    const page = new Response("<html>502</html>", { status: 502, headers: { "Content-Type": "text/html" } });
    expect(await outcome(page)).toMatchObject({
      status: 502,
      kind: "unavailable",
      detail: "",
      field: null,
      retryAfter: null,
    });
  });

  test.each<[string, Reply, string]>([
    ["no network", new TypeError("Failed to fetch"), "unreachable"],
    ["no answer in time", new DOMException("late", "TimeoutError") as Error, "timeout"],
    [
      "a page instead of JSON",
      new Response("<html>", { status: 200, headers: { "Content-Type": "text/html" } }),
      "not-json",
    ],
    ["broken JSON", new Response("{", { status: 200, headers: { "Content-Type": "application/json" } }), "not-json"],
    ["JSON of another shape", json(200, { other: 1 }), "unexpected-shape"],
  ])("%s is a NetworkFailure", async (_what, reply, reason) => {
    const failure = await outcome(reply);
    expect(failure).toBeInstanceOf(NetworkFailure);
    expect(failure).toMatchObject({ reason });
  });
});
