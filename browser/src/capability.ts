/** Can this browser do it? Asked before the first step, so that a customer reads a helpful page instead of an error. */
import { deleteDB, openDB } from "idb";
import { MAX_SKEW_MS } from "./clock.ts";
import { inTime, STORAGE_ANSWERS_MS } from "./patience.ts";
import type { Persistence } from "./vault.ts";

export type Obstacle = "no-secure-context" | "no-webcrypto" | "no-indexeddb";
export type Warning = "storage-not-persistent" | "clock-skew";

export interface Capability {
  /** Nothing can be done before these are gone. */
  readonly obstacles: readonly Obstacle[];
  readonly warnings: readonly Warning[];
  /** A certificate can live in this browser; without that, the way of the file is still open. */
  readonly keepsKeys: boolean;
  readonly storage: Persistence;
  /** This computer's clock minus the server's, in milliseconds. */
  readonly clockSkewMs: number;
}

export interface Surroundings {
  readonly secureContext: boolean;
  readonly subtle: SubtleCrypto | undefined;
  readonly indexedDB: IDBFactory | undefined;
  readonly storage: Pick<StorageManager, "persisted"> | undefined;
  /** Both in milliseconds since 1970, taken at the same moment. */
  readonly localNowMs: number;
  readonly serverNowMs: number;
}

/**
 * Asks nothing of the customer: whether storage is persistent is read, not requested. A storage that does not answer
 * within `answersMs` keeps nothing.
 */
export async function probe(around: Surroundings, answersMs = STORAGE_ANSWERS_MS): Promise<Capability> {
  const obstacles: Obstacle[] = [];
  if (!around.secureContext) obstacles.push("no-secure-context");
  const pair = await tryKey(around.subtle);
  if (pair === null) obstacles.push("no-webcrypto");
  const keepsData = await inTime(keeps(around.indexedDB, new Uint8Array(1), isData), answersMs, () => false);
  if (pair !== null && !keepsData) obstacles.push("no-indexeddb");
  // Some browsers keep data and no keys (the Lockdown Mode of Safari).
  const keepsKeys =
    pair !== null &&
    keepsData &&
    (await inTime(keeps(around.indexedDB, pair.privateKey, isLockedKey), answersMs, () => false));
  const storage = await persistence(around.storage);
  const clockSkewMs = around.localNowMs - around.serverNowMs;
  const warnings: Warning[] = [];
  if (storage !== "persistent") warnings.push("storage-not-persistent");
  if (Math.abs(clockSkewMs) > MAX_SKEW_MS) warnings.push("clock-skew");
  return { obstacles, warnings, keepsKeys, storage, clockSkewMs };
}

async function tryKey(subtle: SubtleCrypto | undefined): Promise<CryptoKeyPair | null> {
  if (subtle === undefined) return null;
  return subtle.generateKey({ name: "ECDSA", namedCurve: "P-256" }, false, ["sign", "verify"]).catch(() => null);
}

const isData = (back: unknown): boolean => back instanceof Uint8Array;

const isLockedKey = (back: unknown): boolean => back instanceof CryptoKey && !back.extractable;

/** A value goes in and comes out again: private windows of some browsers refuse just that. */
async function keeps(
  factory: IDBFactory | undefined,
  value: unknown,
  good: (back: unknown) => boolean,
): Promise<boolean> {
  if (factory === undefined) return false;
  const name = `chopmark-probe-${crypto.randomUUID()}`;
  try {
    const database = await openDB(name, 1, { upgrade: (fresh) => void fresh.createObjectStore("keys") });
    await database.put("keys", value, "key");
    const back: unknown = await database.get("keys", "key");
    database.close();
    // Not waited for: what was asked is answered, and a database that is being closed may take its time to go.
    void deleteDB(name).catch(() => undefined);
    return good(back);
  } catch (error) {
    if (error instanceof DOMException || error instanceof TypeError) return false;
    throw error;
  }
}

async function persistence(storage: Surroundings["storage"]): Promise<Persistence> {
  if (storage === undefined) return "unknown";
  return (await storage.persisted()) ? "persistent" : "best-effort";
}

/** What the page's own window is. */
export function surroundings(serverNowMs: number, localNowMs: number): Surroundings {
  const { storage } = navigator as { storage?: StorageManager };
  const { subtle } = crypto as { subtle?: SubtleCrypto };
  return { secureContext: isSecureContext, subtle, indexedDB: globalThis.indexedDB, storage, localNowMs, serverNowMs };
}
