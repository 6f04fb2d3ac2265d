// @vitest-environment happy-dom
// @vitest-environment-options { "url": "https://portal.example/orders/o-1" }
import "fake-indexeddb/auto";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, test, vi } from "vitest";
import { fromBase64Url, toBase64Url } from "../src/base64.ts";
import { readCertificate } from "../src/certificate.ts";
import { makeCsr } from "../src/csr.ts";
import { hex } from "../src/der.ts";
import { generate, sha256, spkiOf, spkiSha256, wrap } from "../src/keys.ts";
import type { Page } from "../src/page.ts";
import { warnOfClock } from "../src/pages/clock-notice.ts";
import { attachDownload, forget, tidy } from "../src/pages/done.ts";
import { attachInstall } from "../src/pages/install.ts";
import { attachWhereKept } from "../src/pages/inquiry.ts";
import { attachKey } from "../src/pages/key.ts";
import { sayNow } from "../src/pages/later.ts";
import { attachPlace } from "../src/pages/place.ts";
import { attachPossession } from "../src/pages/possession.ts";
import type { PendingBrowserKey, PendingFileKey } from "../src/vault.ts";
import {
  field,
  form,
  get,
  json,
  no,
  opened,
  order,
  type Sent,
  SERVER_TIME,
  stepForm,
  submit,
  summary,
  type,
} from "./support/page.ts";
import { bench, EC_KEY } from "./support/tools.ts";

const until = (true_: () => void) => vi.waitFor(true_, { timeout: 20_000, interval: 10 });
const PASSPHRASE = "acdef-hjkmn-prtuv";
const LOGIN = "THISLOGIN2345";
const NONCE = toBase64Url(new Uint8Array(32).fill(7));

const keyForm = (home: "browser" | "file", section = "") =>
  stepForm(
    "key",
    `<input type="hidden" name="key_home" value="${home}">${section}${
      home === "file"
        ? `${field("passphrase", '<p id="passphrase-hint">Hint</p><input id="passphrase" data-passphrase><p class="cm-inline-buttons"><button type="button" data-regenerate></button></p>')}
           ${field("written_down", '<input type="checkbox" id="written_down">')}`
        : ""
    }<p data-progress></p>`,
  );

const oldSection = (
  sha: string,
) => `<section data-old-key data-sha256="${sha}"><p data-old-key-found hidden><button type="button" data-use-file></button></p>
  <div data-old-key-file>${field("old_file", '<input type="file" id="old_file">')}${field("old_passphrase", '<input type="password" id="old_passphrase">')}
  <div data-old-key-inner hidden>${field("old_key_passphrase", '<input type="password" id="old_key_passphrase">')}</div>
  <div data-opening hidden><progress data-opening-bar max="1"></progress><button type="button" data-opening-stop></button></div></div></section>`;

/** The server of an order: answers the reads, and each write with `write`. */
const serving = (shown: Readonly<Record<string, unknown>>, write: (sent: Sent) => Response | null) => (sent: Sent) => {
  if (sent.path === "/status") return json(200, { server_time: SERVER_TIME.getTime() });
  if (sent.path.endsWith("/nonce")) return json(200, { nonce: NONCE, expires_in_s: 600, login: LOGIN });
  return sent.method === "GET" ? json(200, order(shown)) : write(sent);
};

const bound = (sent: Sent) => (sent.path.endsWith("/key") ? json(200, order({ next: "channel" })) : null);
const writes = (posts: readonly Sent[]) => posts.filter((each) => !each.path.endsWith("/nonce"));

async function browserKey(): Promise<PendingBrowserKey> {
  const pair = await generate("browser", "P-256");
  const facts = {
    spkiSha256: await spkiSha256(pair.publicKey),
    spki: await spkiOf(pair.publicKey),
    createdAt: SERVER_TIME,
  };
  return { home: "browser", orderId: "o-1", ...pair, ...facts };
}

async function fileKey(): Promise<PendingFileKey & { readonly csr: Uint8Array }> {
  const pair = await generate("file", "P-256");
  const facts = {
    spkiSha256: await spkiSha256(pair.publicKey),
    spki: await spkiOf(pair.publicKey),
    createdAt: SERVER_TIME,
  };
  const csr = await makeCsr(pair);
  return {
    home: "file",
    orderId: "o-1",
    algorithm: "P-256",
    wrapped: await wrap(pair.privateKey, PASSPHRASE),
    ...facts,
    csr,
  };
}

/** The digest of the key that openssl finds in a request that verifies. */
async function digestInCsr(csr: string | undefined): Promise<string> {
  const tools = bench();
  tools.write("r.der", fromBase64Url(csr ?? ""));
  const said = tools.capture("openssl", "req", "-inform", "DER", "-in", "r.der", "-verify", "-noout", "-pubkey");
  expect(said.stderr).toContain("verify OK");
  tools.write("r.pem", said.stdout);
  tools.openssl("pkey", "-pubin", "-in", "r.pem", "-outform", "DER", "-out", "spki.der");
  return hex(await sha256(tools.read("spki.der")));
}

