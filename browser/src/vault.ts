/**
 * What this browser keeps: the key of each open order, and the keys of installed certificates.
 *
 * A pending key is on disk before its CSR is sent, so that a closed browser resumes. Every verb is one IndexedDB
 * transaction: of two tabs on the same order, the first one's key wins and the second one gets it.
 */
import { type DBSchema, type IDBPDatabase, openDB } from "idb";
import type { Certificate } from "./certificate.ts";
import { type Bytes, equal } from "./der.ts";
import type { KeyAlgorithm, KeyPair, WrappedKey } from "./keys.ts";
import { inTime, STORAGE_ANSWERS_MS } from "./patience.ts";

interface PendingFacts {
  readonly orderId: string;
  readonly algorithm: KeyAlgorithm;
  /** Lower-case hex. */
  readonly spkiSha256: string;
  /** DER. */
  readonly spki: Bytes;
  readonly createdAt: Date;
}

/** Non-extractable, both of them usable at once. */
export interface PendingBrowserKey extends PendingFacts {
  readonly home: "browser";
  readonly privateKey: CryptoKey;
  readonly publicKey: CryptoKey;
}

/** Opened with the customer's pass-phrase only. */
export interface PendingFileKey extends PendingFacts {
  readonly home: "file";
  readonly wrapped: WrappedKey;
}

export type PendingKey = PendingBrowserKey | PendingFileKey;

export interface InstalledKey {
  /** Lower-case hex. */
  readonly serial: string;
  readonly algorithm: KeyAlgorithm;
  readonly privateKey: CryptoKey;
  readonly publicKey: CryptoKey;
  readonly spkiSha256: string;
  /** DER, the leaf first. */
  readonly certificates: readonly Bytes[];
  readonly notAfter: Date;
  readonly installedAt: Date;
}

export type VaultFault =
  | "unavailable"
  | "no-answer"
  | "no-space"
  | "blocked"
  | "no-such-key"
  | "not-a-browser-key"
  | "key-mismatch";

export class VaultError extends Error {
  override readonly name = "VaultError";
  readonly code: VaultFault;
  constructor(code: VaultFault, options?: ErrorOptions) {
    super(code, options);
    this.code = code;
  }
}

interface Schema extends DBSchema {
  pending: { key: string; value: PendingKey };
  installed: { key: string; value: InstalledKey };
}

const NAME = "chopmark";
const VERSION = 1;
const DURABLE = { durability: "strict" } as const;

export class Vault {
  readonly #database: IDBPDatabase<Schema>;

  private constructor(database: IDBPDatabase<Schema>) {
    this.#database = database;
  }

  /**
   * VaultError "unavailable" where the browser keeps nothing, "no-answer" where it says nothing within `answersMs`,
   * "blocked" while an old tab holds an older version open.
   */
  static async open(name: string = NAME, answersMs = STORAGE_ANSWERS_MS): Promise<Vault> {
    let refuse: (error: VaultError) => void = () => undefined;
    const blocked = new Promise<never>((_, reject) => {
      refuse = reject;
    });
    const opening = openDB<Schema>(name, VERSION, {
      upgrade(database) {
        database.createObjectStore("pending", { keyPath: "orderId" });
        database.createObjectStore("installed", { keyPath: "serial" });
      },
      blocked: () => refuse(new VaultError("blocked")),
      blocking: (_current, _wanted, event) => {
        if (event.target instanceof IDBDatabase) event.target.close();
      },
    }).catch((cause: unknown) => {
      throw new VaultError("unavailable", { cause });
    });
    try {
      return new Vault(await inTime(Promise.race([opening, blocked]), answersMs, unanswered));
    } catch (error) {
      void opening.then((late) => late.close()).catch(() => undefined);
      throw error;
    }
  }

  close(): void {
    this.#database.close();
  }

  /** The key of the order that is on disk after the call: this one, or the one another tab had put there before. */
  async keep(pending: PendingKey): Promise<PendingKey> {
    return guarded(async () => {
      const transaction = this.#database.transaction("pending", "readwrite", DURABLE);
      const there = await transaction.store.get(pending.orderId);
      if (there === undefined) await transaction.store.put(pending);
      await transaction.done;
      return there ?? pending;
    });
  }

  /**
   * Another key in place of the one whose SPKI digest is `expected`; the customer wanted a new one. The answer is what
   * is on disk: when another tab was quicker, that tab's key.
   */
  async replace(pending: PendingKey, expected: string): Promise<PendingKey> {
    return guarded(async () => {
      const transaction = this.#database.transaction("pending", "readwrite", DURABLE);
      const there = await transaction.store.get(pending.orderId);
      const free = there === undefined || there.spkiSha256 === expected;
      if (free) await transaction.store.put(pending);
      await transaction.done;
      return free ? pending : there;
    });
  }

