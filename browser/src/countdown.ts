/**
 * Counts down the seconds that the server says remain. The end is a moment on the page's monotonic clock, and each
 * tick is computed from it: a tab that slept or was throttled shows the right number as soon as it runs again.
 */

export interface Timing {
  /** Milliseconds, monotonic. */
  readonly now: () => number;
  readonly after: (delayMs: number, then: () => void) => number;
  readonly cancel: (timer: number) => void;
  /** Calls back when the tab is seen again; the answer stops that. */
  readonly onSeen: (then: () => void) => () => void;
}

export interface CountdownParts {
  readonly remainingSeconds: number;
  /** Called at once, then when the number changes; 0 is the last. */
  readonly onSecond: (secondsLeft: number) => void;
  /** An element with aria-live="polite"; its text changes only at 60, 30 and 10 seconds and at the end. */
  readonly live: Pick<HTMLElement, "textContent"> | null;
  /** The sentence to announce, in the page's language. */
  readonly announce: (secondsLeft: number) => string;
  readonly timing?: Timing;
}

export interface Countdown {
  /** Nothing is called any more. */
  readonly stop: () => void;
  /** A new figure from the server. */
  readonly reset: (remainingSeconds: number) => void;
}

const ANNOUNCED = [0, 10, 30, 60] as const;

const pageTiming: Timing = {
  now: () => performance.now(),
  after: (delayMs, then) => Number(setTimeout(then, delayMs)),
  cancel: (timer) => clearTimeout(timer),
  onSeen: (then) => {
    document.addEventListener("visibilitychange", then);
    return () => document.removeEventListener("visibilitychange", then);
  },
};

export function startCountdown(parts: CountdownParts): Countdown {
  const timing = parts.timing ?? pageTiming;
  let end = timing.now() + parts.remainingSeconds * 1000;
  let shown: number | null = null;
  let timer: number | null = null;
  let stopped = false;

  const tick = (): void => {
    if (stopped) return;
    if (timer !== null) timing.cancel(timer);
    timer = null;
    const leftMs = Math.max(end - timing.now(), 0);
    const left = Math.ceil(leftMs / 1000);
    if (left !== shown) show(left);
    if (left > 0) timer = timing.after(leftMs - (left - 1) * 1000, tick);
  };
  const show = (left: number): void => {
    const threshold = ANNOUNCED.find((seconds) => left <= seconds);
    const crossed = threshold !== undefined && (left === threshold || (shown !== null && shown > threshold));
    shown = left;
    if (crossed && parts.live !== null) parts.live.textContent = parts.announce(left);
    parts.onSecond(left);
  };
  const unsee = timing.onSeen(tick);
  tick();
  return {
    stop: () => {
      unsee();
      if (timer !== null) timing.cancel(timer);
      stopped = true;
    },
    reset: (remainingSeconds) => {
      end = timing.now() + remainingSeconds * 1000;
      shown = null;
      tick();
    },
  };
}