/** openssl verifies the CMS with that certificate; the content as hex. */
function contentOf(proof: string | undefined, certificate: Uint8Array): string {
  const tools = bench();
  tools.write("p.der", fromBase64Url(proof ?? ""));
  tools.write("c.der", certificate);
  tools.openssl("x509", "-inform", "DER", "-in", "c.der", "-out", "c.pem");
  tools.openssl(
    "cms",
    "-verify",
    "-binary",
    "-inform",
    "DER",
    "-in",
    "p.der",
    "-certfile",
    "c.pem",
    "-nointern",
    "-noverify",
    "-out",
    "s.der",
  );
  return hex(tools.read("s.der"));
}

const utf8 = (text: string) => hex(new TextEncoder().encode(text));

async function choose(file: Uint8Array): Promise<void> {
  const chosen = new File([new Uint8Array(file)], "old.p12");
  Object.defineProperty(get("#old_file"), "files", { value: [chosen], configurable: true });
}

function oldFile(name: string, serial: string) {
  const tools = bench();
  tools.makeAuthority();
  tools.identity(name, EC_KEY, serial);
  tools.openssl(
    "pkcs12",
    "-export",
    "-inkey",
    `${name}.key`,
    "-in",
    `${name}.pem`,
    "-certfile",
    `${name}-chain.pem`,
    "-passout",
    `pass:${PASSPHRASE}`,
    "-out",
    `${name}.p12`,
  );
  return { der: tools.der(`${name}.pem`), p12: tools.read(`${name}.p12`), tools };
}

const oldOrder = async (der: Uint8Array) => ({
  old_certificate: { serial: "0A01", sha256: hex(await sha256(new Uint8Array(der))), der: toBase64Url(der) },
});

function chooseNew(content: Uint8Array): void {
  const chosen = new File([new Uint8Array(content)], "new.p12");
  Object.defineProperty(get("#new_file"), "files", { value: [chosen], configurable: true });
}

async function keep(page: Page, key: PendingBrowserKey | PendingFileKey): Promise<void> {
  await (await page.vault()).keep(key);
}