  async pending(orderId: string): Promise<PendingKey | null> {
    return guarded(async () => (await this.#database.get("pending", orderId)) ?? null);
  }

  async allPending(): Promise<readonly PendingKey[]> {
    return guarded(() => this.#database.getAll("pending"));
  }

  /** After the .p12 is saved and proven, or when the order ended. Nothing there is fine. */
  async forget(orderId: string): Promise<void> {
    await guarded(() => this.#database.delete("pending", orderId));
  }

  /**
   * The certificate lies beside its key, and the pending entry stays until `forget`: a proof that gets lost can be
   * made again. Doing it twice changes nothing. VaultError "no-such-key", "not-a-browser-key", "key-mismatch".
   */
  async install(orderId: string, chain: readonly [Certificate, ...Certificate[]], at: Date): Promise<InstalledKey> {
    const [leaf] = chain;
    return guarded(async () => {
      const transaction = this.#database.transaction(["pending", "installed"], "readwrite", DURABLE);
      const there = await transaction.objectStore("installed").get(leaf.serial);
      const installed = there ?? installedFrom(await transaction.objectStore("pending").get(orderId), chain, at);
      if (installed instanceof VaultError) {
        transaction.abort();
        await transaction.done.catch(() => undefined);
        throw installed;
      }
      if (there === undefined) await transaction.objectStore("installed").put(installed);
      await transaction.done;
      return installed;
    });
  }

  /**
   * As `install`, for a key that was made for a file: this one, which can never leave the browser, is kept. The pending
   * entry stays, so that the file can still be saved. VaultError "key-mismatch" where it is not the certificate's.
   */
  async adopt(
    chain: readonly [Certificate, ...Certificate[]],
    pair: KeyPair,
    spki: Bytes,
    spkiSha256: string,
    at: Date,
  ): Promise<InstalledKey> {
    const made = entry(chain, { ...pair, spki, spkiSha256 }, at);
    if (made instanceof VaultError) throw made;
    return guarded(async () => {
      const transaction = this.#database.transaction("installed", "readwrite", DURABLE);
      const there = await transaction.store.get(made.serial);
      if (there === undefined) await transaction.store.put(made);
      await transaction.done;
      return there ?? made;
    });
  }

  async installed(serial: string): Promise<InstalledKey | null> {
    return guarded(async () => (await this.#database.get("installed", serial)) ?? null);
  }

  async allInstalled(): Promise<readonly InstalledKey[]> {
    return guarded(() => this.#database.getAll("installed"));
  }

  /** Nothing there is fine. */
  async remove(serial: string): Promise<void> {
    await guarded(() => this.#database.delete("installed", serial));
  }
}

function installedFrom(
  pending: PendingKey | undefined,
  chain: readonly [Certificate, ...Certificate[]],
  at: Date,
): InstalledKey | VaultError {
  if (pending === undefined) return new VaultError("no-such-key");
  if (pending.home !== "browser") return new VaultError("not-a-browser-key");
  return entry(chain, pending, at);
}

type Kept = KeyPair & Pick<PendingFacts, "spki" | "spkiSha256">;

function entry(chain: readonly [Certificate, ...Certificate[]], key: Kept, at: Date): InstalledKey | VaultError {
  const [leaf] = chain;
  if (!equal(leaf.spki, key.spki)) return new VaultError("key-mismatch");
  if (key.privateKey.extractable) return new VaultError("not-a-browser-key");
  return {
    serial: leaf.serial,
    algorithm: key.algorithm,
    privateKey: key.privateKey,
    publicKey: key.publicKey,
    spkiSha256: key.spkiSha256,
    certificates: chain.map((one) => one.der),
    notAfter: leaf.notAfter,
    installedAt: at,
  };
}

function unanswered(): never {
  throw new VaultError("no-answer");
}

/** IndexedDB's failures in our words, and its silence; anything else passes. */
async function guarded<T>(work: () => Promise<T>): Promise<T> {
  try {
    return await inTime(work(), STORAGE_ANSWERS_MS, unanswered);
  } catch (cause) {
    if (!(cause instanceof DOMException)) throw cause;
    throw new VaultError(cause.name === "QuotaExceededError" ? "no-space" : "unavailable", { cause });
  }
}

export type Persistence = "persistent" | "best-effort" | "unknown";

type Storage = Pick<StorageManager, "persist" | "persisted">;

/** Asks the browser not to clear this site by itself; "best-effort" is its no, "unknown" when it cannot be asked. */
export async function persist(storage: Storage | undefined): Promise<Persistence> {
  if (storage === undefined) return "unknown";
  return (await storage.persisted()) || (await storage.persist()) ? "persistent" : "best-effort";
}
