"""The plan of reminders: on which days a step of a certificate may be sent, which day is chosen, and the time on it.

Pure functions. Days are days in Taiwan, moments are aware.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from hashlib import sha256
from typing import TypeAlias

from chopmark.core.types import CustomerId
from chopmark.ra.reminders.policy import LAST, OPENING, ReminderPolicy, Step
from chopmark.tw.trading_days import TradingCalendar
from chopmark.tw.zone import TAIPEI, local_date

DAY = timedelta(days=1)
NEAR = timedelta(days=2)
"""Steps of one customer's certificates that are at most so far apart are sent in one message."""
_SHARES = 1 << 32

Loads: TypeAlias = Mapping[date, Mapping[int, int]]
"""How many reminders are planned for a day, by their urgency."""


@dataclass(frozen=True, slots=True)
class Ending:
    """When a certificate ends, and from when it can be renewed."""

    not_after: datetime
    opens: datetime


@dataclass(frozen=True, slots=True)
class Window:
    """The days on which a step may be sent, and the best one. `natural` is the first day if nothing is late.

    After `until` the message makes no sense any more: the next step comes, or the certificate ends.
    """

    step: Step
    first: date
    best: date
    last: date
    natural: date
    until: datetime


def targets(policy: ReminderPolicy, calendar: TradingCalendar, ending: Ending) -> tuple[tuple[Step, date], ...]:
    """Return each step with its day: at the opening of the renewal window, and counted back from the last trading day.

    Steps that would come before the renewal window opens are left out, so the first step is the opening.
    """
    last, opening = calendar.last_trading_day_within(ending.not_after), local_date(ending.opens)
    days = [(step, last - timedelta(days=step.days)) for step in policy.steps if step.days is not None]
    counted = [(step, day) for step, day in days if day > opening]
    return ((OPENING, opening), *counted)


def windows(policy: ReminderPolicy, calendar: TradingCalendar, ending: Ending, now: datetime) -> tuple[Window, ...]:
    """Return the windows of all steps that can still be sent, the first step first.

    A step may be sent after its own day, until the day before that of the next step, and before its own day, but after
    that of the step before. Nothing is sent before the renewal window opens, or so late that the customer could not
    renew any more (`policy.left`).
    """
    steps = targets(policy, calendar, ending)
    found = (_window_at(index, steps, policy, ending, now) for index in range(len(steps)))
    return tuple(window for window in found if window is not None)


def window_of(
    step: Step, policy: ReminderPolicy, calendar: TradingCalendar, ending: Ending, now: datetime
) -> Window | None:
    """Return the window of one step, or None if it cannot be sent any more; the others are not computed."""
    steps = targets(policy, calendar, ending)
    for index, (target, _) in enumerate(steps):
        if target == step:
            return _window_at(index, steps, policy, ending, now)
    return None


def _window_at(
    index: int, steps: Sequence[tuple[Step, date]], policy: ReminderPolicy, ending: Ending, now: datetime
) -> Window | None:
    (step, day), latest = steps[index], ending.not_after - policy.left
    natural = day if index == 0 else min(day, steps[index - 1][1] + DAY)
    end = steps[index + 1][1] - DAY if index + 1 < len(steps) else local_date(latest)
    until = min(latest, closing(policy, end))
    if step is not OPENING and day >= local_date(now):
        end = day
    first, end = _usable(policy, natural, end, until, now)
    return Window(step, first, min(max(day, first), end), end, natural, until) if first <= end else None


def _usable(policy: ReminderPolicy, first: date, end: date, until: datetime, now: datetime) -> tuple[date, date]:
    """Return the days from `first` to `end` without those that have no sending hours left."""
    first = max(first, local_date(now))
    if first == local_date(now) and not _spans(policy, first, now, until):
        first += DAY
    while first <= end and not _spans(policy, end, now, until):
        end -= DAY
    return first, end