describe("a new key", () => {
  test("of an application is on disk before its request is sent, and the request is its own", async () => {
    let onDisk: string | undefined;
    const { page, posts, went } = opened(keyForm("browser"), async (sent) => {
      if (sent.path.endsWith("/key")) onDisk = (await (await page.vault()).pending("o-1"))?.spkiSha256;
      return serving({ operation: "enrol" }, bound)(sent);
    });
    attachKey(page, form("key"));
    submit("key");
    await until(() => expect(went).toEqual(["/orders/o-1"]));
    const [put] = writes(posts());
    expect(put).toMatchObject({ method: "PUT", path: "/orders/o-1/key" });
    expect(Object.keys(put?.body ?? {})).toEqual(["csr"]);
    expect(await digestInCsr(put?.body["csr"])).toBe(onDisk);
  });

  test("is asked for by the names that the order says", async () => {
    const csr_subject = [
      { type: "C", value: "TW" },
      { type: "CN", value: "王試一" },
    ];
    const { page, posts, went } = opened(keyForm("browser"), serving({ operation: "enrol", csr_subject }, bound));
    attachKey(page, form("key"));
    submit("key");
    await until(() => expect(went).toHaveLength(1));
    const tools = bench();
    tools.write("r.der", fromBase64Url(writes(posts())[0]?.body["csr"] ?? ""));
    const said = tools.openssl(
      "req",
      "-inform",
      "DER",
      "-in",
      "r.der",
      "-noout",
      "-verify",
      "-subject",
      "-nameopt",
      "esc_ctrl,utf8,sep_comma_plus",
    );
    expect(said).toContain("C=TW,CN=王試一");
    expect(posts().every((each) => !each.path.includes("%") && !each.path.includes("王"))).toBe(true);
  });

  test("is the same one after a reload, and after a refusal", async () => {
    const key = await browserKey();
    let refused = true;
    const { page, posts, went } = opened(
      keyForm("browser"),
      serving({ operation: "enrol" }, (sent) => (refused ? no(422, "bad_proof", "No.") : bound(sent))),
    );
    await keep(page, key);
    attachKey(page, form("key"));
    submit("key");
    await until(() => expect(summary()).toContain("No."));
    refused = false;
    submit("key");
    await until(() => expect(went).toHaveLength(1));
    for (const put of writes(posts())) expect(await digestInCsr(put.body["csr"])).toBe(key.spkiSha256);
  });

  test("whose answer was lost is sent again as it was", async () => {
    let lost = true;
    const { page, posts, went } = opened(
      keyForm("browser"),
      serving({ operation: "enrol" }, (sent) => (lost ? null : bound(sent))),
    );
    attachKey(page, form("key"));
    submit("key");
    await until(() => expect(summary()).toContain("No answer"));
    lost = false;
    submit("key");
    await until(() => expect(went).toHaveLength(1));
    const [first, second] = writes(posts());
    expect(second).toEqual(first);
  });

  test("as a file needs a fit pass-phrase that was written down", async () => {
    const { page, posts, went } = opened(keyForm("file"), serving({ operation: "enrol" }, bound));
    attachKey(page, form("key"));
    expect(get<HTMLInputElement>("#passphrase").value).toMatch(/^(\w{4}-){4}\w{4}$/);
    submit("key");
    await until(() => expect(summary()).toContain("write the pass-phrase down"));
    type("#passphrase", "short");
    get<HTMLInputElement>("#written_down").checked = true;
    submit("key");
    await until(() => expect(get("#passphrase-error").textContent).toContain("too short"));
    expect(posts()).toEqual([]);
    type("#passphrase", PASSPHRASE);
    get<HTMLInputElement>("#written_down").checked = true;
    submit("key");
    await until(() => expect(went).toHaveLength(1));
    expect(JSON.stringify(posts())).not.toContain(PASSPHRASE);
    expect((await (await page.vault()).pending("o-1"))?.home).toBe("file");
  });

  test("as a file that was made before asks for its pass-phrase, and can be given up for a new one", async () => {
    const { csr: _csr, ...key } = await fileKey();
    const { page, posts, went } = opened(keyForm("file"), serving({ operation: "enrol" }, bound));
    await keep(page, key);
    attachKey(page, form("key"));
    await until(() => expect(get("#passphrase-hint").textContent).toContain("has already made the key"));
    type("#passphrase", "another-pass-phrase");
    submit("key");
    await until(() => expect(get("#passphrase-error").textContent).toContain("not the pass-phrase"));
    type("#passphrase", PASSPHRASE);
    submit("key");
    await until(() => expect(went).toHaveLength(1));
    expect(await digestInCsr(writes(posts())[0]?.body["csr"])).toBe(key.spkiSha256);
  });

  test("in place of one whose pass-phrase is lost replaces it on disk", async () => {
    const { csr: _csr, ...key } = await fileKey();
    const { page, went } = opened(keyForm("file"), serving({ operation: "enrol" }, bound));
    await keep(page, key);
    attachKey(page, form("key"));
    await until(() => expect(get("#passphrase-hint").textContent).toContain("has already made the key"));
    [...document.querySelectorAll("button")].find((each) => each.textContent?.includes("make a new key"))?.click();
    expect(get<HTMLInputElement>("#passphrase").value).toMatch(/^(\w{4}-){4}\w{4}$/);
    get<HTMLInputElement>("#written_down").checked = true;
    submit("key");
    await until(() => expect(went).toHaveLength(1));
    expect((await (await page.vault()).pending("o-1"))?.spkiSha256).not.toBe(key.spkiSha256);
  });

  test("of an order that was begun elsewhere says so", async () => {
    const { page } = opened(keyForm("browser"), serving({ spki_sha256: "cd".repeat(32) }, bound));
    attachKey(page, form("key"));
    await until(() =>
      expect(get("[data-key-notice]").textContent).toContain("in another browser or on another computer"),
    );
  });
});

describe("a browser that asks whether it may keep data", () => {
  test("is not waited for: the key is made and sent while the question is open", async () => {
    const { page, posts, went } = opened(keyForm("browser"), serving({}, bound));
    let asked = 0;
    const asking: Page = { ...page, persist: () => new Promise(() => void asked++) };
    attachKey(asking, form("key"));
    submit("key");
    await until(() => expect(went).toEqual(["/orders/o-1"]));
    expect(asked).toBe(1);
    expect(writes(posts())).toHaveLength(1);
  });
});

describe("another place for the certificate", () => {
  test("ends the order and begins the same one anew, in one request", async () => {
    const place = stepForm("place", '<input type="hidden" name="other_home" value="file">');
    const shown = { operation: "replace", reason: "lost" };
    const { page, posts, went } = opened(place, ({ method }) =>
      method === "POST" ? json(201, order({ id: "o-2" })) : json(200, order(shown)),
    );
    attachPlace(page, form("place"));
    submit("place");
    await until(() => expect(went).toEqual(["/orders/o-2"]));
    const body = { operation: "replace", reason: "lost", account: "F014000-0000007", key_home: "file", instead: "o-1" };
    expect(posts().map((each) => [each.path, each.body])).toEqual([["/orders", body]]);
  });
});

