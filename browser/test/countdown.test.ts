import { describe, expect, test } from "vitest";
import { startCountdown, type Timing } from "../src/countdown.ts";

/** A tab whose time is moved by the test; a throttled one runs its timers late. */
class Tab implements Timing {
  #now = 0;
  #timer: { id: number; at: number; then: () => void } | null = null;
  #seen: (() => void) | null = null;
  #id = 0;

  now = (): number => this.#now;
  after = (delayMs: number, then: () => void): number => {
    this.#timer = { id: ++this.#id, at: this.#now + delayMs, then };
    return this.#id;
  };
  cancel = (timer: number): void => {
    if (this.#timer?.id === timer) this.#timer = null;
  };
  onSeen = (then: () => void): (() => void) => {
    this.#seen = then;
    return () => {
      this.#seen = null;
    };
  };

  /** Time passes and each timer runs when it is due. */
  pass(ms: number): void {
    const end = this.#now + ms;
    while (this.#timer !== null && this.#timer.at <= end) this.#fire(Math.max(this.#timer.at, this.#now));
    this.#now = end;
  }

  /** Time passes with no timer run, then the tab is seen again. */
  sleep(ms: number): void {
    this.#now += ms;
    this.#seen?.();
  }

  get waiting(): boolean {
    return this.#timer !== null;
  }

  #fire(at: number): void {
    const timer = this.#timer;
    this.#timer = null;
    this.#now = at;
    timer?.then();
  }
}

function started(remainingSeconds: number) {
  const tab = new Tab();
  const seconds: number[] = [];
  const said: string[] = [];
  const live = {
    set textContent(text: string) {
      said.push(text);
    },
  };
  const announce = (left: number): string => `${left} left`;
  const countdown = startCountdown({
    remainingSeconds,
    live,
    announce,
    onSecond: (left) => seconds.push(left),
    timing: tab,
  });
  return { tab, seconds, said, countdown };
}

describe("the countdown", () => {
  test("shows each second once, from the first to zero, and then is quiet", () => {
    const { tab, seconds } = started(3);
    tab.pass(10_000);
    expect(seconds).toEqual([3, 2, 1, 0]);
    expect(tab.waiting).toBe(false);
  });

  test("announces only at 60, 30 and 10 seconds and at the end", () => {
    const { tab, said, seconds } = started(300);
    tab.pass(300_000);
    expect(said).toEqual(["60 left", "30 left", "10 left", "0 left"]);
    expect(seconds).toHaveLength(301);
  });

  test("shows the right number when a sleeping tab is seen again, and announces once", () => {
    const { tab, said, seconds } = started(300);
    tab.sleep(275_400);
    expect(seconds).toEqual([300, 25]);
    expect(said).toEqual(["25 left"]);
    tab.sleep(60_000);
    expect(seconds.at(-1)).toBe(0);
    expect(said.at(-1)).toBe("0 left");
  });

  test("takes a new figure from the server, and stops for good", () => {
    const { tab, seconds, countdown } = started(5);
    tab.pass(1_000);
    countdown.reset(100);
    tab.pass(1_000);
    expect(seconds).toEqual([5, 4, 100, 99]);
    countdown.stop();
    tab.pass(200_000);
    tab.sleep(1);
    expect(seconds).toHaveLength(4);
  });

  test("of no time left ends at once", () => {
    const { seconds, said } = started(0);
    expect(seconds).toEqual([0]);
    expect(said).toEqual(["0 left"]);
  });
});