def place(policy: ReminderPolicy, window: Window, loads: Loads, mine: Mapping[date, bool]) -> date | None:
    """Return the day on which to send the step, or None if there is no day for it now.

    `mine` are the days on which the customer has a message already; True: it is not sent yet. If such a day is near,
    the step goes into the same message. Otherwise the first day that is not full is taken, in the order of `_in_order`.
    If all are full, an urgent step takes the day with the fewest messages; others wait for the plan of another night.
    """
    days = _in_order(window)
    shared = [day for day in days if mine.get(day) and abs(window.best - day) <= NEAR]
    if shared:
        return shared[0]
    free = [day for day in days if day not in mine]
    taken = {day: _load(loads, day, window.step) for day in free}
    open_days = [day for day in free if taken[day] < policy.capacity]
    if open_days:
        return open_days[0]
    return min(free, key=lambda day: taken[day]) if free and policy.is_urgent(window.step) else None


def _in_order(window: Window) -> list[date]:
    """Return the window's days: the best one first, then those before it from late to early, then those after it."""
    before = [window.best - DAY * n for n in range((window.best - window.first).days + 1)]
    after = [window.best + DAY * n for n in range(1, (window.last - window.best).days + 1)]
    return before + after


def _load(loads: Loads, day: date, step: Step) -> int:
    """Count the reminders of a day that are at least as urgent as the step. Less urgent ones can be moved."""
    return sum(count for urgency, count in loads.get(day, {}).items() if urgency >= step.urgency)


def moment_of(
    policy: ReminderPolicy,
    customer: CustomerId,
    day: date,
    after: datetime | None = None,
    until: datetime | None = None,
) -> datetime | None:
    """Return at which time of the day a customer's message is due, or None if no sending hours are left on that day.

    A hash of customer and day spreads the messages evenly over the hours. Every process computes the same time.
    """
    spans = _spans(policy, day, after, until)
    total = sum(int((end - begin).total_seconds()) for begin, end in spans)
    share = int.from_bytes(sha256(f"{customer}|{day.isoformat()}".encode()).digest()[:4], "big")
    offset = timedelta(seconds=total * share // _SHARES)
    for begin, end in spans:
        if offset < end - begin:
            return begin + offset
        offset -= end - begin
    return None


def may_send_at(policy: ReminderPolicy, now: datetime) -> bool:
    """Tell whether now is within the sending hours."""
    return any(begin <= now < end for begin, end in _spans(policy, local_date(now)))


def closing(policy: ReminderPolicy, day: date) -> datetime:
    """Return when the sending hours of a day end."""
    return datetime.combine(day, policy.hours[-1].end, TAIPEI)


def _spans(
    policy: ReminderPolicy, day: date, after: datetime | None = None, until: datetime | None = None
) -> list[tuple[datetime, datetime]]:
    """Return the sending hours of a day that lie between `after` and `until`."""
    spans = []
    for hours in policy.hours:
        begin, end = datetime.combine(day, hours.begin, TAIPEI), datetime.combine(day, hours.end, TAIPEI)
        begin = begin if after is None else max(begin, after)
        end = end if until is None else min(end, until)
        if begin < end:
            spans.append((begin, end))
    return spans


def surplus(policy: ReminderPolicy, loads: Mapping[int, int], step: Step) -> int:
    """Return how many of a day's reminders have to be moved because the day is over its capacity.

    Only reminders that are less urgent than the step are moved, and never urgent ones.
    """
    yielding = sum(
        count for urgency, count in loads.items() if urgency < min(step.urgency, Step(policy.urgent_days).urgency)
    )
    return min(yielding, max(0, sum(loads.values()) - policy.capacity))


def timeline(
    policy: ReminderPolicy,
    calendar: TradingCalendar,
    ending: Ending,
    customer: CustomerId,
    now: datetime,
) -> Sequence[tuple[Step, datetime]]:
    """Return which steps of a certificate will be sent and when, if no day is too full. The portal shows this."""
    found = []
    for window in windows(policy, calendar, ending, now):
        due = moment_of(policy, customer, window.best, now, window.until)
        if due is not None:
            found.append((window.step, due))
    return found


def most_urgent(steps: Collection[Step]) -> Step:
    """Return the most urgent of the steps in one message."""
    return max(steps, key=lambda step: step.urgency, default=LAST)