describe("a clock that is wrong", () => {
  test.each([
    [121_000, /2 minutes fast.*expired/],
    [-3 * 3_600_000, /3 hours slow.*not valid yet/],
    [-400 * 86_400_000, /400 days slow/],
  ])("by %d ms is said with the difference and the remedy", async (skew, words) => {
    const { page } = opened(stepForm("install", ""), () => json(200, order()));
    await warnOfClock(page, form("install"), SERVER_TIME.getTime() + skew);
    expect(get("[data-clock-notice]").textContent).toMatch(words);
    expect(get("[data-clock-notice]").textContent).toContain("Sync now");
  });

  test("by two minutes is nothing to speak of", async () => {
    const { page } = opened(stepForm("install", ""), () => json(200, order()));
    await warnOfClock(page, form("install"), SERVER_TIME.getTime() - 120_000);
    expect(document.querySelector("[data-clock-notice]")).toBeNull();
  });
});

describe("a renewal", () => {
  test("is signed by the old key of a file that is opened here, and neither file nor pass-phrase is sent", async () => {
    const { der, p12 } = oldFile("customer", "0x0a01");
    const sha = hex(await sha256(der));
    const { page, posts, went } = opened(keyForm("browser", oldSection(sha)), serving(await oldOrder(der), bound));
    attachKey(page, form("key"));
    submit("key");
    await until(() => expect(get("#old_file-error").textContent).toContain("choose the file"));
    await choose(p12);
    type("#old_passphrase", "wrong");
    submit("key");
    await until(() => expect(get("#old_passphrase-error").textContent).toContain("does not fit"));
    expect(posts()).toEqual([]);
    type("#old_passphrase", PASSPHRASE);
    submit("key");
    await until(() => expect(went).toHaveLength(1));
    const [put] = writes(posts());
    const content = contentOf(put?.body["proof"], der);
    const digest = await digestInCsr(put?.body["csr"]);
    for (const part of [
      utf8("chopmark-proof-1"),
      utf8("portal-1"),
      utf8("o-1"),
      "07".repeat(32),
      digest,
      sha,
      utf8("rekey"),
      utf8("20260102030405Z"),
    ]) {
      expect(content).toContain(part);
    }
    expect(Object.keys(put?.body ?? {}).sort()).toEqual(["csr", "proof"]);
    expect(JSON.stringify(posts())).not.toContain(PASSPHRASE);
    expect(JSON.stringify(posts())).not.toContain(toBase64Url(p12).slice(0, 60));
  });

  test("with a file of another certificate names what was opened", async () => {
    const wanted = oldFile("customer", "0x0a01");
    const other = oldFile("neighbour", "0x0b02");
    const { page, posts } = opened(
      keyForm("browser", oldSection(hex(await sha256(wanted.der)))),
      serving(await oldOrder(wanted.der), bound),
    );
    attachKey(page, form("key"));
    await choose(other.p12);
    type("#old_passphrase", PASSPHRASE);
    submit("key");
    await until(() => expect(get("#old_file-error").textContent).toMatch(/neighbour.*0B02.*0A01/));
    expect(posts()).toEqual([]);
  });

  test("with a file of another certificate calls the CA of both by one name, the page's", async () => {
    const wanted = oldFile("customer", "0x0a01");
    const other = oldFile("neighbour", "0x0b02");
    const section = oldSection(hex(await sha256(wanted.der)));
    const { page } = opened(
      keyForm("browser", section.replace("<section", '<section data-issuer="好景示範憑證管理中心"')),
      serving(await oldOrder(wanted.der), bound),
    );
    attachKey(page, form("key"));
    await choose(other.p12);
    type("#old_passphrase", PASSPHRASE);
    submit("key");
    await until(() => expect(get("#old_file-error").textContent?.match(/好景示範憑證管理中心/g)).toHaveLength(2));
  });

  test("with a file that has gone since it was chosen asks for it again", async () => {
    const wanted = oldFile("customer", "0x0a01");
    const { page } = opened(
      keyForm("browser", oldSection(hex(await sha256(wanted.der)))),
      serving(await oldOrder(wanted.der), bound),
    );
    attachKey(page, form("key"));
    const gone = { size: 1, arrayBuffer: () => Promise.reject(new DOMException("gone", "NotFoundError")) };
    Object.defineProperty(get("#old_file"), "files", { value: [gone], configurable: true });
    submit("key");
    await until(() => expect(get("#old_file-error").textContent).toContain("This cannot be read"));
    await choose(wanted.p12);
    type("#old_passphrase", "wrong");
    submit("key");
    await until(() => expect(get("#old_passphrase-error").textContent).toContain("does not fit"));
  });

  test("with a Java file asks for the pass-phrase of the key in it, when that is another one", async () => {
    const file = new Uint8Array(readFileSync(join(import.meta.dirname, "../../tests/vectors/p12/10-java-keypass.p12")));
    const tools = bench();
    tools.write("java.p12", file);
    tools.write(
      "old.pem",
      tools.openssl("pkcs12", "-in", "java.p12", "-clcerts", "-nokeys", "-passin", "pass:Abc-1234-xyz"),
    );
    const der = tools.der("old.pem");
    const { page, posts, went } = opened(
      keyForm("browser", oldSection(hex(await sha256(der)))),
      serving(await oldOrder(der), bound),
    );
    attachKey(page, form("key"));
    await choose(file);
    type("#old_passphrase", "Abc-1234-xyz");
    expect(get("[data-old-key-inner]").hasAttribute("hidden")).toBe(true);
    submit("key");
    await until(() => expect(get("#old_key_passphrase-error").textContent).toContain("pass-phrase of its own"));
    expect(get("[data-old-key-inner]").hasAttribute("hidden")).toBe(false);
    expect(posts()).toEqual([]);
    type("#old_key_passphrase", "Key-9876-abc");
    submit("key");
    await until(() => expect(went).toHaveLength(1));
    expect(contentOf(writes(posts())[0]?.body["proof"], der)).toContain(utf8("rekey"));
  });

  test("with a file without a pass-phrase needs none, and one without a MAC is opened with a notice", async () => {
    const { der, tools } = oldFile("customer", "0x0a01");
    for (const [options, notice] of [
      [[], 0],
      [["-nomac"], 1],
    ] as const) {
      tools.openssl(
        "pkcs12",
        "-export",
        "-inkey",
        "customer.key",
        "-in",
        "customer.pem",
        "-passout",
        "pass:",
        "-out",
        "bare.p12",
        ...options,
      );
      const { page, went } = opened(
        keyForm("browser", oldSection(hex(await sha256(der)))),
        serving(await oldOrder(der), bound),
      );
      attachKey(page, form("key"));
      await choose(tools.read("bare.p12"));
      submit("key");
      await until(() => expect(went).toHaveLength(1));
      document.body.innerHTML = `<main><form data-step="channel"></form></main>`;
      sayNow();
      expect(document.querySelectorAll("[role=status]")).toHaveLength(notice);
    }
  });

  test("with the old key in this browser needs no file", async () => {
    const tools = bench();
    tools.makeAuthority();
    const old = await browserKey();
    const der = tools.certify("old", await makeCsr(old), "0x0a01");
    const { page, posts, went } = opened(
      keyForm("browser", oldSection(hex(await sha256(der)))),
      serving(await oldOrder(der), bound),
    );
    const vault = await page.vault();
    await vault.keep({ ...old, orderId: "o-0" });
    await vault.install("o-0", [readCertificate(der)], SERVER_TIME);
    attachKey(page, form("key"));
    await until(() => expect(get("[data-old-key-found]").hasAttribute("hidden")).toBe(false));
    expect(get("[data-old-key-file]").hasAttribute("hidden")).toBe(true);
    submit("key");
    await until(() => expect(went).toHaveLength(1));
    expect(contentOf(writes(posts())[0]?.body["proof"], der)).toContain(utf8("rekey"));
  });
});

