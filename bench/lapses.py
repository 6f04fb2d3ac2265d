"""How many customers lapse under which rules of reminders: 10,000 made-up customers, a stepping clock, 400 days.

`python -m bench.lapses` prints the table of docs/reminders.md and writes its chart. When a message goes out is decided
by the product's own plan (`ra.reminders`); who reads it and what they do is assumed here, in `MOODS`. The same customer
makes the same choices under every rule, so the rules are compared and not the dice.
"""

import argparse
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime, time, timedelta
from hashlib import sha256
from pathlib import Path
from random import Random

from bench.chart import bars
from chopmark.app.trading_calendar import trading_calendar
from chopmark.core.types import Channel, CustomerId
from chopmark.ra.policy import TW_BROKER, renewal_opens
from chopmark.ra.reminders.plan import Ending, moment_of, place, windows
from chopmark.ra.reminders.policy import ReminderPolicy, Step
from chopmark.tw.trading_days import TradingCalendar, opens
from chopmark.tw.zone import TAIPEI, local_date

PEOPLE, DAYS, SEED = 10_000, 400, 20261128
FIRST = date(2026, 11, 1)
YEAR, DAY = timedelta(days=365), timedelta(days=1)
AHEAD = timedelta(days=7)
MAIL, PHONE = (Channel.EMAIL,), (Channel.MOBILE,)


@dataclass(frozen=True, slots=True)
class Mood:
    """How a customer takes reminders: the chance to read one by channel, and to act on one that was read.

    `acts` is the chance at the first reminder and at the last one; between them it rises with the urgency. `notices`
    is the chance a trading day to renew without any reminder, because a page of the counter said so.
    """

    name: str
    share: float
    reads: Mapping[Channel, float]
    acts: tuple[float, float]
    slowest: timedelta
    notices: float


MOODS = (
    Mood("prompt", 0.3, {Channel.EMAIL: 0.9, Channel.MOBILE: 0.97}, (0.6, 0.95), timedelta(days=1), 0.02),
    Mood("usual", 0.5, {Channel.EMAIL: 0.5, Channel.MOBILE: 0.85}, (0.25, 0.75), timedelta(days=2), 0.01),
    Mood("forgetful", 0.2, {Channel.EMAIL: 0.2, Channel.MOBILE: 0.6}, (0.08, 0.45), timedelta(days=3), 0.002),
)
REACHED: tuple[tuple[float, tuple[Channel, ...]], ...] = (
    (0.86, (Channel.EMAIL, Channel.MOBILE)),
    (0.07, (Channel.MOBILE,)),
    (0.04, (Channel.EMAIL,)),
    (0.03, ()),
)
"""Which contacts work. Who has none is on the list of the unreachable, not on that of the reminders."""
AWAY = 0.08
"""So many are away once in the time, 10 to 25 days in which they read but cannot renew."""
RULES: Mapping[str, ReminderPolicy | None] = {
    "no reminder": None,
    "opening and last day, mail": ReminderPolicy(days=(), early=MAIL, urgent=MAIL),
    "14 and 7 days, mail": ReminderPolicy(days=(14, 7), early=MAIL, urgent=MAIL),
    "as shipped, mail alone": ReminderPolicy(early=MAIL, urgent=MAIL),
    "as shipped": ReminderPolicy(),
    "as shipped, text messages alone": ReminderPolicy(early=PHONE, urgent=PHONE),
    "as shipped, with 5 and 2 days": ReminderPolicy(days=(14, 7, 5, 3, 2, 1)),
}


