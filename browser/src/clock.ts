/** The server's time in the page, whatever this computer's clock says. */

/** A difference that other programs do not forgive. */
export const MAX_SKEW_MS = 120_000;

export interface ServerClock {
  readonly now: () => Date;
  /** Milliseconds since the server answered with this page. */
  readonly sinceAnswerMs: () => number;
}

/** `serverMs`: the server's time when it answered; both others on the page's monotonic clock. */
export function serverClock(serverMs: number, answeredAt: number, monotonic: () => number): ServerClock {
  const sinceAnswerMs = (): number => Math.max(monotonic() - answeredAt, 0);
  return { now: () => new Date(serverMs + sinceAnswerMs()), sinceAnswerMs };
}

export function pageClock(): ServerClock {
  const [navigation] = performance.getEntriesByType("navigation");
  const answeredAt = navigation instanceof PerformanceNavigationTiming ? navigation.responseStart : 0;
  const content = document.querySelector<HTMLMetaElement>('meta[name="server-time"]')?.content ?? "";
  return serverClock(/^\d{10,16}$/.test(content) ? Number(content) : Date.now(), answeredAt, () => performance.now());
}