const SAVING = `<div data-save><button type="button" data-saved-before></button></div><div data-saved hidden>
  ${field("new_file", '<input type="file" id="new_file">')}
  <div data-other-ways><button type="button" data-save-again></button><button type="button" data-share hidden></button>
  <button type="button" data-copy-text data-done-label="Copied"></button><textarea data-as-text hidden></textarea><p data-text-hint hidden></p>
  <button type="button" data-said></button><button type="button" data-into-browser></button></div></div>`;
const installForm = (file: boolean) =>
  `${stepForm("install", `<div data-file-name="certificate-1.p12">${file ? `${field("passphrase", '<input id="passphrase" name="passphrase">')}${SAVING}` : ""}<p data-progress></p></div>`)}
   <div data-key-missing hidden></div>`;

function issued(csr: Uint8Array) {
  const tools = bench();
  tools.makeAuthority();
  const der = tools.certify("new", csr, "0x0c03");
  const chain = [tools.der("ca.pem"), tools.der("root.pem")];
  return { tools, der, shown: { serial: "0C03", der: toBase64Url(der), chain: chain.map(toBase64Url) } };
}

const proven = (sent: Sent) =>
  sent.path.endsWith("/prove") ? json(200, order({ state: "active", next: "done" })) : null;

describe("the new certificate", () => {
  test("lies in the vault before its key proves itself", async () => {
    const key = await browserKey();
    const { der, shown } = issued(await makeCsr(key));
    const { page, posts, went } = opened(
      installForm(false),
      serving({ next: "install", certificate: shown, spki_sha256: key.spkiSha256 }, proven),
    );
    await keep(page, key);
    attachInstall(page, form("install"));
    submit("install");
    await until(() => expect(went).toEqual(["/orders/o-1"]));
    const vault = await page.vault();
    expect((await vault.installed("0c03"))?.certificates).toHaveLength(3);
    const content = contentOf(writes(posts())[0]?.body["proof"], der);
    for (const part of [utf8("install"), key.spkiSha256, hex(await sha256(der)), "07".repeat(32)])
      expect(content).toContain(part);
    await tidy(page, "o-1");
    expect(await vault.pending("o-1")).toBeNull();
  });

  test("is proven by the vault's key when the answer was lost and the page loaded again", async () => {
    const key = await browserKey();
    const { der, shown } = issued(await makeCsr(key));
    const { page, posts, went } = opened(
      installForm(false),
      serving({ next: "install", certificate: shown, spki_sha256: key.spkiSha256 }, proven),
    );
    const vault = await page.vault();
    await vault.keep(key);
    await vault.install("o-1", [readCertificate(der)], SERVER_TIME);
    await vault.forget("o-1");
    attachInstall(page, form("install"));
    submit("install");
    await until(() => expect(went).toHaveLength(1));
    expect(contentOf(writes(posts())[0]?.body["proof"], der)).toContain(utf8("install"));
  });

  test("is saved as a file that openssl opens with the pass-phrase, and proven only when it was opened again", async () => {
    const { csr, ...key } = await fileKey();
    const { tools, der, shown } = issued(csr);
    const { page, posts, saved, went } = opened(
      installForm(true),
      serving({ next: "install", certificate: shown, spki_sha256: key.spkiSha256 }, proven),
    );
    await keep(page, key);
    attachInstall(page, form("install"));
    submit("install");
    await until(() => expect(get("#passphrase-error").textContent).toContain("enter your pass-phrase"));
    type("#passphrase", "another-pass-phrase");
    submit("install");
    await until(() => expect(get("#passphrase-error").textContent).toContain("not the pass-phrase"));
    expect([saved, posts()]).toEqual([[], []]);
    type("#passphrase", PASSPHRASE);
    submit("install");
    await until(() => expect(get("[data-saved]").hasAttribute("hidden")).toBe(false));
    expect(saved.map((each) => each.name)).toEqual(["certificate-1.p12"]);
    expect(posts()).toEqual([]);
    submit("install");
    await until(() => expect(get("#new_file-error").textContent).toContain("choose the file that was just saved"));
    const stranger = oldFile("neighbour", "0x0b02");
    chooseNew(stranger.p12);
    submit("install");
    await until(() => expect(get("#new_file-error").textContent).toContain("another certificate: neighbour"));
    expect(posts()).toEqual([]);
    tools.write("new.p12", new Uint8Array(await (saved[0]?.file ?? new Blob()).arrayBuffer()));
    // Another program has taken the file in and written it out again: it opens as well.
    tools.openssl("pkcs12", "-in", "new.p12", "-passin", `pass:${PASSPHRASE}`, "-noenc", "-out", "all.pem");
    tools.openssl(
      "pkcs12",
      "-export",
      "-legacy",
      "-in",
      "all.pem",
      "-passout",
      `pass:${PASSPHRASE}`,
      "-out",
      "theirs.p12",
    );
    chooseNew(tools.read("theirs.p12"));
    submit("install");
    await until(() => expect(went).toHaveLength(1));
    expect(writes(posts())[0]?.body["installed"]).toBe("opened");
    const said = tools.openssl("pkcs12", "-in", "new.p12", "-passin", `pass:${PASSPHRASE}`, "-nodes");
    expect(said.match(/BEGIN CERTIFICATE/g)).toHaveLength(3);
    expect(said).toContain("BEGIN PRIVATE KEY");
    expect(contentOf(writes(posts())[0]?.body["proof"], der)).toContain(utf8("install"));
    expect(JSON.stringify(posts())).not.toContain(PASSPHRASE);
  });

  test("that the customer only says is there is told so to the server", async () => {
    const { csr, ...key } = await fileKey();
    const { der, shown } = issued(csr);
    const { page, posts, saved, went } = opened(
      installForm(true),
      serving({ next: "install", certificate: shown, spki_sha256: key.spkiSha256 }, proven),
    );
    await keep(page, key);
    attachInstall(page, form("install"));
    type("#passphrase", PASSPHRASE);
    submit("install");
    await until(() => expect(saved).toHaveLength(1));
    await until(() => expect(form("install").hasAttribute("data-busy")).toBe(false));
    get<HTMLButtonElement>("[data-save-again]").click();
    await until(() => expect(saved).toHaveLength(2));
    await until(() => expect(form("install").hasAttribute("data-busy")).toBe(false));
    get<HTMLButtonElement>("[data-copy-text]").click();
    await until(() => expect(get<HTMLTextAreaElement>("[data-as-text]").value).toContain("BEGIN PKCS12"));
    await until(() => expect(form("install").hasAttribute("data-busy")).toBe(false));
    get<HTMLButtonElement>("[data-said]").click();
    await until(() => expect(went).toHaveLength(1));
    const [sent] = writes(posts());
    expect(sent?.body["installed"]).toBe("said");
    expect(contentOf(sent?.body["proof"], der)).toContain(utf8("install"));
  });

  test("whose file does not come is kept by this browser, as a key that no file can ever be made of", async () => {
    const { csr, ...key } = await fileKey();
    const { der, shown } = issued(csr);
    const { page, posts, went } = opened(
      installForm(true),
      serving({ next: "install", certificate: shown, spki_sha256: key.spkiSha256 }, proven),
    );
    await keep(page, key);
    attachInstall(page, form("install"));
    type("#passphrase", "another-pass-phrase");
    get<HTMLButtonElement>("[data-into-browser]").click();
    await until(() => expect(get("#passphrase-error").textContent).toContain("not the pass-phrase"));
    expect(await (await page.vault()).allInstalled()).toHaveLength(0);
    type("#passphrase", PASSPHRASE);
    get<HTMLButtonElement>("[data-into-browser]").click();
    await until(() => expect(went).toHaveLength(1));
    const vault = await page.vault();
    const [there] = await vault.allInstalled();
    expect(there?.privateKey.extractable).toBe(false);
    expect(there?.certificates).toHaveLength(3);
    expect((await vault.pending("o-1"))?.home).toBe("file"); // the file can still be saved
    expect(writes(posts())[0]?.body["installed"]).toBe("opened");
    expect(contentOf(writes(posts())[0]?.body["proof"], der)).toContain(utf8("install"));
  });

  test("copied as text proves itself in a browser that never had its key", async () => {
    const { csr, ...key } = await fileKey();
    const { shown } = issued(csr);
    const server = serving({ next: "install", certificate: shown, spki_sha256: key.spkiSha256 }, proven);
    const first = opened(installForm(true), server);
    await keep(first.page, key);
    attachInstall(first.page, form("install"));
    type("#passphrase", PASSPHRASE);
    submit("install");
    await until(() => expect(first.saved).toHaveLength(1));
    await until(() => expect(form("install").hasAttribute("data-busy")).toBe(false));
    get<HTMLButtonElement>("[data-copy-text]").click();
    await until(() => expect(get<HTMLTextAreaElement>("[data-as-text]").value).toContain("END PKCS12"));
    const text = get<HTMLTextAreaElement>("[data-as-text]").value;
    const second = opened(installForm(true), server);
    attachInstall(second.page, form("install"));
    await until(() => expect(get("[data-key-missing]").hasAttribute("hidden")).toBe(false));
    type("#passphrase", PASSPHRASE);
    chooseNew(Buffer.from(text));
    submit("install");
    await until(() => expect(second.went).toHaveLength(1));
    expect(writes(second.posts())[0]?.body["installed"]).toBe("opened");
  });

  test("whose key is not in this browser says so and offers to leave", async () => {
    const key = await browserKey();
    const { shown } = issued(await makeCsr(key));
    const html = `${installForm(false)}<details class="cm-leave"></details>`;
    const { page } = opened(
      html,
      serving({ next: "install", certificate: shown, spki_sha256: key.spkiSha256 }, proven),
    );
    attachInstall(page, form("install"));
    await until(() => expect(get("[data-key-missing]").hasAttribute("hidden")).toBe(false));
    expect(form("install").hasAttribute("hidden")).toBe(true);
    expect(get<HTMLDetailsElement>("details").open).toBe(true);
  });
});

