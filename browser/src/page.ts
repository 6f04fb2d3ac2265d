/** What the code of a page may reach; the tests give another one. */
import type { Api } from "./api.ts";
import type { ServerClock } from "./clock.ts";
import type { Orders } from "./orders.ts";
import type { Vault } from "./vault.ts";

export interface Page {
  readonly api: Api;
  readonly orders: Orders;
  readonly clock: ServerClock;
  /** Opens the vault once; VaultError where the browser keeps nothing. */
  readonly vault: () => Promise<Vault>;
  /** Asks the browser not to clear this site by itself. */
  readonly persist: () => Promise<void>;
  readonly go: (address: string) => void;
  readonly reload: () => void;
  readonly save: (file: Blob, name: string) => void;
  /** Milliseconds. */
  readonly wait: (delayMs: number) => Promise<void>;
  /** Settled when the words of the page's language are there. */
  readonly ready: Promise<void>;
}

export const orderAddress = (id: string): string => `/orders/${encodeURIComponent(id)}`;