@dataclass(slots=True)
class Person:
    """One customer: what never changes, and where the certificate stands."""

    id: CustomerId
    mood: Mood
    channels: tuple[Channel, ...]
    away: tuple[date, date] | None
    not_after: datetime
    opening: datetime
    """When the present certificate can be renewed."""
    certificates: int = 1
    look_again: date = FIRST
    """Before this day the plan has nothing new."""
    told: set[Step] = field(default_factory=set)
    days: dict[date, list[Step]] = field(default_factory=dict)
    renews_at: datetime | None = None
    lapsed_at: datetime | None = None

    def chance(self, what: str) -> float:
        """Return a number from 0 to 1: this customer's choice, the same under every rule."""
        drawn = sha256(f"{self.id}|{self.certificates}|{what}".encode()).digest()
        return int.from_bytes(drawn[:6], "big") / 2**48

    def begin_again(self, not_after: datetime, today: date) -> None:
        """Give the customer a certificate with this end; nothing of the former one counts any more."""
        self.not_after, self.renews_at, self.lapsed_at, self.look_again = not_after, None, None, today
        self.opening = renewal_opens(TW_BROKER, not_after)
        self.certificates += 1
        self.told.clear()
        self.days.clear()


@dataclass(slots=True)
class Result:
    """What happened under one rule."""

    ended: Counter[str] = field(default_factory=Counter)
    lapsed: Counter[str] = field(default_factory=Counter)
    messages: Counter[date] = field(default_factory=Counter)
    unreachable: int = 0

    @property
    def share(self) -> float:
        """The share of ending certificates whose customers could not trade at the next opening."""
        return self.lapsed.total() / max(1, self.ended.total())


def people(count: int, seed: int) -> Iterator[Person]:
    """Yield the customers; a fifth of them opened their account in one week, after an offer."""
    for number in range(count):
        random = Random(f"{seed}|{number}")
        mood = random.choices(MOODS, [one.share for one in MOODS])[0]
        channels = random.choices([one for _, one in REACHED], [share for share, _ in REACHED])[0]
        begins = FIRST + DAY * random.randrange(DAYS)
        away = (begins, begins + DAY * random.randint(10, 25)) if random.random() < AWAY else None
        end = FIRST + DAY * (120 + random.randrange(7) if random.random() < 0.2 else 3 + random.randrange(365))
        moment = datetime.combine(end, time(random.randrange(24), random.randrange(60)), TAIPEI)
        yield Person(CustomerId(f"S{seed}-{number}"), mood, channels, away, moment, renewal_opens(TW_BROKER, moment))


def simulate(
    policy: ReminderPolicy | None, calendar: TradingCalendar, everybody: Sequence[Person], days: int
) -> Result:
    """Let the clock step through the days: plan at night, send, let customers act, and see who cannot trade."""
    result, loads = Result(), dict[date, Counter[int]]()
    for number in range(days):
        today = FIRST + DAY * number
        midnight = datetime.combine(today, time(), TAIPEI)
        for person in everybody:
            if midnight + AHEAD < person.opening and person.lapsed_at is None:
                continue
            if policy is not None and person.lapsed_at is None:
                _plan(policy, calendar, person, midnight, loads)
                _send(policy, person, today, result)
            _act(calendar, person, today, result)
    return result


def _plan(
    policy: ReminderPolicy,
    calendar: TradingCalendar,
    person: Person,
    now: datetime,
    loads: dict[date, Counter[int]],
) -> None:
    """Give each step of the coming days its day, as the product's planning does."""
    if not person.channels or local_date(now) < person.look_again:
        return
    person.look_again = date.max
    for window in windows(policy, calendar, Ending(person.not_after, person.opening), now):
        if window.step in person.told:
            continue
        if window.best > local_date(now + AHEAD):
            person.look_again = min(person.look_again, window.best - AHEAD)
            continue
        mine = {day: day >= local_date(now) for day in person.days}
        day = place(policy, window, loads, mine)
        if day is None:
            person.look_again = min(person.look_again, local_date(now + DAY))
            continue
        if day not in person.days:
            loads.setdefault(day, Counter())[window.step.urgency] += 1
        person.days.setdefault(day, []).append(window.step)
        person.told.add(window.step)