describe("afterwards", () => {
  test("a file can be saved again while its key is here, and the key of an ended order is gone", async () => {
    const { csr, ...key } = await fileKey();
    const { shown } = issued(csr);
    const html = `<div data-download-again data-file-name="certificate-1.p12" hidden>${stepForm("download", field("passphrase", '<input id="passphrase" name="passphrase">'))}</div>`;
    const { page, saved } = opened(
      html,
      serving({ next: "install", certificate: shown, spki_sha256: key.spkiSha256 }, () => null),
    );
    await keep(page, key);
    await tidy(page, "o-1");
    expect(get("[data-download-again]").hasAttribute("hidden")).toBe(false);
    attachDownload(page, form("download"));
    type("#passphrase", PASSPHRASE);
    submit("download");
    await until(() => expect(saved).toHaveLength(1));
    await forget(page, "o-1");
    expect(await (await page.vault()).pending("o-1")).toBeNull();
  });

  test.each([
    ["browser", "0C03", "In this browser on this computer"],
    ["browser", "C03", "In this browser on this computer"],
    ["browser", "0C04", "Not found in this browser"],
    ["file", "0C04", "A file"],
    ["file", "0C03", "In this browser on this computer, and in a file if you have saved one"],
  ])("a certificate kept in %s, serial %s: %s", async (home, serial, said) => {
    const key = await browserKey();
    const { der } = issued(await makeCsr(key));
    const { page } = opened(
      `<div data-serial="${serial}" data-key-home="${home}"><span data-kept-text>A file</span></div>`,
      () => null,
    );
    await keep(page, key);
    await (await page.vault()).install("o-1", [readCertificate(der)], SERVER_TIME);
    await attachWhereKept(page, get("[data-serial]"));
    expect(get("[data-kept-text]").textContent).toBe(said);
    const way = document.querySelector<HTMLAnchorElement>("[data-serial] a");
    expect(way?.getAttribute("href") ?? null).toBe(
      said.startsWith("Not found") ? "/certificates/apply?operation=replace" : null,
    );
  });
});

