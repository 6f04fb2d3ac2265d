import "fake-indexeddb/auto";
import { describe, expect, onTestFinished, test, vi } from "vitest";
import { probe, type Surroundings } from "../src/capability.ts";
import { readCertificate } from "../src/certificate.ts";
import { makeCsr } from "../src/csr.ts";
import { generate, spkiOf, spkiSha256, unwrap, wrap } from "../src/keys.ts";
import { type PendingBrowserKey, type PendingFileKey, persist, Vault } from "../src/vault.ts";
import { bench } from "./support/tools.ts";

const AT = new Date("2026-01-02T03:04:05Z");
let databases = 0;

async function opened(name = `vault-${++databases}`): Promise<Vault> {
  const vault = await Vault.open(name);
  onTestFinished(() => vault.close());
  return vault;
}

async function browserKey(orderId: string): Promise<PendingBrowserKey> {
  const pair = await generate("browser", "P-256");
  const digest = await spkiSha256(pair.publicKey);
  return { home: "browser", orderId, ...pair, spkiSha256: digest, spki: await spkiOf(pair.publicKey), createdAt: AT };
}

async function fileKey(orderId: string): Promise<PendingFileKey> {
  const { algorithm, privateKey, publicKey } = await generate("file", "P-256");
  const wrapped = await wrap(privateKey, "ac3d-efhj");
  const digest = await spkiSha256(publicKey);
  return {
    home: "file",
    orderId,
    algorithm,
    wrapped,
    spkiSha256: digest,
    spki: await spkiOf(publicKey),
    createdAt: AT,
  };
}

async function chain(key: PendingBrowserKey) {
  const tools = bench();
  tools.makeAuthority();
  const leaf = tools.certify("leaf", await makeCsr(key), "0x0abc");
  return [readCertificate(leaf), readCertificate(tools.der("ca.pem"))] as const;
}

describe("the vault", () => {
  test("gives a pending browser key back after it was closed, still non-extractable and able to sign", async () => {
    const name = `vault-${++databases}`;
    const key = await browserKey("order-1");
    const before = await Vault.open(name);
    await before.keep(key);
    before.close();
    const found = await (await opened(name)).pending("order-1");
    if (found?.home !== "browser") throw new Error("no browser key");
    expect(found.privateKey.extractable).toBe(false);
    const message = Uint8Array.of(1, 2, 3);
    const signature = await crypto.subtle.sign({ name: "ECDSA", hash: "SHA-256" }, found.privateKey, message);
    expect(await crypto.subtle.verify({ name: "ECDSA", hash: "SHA-256" }, key.publicKey, signature, message)).toBe(
      true,
    );
  });

  test("holds of a file key only what its pass-phrase opens", async () => {
    const vault = await opened();
    const key = await fileKey("order-1");
    await vault.keep(key);
    const found = await vault.pending("order-1");
    if (found?.home !== "file") throw new Error("no file key");
    expect(Object.values(found).some((value) => value instanceof CryptoKey)).toBe(false);
    expect(await spkiSha256((await unwrap(found.wrapped, "ac3d-efhj")).publicKey)).toBe(key.spkiSha256);
  });

  test("takes no key beside a certificate that can leave the browser, or that is not its own", async () => {
    const vault = await opened();
    const key = await browserKey("o");
    const certificates = await chain(key);
    const open = await generate("file", "P-256");
    const adopted = (pair: typeof open, of: { spki: Uint8Array<ArrayBuffer>; spkiSha256: string }) =>
      vault.adopt(certificates, pair, of.spki, of.spkiSha256, AT);
    await expect(adopted(open, key)).rejects.toMatchObject({ code: "not-a-browser-key" });
    await expect(adopted(key, await browserKey("p"))).rejects.toMatchObject({ code: "key-mismatch" });
    expect(await vault.allInstalled()).toHaveLength(0);
    expect((await adopted(key, key)).serial).toBe("0abc");
    expect((await adopted(key, key)).installedAt).toEqual(AT);
    expect(await vault.allInstalled()).toHaveLength(1);
  });

  test("of two tabs that make a key for the same order, both end with the first one's", async () => {
    const name = `vault-${++databases}`;
    const [one, other] = [await opened(name), await opened(name)];
    const keys = [await browserKey("order-1"), await browserKey("order-1")] as const;
    const kept = await Promise.all([one.keep(keys[0]), other.keep(keys[1])]);
    expect(kept.map((key) => key.spkiSha256)).toEqual([keys[0].spkiSha256, keys[0].spkiSha256]);
    expect((await one.pending("order-1"))?.spkiSha256).toBe(keys[0].spkiSha256);
  });

  test("replaces a key only when it is the one that was meant", async () => {
    const vault = await opened();
    const [first, second, third] = [await browserKey("o"), await browserKey("o"), await browserKey("o")];
    await vault.keep(first);
    expect((await vault.replace(second, first.spkiSha256)).spkiSha256).toBe(second.spkiSha256);
    expect((await vault.replace(third, first.spkiSha256)).spkiSha256).toBe(second.spkiSha256);
    expect(await vault.allPending()).toHaveLength(1);
  });

  test("installs a certificate beside its key, twice with the same result, until it is removed", async () => {
    const vault = await opened();
    const key = await browserKey("order-1");
    await vault.keep(key);
    const certificates = await chain(key);
    const installed = await vault.install("order-1", certificates, AT);
    await vault.install("order-1", certificates, new Date(0));
    expect(installed.serial).toBe("0abc");
    expect(await vault.pending("order-1")).not.toBeNull();
    await vault.forget("order-1");
    expect(await vault.pending("order-1")).toBeNull();
    const [only, ...rest] = await vault.allInstalled();
    expect(rest).toEqual([]);
    expect(only?.installedAt).toEqual(AT);
    expect(only?.certificates).toEqual(certificates.map((one) => one.der));
    await vault.remove("0abc");
    expect(await vault.installed("0abc")).toBeNull();
  });

  test("refuses the certificate of another key, of a file key and of no key, and leaves nothing behind", async () => {
    const vault = await opened();
    const [key, other] = [await browserKey("order-1"), await browserKey("order-2")];
    await vault.keep(other);
    await vault.keep(await fileKey("order-3"));
    const certificates = await chain(key);
    await expect(vault.install("order-1", certificates, AT)).rejects.toMatchObject({ code: "no-such-key" });
    await expect(vault.install("order-2", certificates, AT)).rejects.toMatchObject({ code: "key-mismatch" });
    await expect(vault.install("order-3", certificates, AT)).rejects.toMatchObject({ code: "not-a-browser-key" });
    expect(await vault.allInstalled()).toEqual([]);
    expect(await vault.allPending()).toHaveLength(2);
  });

  test("reports the browser's answer about persistence", async () => {
    const storage = (persisted: boolean, granted: boolean) => ({
      persisted: () => Promise.resolve(persisted),
      persist: () => Promise.resolve(granted),
    });
    expect(await persist(undefined)).toBe("unknown");
    expect(await persist(storage(true, false))).toBe("persistent");
    expect(await persist(storage(false, true))).toBe("persistent");
    expect(await persist(storage(false, false))).toBe("best-effort");
  });
});