def _send(policy: ReminderPolicy, person: Person, today: date, result: Result) -> None:
    """Send what is due today: the customer may read it, and may decide to renew."""
    steps = person.days.get(today)
    due = moment_of(policy, person.id, today) if steps else None
    if steps is None or due is None:
        return
    step = max(steps, key=lambda one: one.urgency)
    channel = next((one for one in policy.channels(step) if one in person.channels), None)
    if channel is None:
        return
    result.messages[today] += 1
    read, decide, delay = (person.chance(f"{what}|{step.word}") for what in ("read", "decide", "delay"))
    first, last = person.mood.acts
    urgency = 0.0 if step.days is None else 1 - min(step.days, 14) / 14
    if read < person.mood.reads[channel] and decide < first + (last - first) * urgency:
        at = due + timedelta(minutes=20) + person.mood.slowest * delay
        person.renews_at = at if person.renews_at is None else min(at, person.renews_at)


def _act(calendar: TradingCalendar, person: Person, today: date, result: Result) -> None:
    """Let the customer renew today, notice by himself, lapse, or apply anew after a lapse."""
    tonight = datetime.combine(today, time(), TAIPEI) + DAY
    away = person.away is not None and person.away[0] <= today < person.away[1]
    trades = calendar.is_trading_day(today)
    if person.lapsed_at is not None:
        if trades and not away and person.chance(f"applies|{today}") < 0.3:
            person.begin_again(tonight + YEAR, today)
        return
    notices = trades and tonight > person.opening and person.chance(f"notices|{today}") < person.mood.notices
    decided = person.renews_at is not None and person.renews_at < tonight
    at = min(person.renews_at or tonight, tonight) if decided else tonight
    if (decided or notices) and not away and at <= person.not_after:
        result.ended[person.mood.name] += 1
        person.begin_again(tonight + YEAR, today)
    elif person.not_after < tonight:
        result.ended[person.mood.name] += 1
        result.lapsed[person.mood.name] += 1
        result.unreachable += not person.channels
        person.lapsed_at = opens(calendar.next_trading_day_after(local_date(person.not_after)))


def table(results: Mapping[str, Result]) -> str:
    """Return the figures as a table for the docs."""
    lines = [
        "| Rule | Certificates that ended | Lapsed | " + " | ".join(mood.name for mood in MOODS) + " | Messages "
        "a certificate | Most in a day |",
        "| --- | --: | --: | " + "--: | " * len(MOODS) + "--: | --: |",
    ]
    for name, result in results.items():
        moods = " | ".join(f"{100 * result.lapsed[m.name] / max(1, result.ended[m.name]):.1f} %" for m in MOODS)
        each = result.messages.total() / max(1, result.ended.total())
        most = max(result.messages.values(), default=0)
        lapsed = f"{result.lapsed.total():,} ({100 * result.share:.1f} %)"
        lines.append(f"| {name} | {result.ended.total():,} | {lapsed} | {moods} | {each:.1f} | {most:,} |")
    return "\n".join(lines) + "\n"


def run(count: int, days: int, seed: int) -> dict[str, Result]:
    """Simulate every rule over the same customers."""
    calendar = trading_calendar(None)
    return {name: simulate(policy, calendar, list(people(count, seed)), days) for name, policy in RULES.items()}


def main() -> None:
    """Simulate, write the chart and print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--people", type=int, default=PEOPLE)
    parser.add_argument("--days", type=int, default=DAYS)
    parser.add_argument("--seed", type=int, default=SEED)
    parser.add_argument("--out", type=Path, default=Path("docs/pictures/reminder-lapses.svg"))
    options = parser.parse_args()
    results = run(options.people, options.days, options.seed)
    shares = {name: 100 * result.share for name, result in results.items()}
    title = "Customers who lapse, percent of the certificates that ended"
    options.out.write_text(bars(title, shares, "%"), encoding="utf-8")
    print(table(results))


if __name__ == "__main__":
    main()