describe("the key of another sign-in", () => {
  const html = (inside = "") =>
    `${stepForm(
      "possession",
      `${inside}<p data-possession="browser" hidden></p><div data-possession="file" hidden>${field(
        "passphrase",
        '<input id="passphrase" name="passphrase">',
      )}</div><p data-possession="missing" hidden></p><p data-progress></p>`,
    )}<details data-begin-again></details>`;
  const held = (sent: Sent) => (sent.path.endsWith("/possession") ? json(200, order({ next: "channel" })) : null);

  /** The statement that the key has signed, when the certificate that openssl makes for it names it by that identifier. */
  async function stated(proof: string | undefined, csr: Uint8Array, digest: string): Promise<string> {
    const tools = bench();
    tools.makeAuthority();
    tools.write("p.der", fromBase64Url(proof ?? ""));
    tools.write("r.der", csr);
    tools.openssl("req", "-inform", "DER", "-in", "r.der", "-out", "r.pem");
    tools.write("leaf.ext", `subjectKeyIdentifier=${digest}\n`);
    tools.openssl(
      "x509",
      "-req",
      "-in",
      "r.pem",
      "-CA",
      "ca.pem",
      "-CAkey",
      "ca.key",
      "-set_serial",
      "0x01",
      "-extfile",
      "leaf.ext",
      "-out",
      "c.pem",
    );
    tools.openssl(
      "cms",
      "-verify",
      "-binary",
      "-inform",
      "DER",
      "-in",
      "p.der",
      "-certfile",
      "c.pem",
      "-noverify",
      "-out",
      "s.der",
    );
    return hex(tools.read("s.der"));
  }

  const said = (digest: string) => {
    const text = (value: string) =>
      `0c${value.length.toString(16).padStart(2, "0")}${Buffer.from(value).toString("hex")}`;
    return [
      text("chopmark-possession-1"),
      text("https://portal.example"),
      text("o-1"),
      text(LOGIN),
      `0420${"07".repeat(32)}`,
      `0420${digest}`,
    ].join("");
  };

  test("in the vault proves itself without being asked, over the nonce and this login", async () => {
    const key = await browserKey();
    const { page, posts, went } = opened(
      html(),
      serving({ spki_sha256: key.spkiSha256, portal: "https://portal.example" }, held),
    );
    await (await page.vault()).keep(key);
    attachPossession(page, form("possession"));
    await until(() => expect(went).toEqual(["/orders/o-1"]));
    const [sent] = writes(posts());
    const csr = await makeCsr(key);
    expect(await stated((sent?.body as Record<string, string> | undefined)?.["proof"], csr, key.spkiSha256)).toContain(
      said(key.spkiSha256),
    );
  });

  test("of a file asks for its pass-phrase", async () => {
    const key = await fileKey();
    const { page, posts, went } = opened(html(), serving({ spki_sha256: key.spkiSha256 }, held));
    await (await page.vault()).keep(key);
    attachPossession(page, form("possession"));
    await until(() => expect(get('[data-possession="file"]').hasAttribute("hidden")).toBe(false));
    submit("possession");
    await until(() => expect(summary()).toContain("pass-phrase"));
    expect(writes(posts())).toEqual([]);
    type("#passphrase", PASSPHRASE);
    submit("possession");
    await until(() => expect(went).toEqual(["/orders/o-1"]));
  });

  test("that is not here says so, and opens the way to begin again", async () => {
    const { page, posts } = opened(html(), serving({ spki_sha256: "ab".repeat(32) }, held));
    attachPossession(page, form("possession"));
    await until(() => expect(get('[data-possession="missing"]').hasAttribute("hidden")).toBe(false));
    expect(get<HTMLDetailsElement>("details").open).toBe(true);
    expect(posts()).toEqual([]);
  });

  test("of a program is named by the words that are typed", async () => {
    const words = field("key_words", '<input id="key_words" name="key_words">');
    const { page, posts, went } = opened(html(words), serving({ spki_sha256: "ab".repeat(32) }, held));
    attachPossession(page, form("possession"));
    submit("possession");
    await until(() => expect(summary()).toContain("key words"));
    type("#key_words", "bcdf ghjk lmnp");
    submit("possession");
    await until(() => expect(went).toEqual(["/orders/o-1"]));
    expect(writes(posts()).map((each) => each.body)).toEqual([{ key_words: "bcdf ghjk lmnp" }]);
  });
});