/** As Safari's Lockdown Mode: a CryptoKey cannot be cloned into the store. */
function refuseKeys(database: IDBDatabase): void {
  const begin = database.transaction.bind(database);
  database.transaction = (...parameters) => {
    const transaction = begin(...parameters);
    const store = transaction.objectStore.bind(transaction);
    transaction.objectStore = (name) => {
      const opened = store(name);
      const put = opened.put.bind(opened);
      opened.put = (value: unknown, key?: IDBValidKey) => {
        if (value instanceof CryptoKey) throw new DOMException("a key cannot be cloned", "DataCloneError");
        return put(value, key);
      };
      return opened;
    };
    return transaction;
  };
}

/** A request without an answer: neither success nor error ever comes. */
const silentRequest = (): IDBOpenDBRequest =>
  Object.create(IDBOpenDBRequest.prototype, { addEventListener: { value: () => undefined } }) as IDBOpenDBRequest;

describe("the capability check", () => {
  const good: Surroundings = {
    secureContext: true,
    subtle: crypto.subtle,
    indexedDB,
    storage: { persisted: () => Promise.resolve(true) },
    localNowMs: 1_000_000,
    serverNowMs: 1_000_000,
  };

  test("finds nothing to say about a good browser, and leaves no database behind", async () => {
    expect(await probe(good)).toEqual({
      obstacles: [],
      warnings: [],
      keepsKeys: true,
      storage: "persistent",
      clockSkewMs: 0,
    });
    await vi.waitFor(async () => {
      expect((await indexedDB.databases()).filter(({ name }) => name?.startsWith("chopmark-probe"))).toEqual([]);
    });
  });

  test.each([
    [
      "no WebCrypto, as in an insecure page",
      { secureContext: false, subtle: undefined },
      ["no-secure-context", "no-webcrypto"],
    ],
    ["no IndexedDB", { indexedDB: undefined }, ["no-indexeddb"]],
  ])("%s", async (_what, change, obstacles) => {
    expect((await probe({ ...good, ...change })).obstacles).toEqual(obstacles);
  });

  test.each([
    [120_000, []],
    [120_001, ["clock-skew"]],
    [-120_001, ["clock-skew"]],
  ])("a clock that is %d ms off", async (skew, warnings) => {
    const found = await probe({ ...good, localNowMs: good.serverNowMs + skew });
    expect(found.warnings).toEqual(warnings);
    expect(found.clockSkewMs).toBe(skew);
  });

  test("a browser that keeps data and no keys still has the way of the file", async () => {
    const strict = new Proxy(indexedDB, {
      get: (factory, name) =>
        name !== "open"
          ? Reflect.get(factory, name, factory)
          : (...parameters: [string, number]) => {
              const request = factory.open(...parameters);
              request.addEventListener("success", () => refuseKeys(request.result));
              return request;
            },
    });
    vi.stubGlobal("indexedDB", strict);
    expect(await probe({ ...good, indexedDB: strict })).toMatchObject({ obstacles: [], keepsKeys: false });
    vi.unstubAllGlobals();
  });

  test("a storage that never answers keeps nothing, and nobody waits for it", async () => {
    const silent = { open: () => silentRequest() } as unknown as IDBFactory;
    vi.stubGlobal("indexedDB", silent);
    const found = await probe({ ...good, indexedDB: silent }, 1);
    const refused = await Vault.open("silent", 1).catch((error: unknown) => error);
    vi.unstubAllGlobals();
    expect(found).toMatchObject({ obstacles: ["no-indexeddb"], keepsKeys: false });
    expect(refused).toMatchObject({ name: "VaultError", code: "no-answer" });
  });

  test("storage that may be cleared is a warning", async () => {
    const found = await probe({ ...good, storage: { persisted: () => Promise.resolve(false) } });
    expect(found).toMatchObject({ storage: "best-effort", warnings: ["storage-not-persistent"], obstacles: [] });
  });
});
