"""Plan the reminders of all living certificates: every night, and every hour for the urgent steps.

Certificates are read in batches, so that memory does not grow with their number. Planning may be interrupted anywhere
and starts again: what is planned stays, and each step of a certificate is planned once.
"""

from base64 import b32encode
from collections.abc import Sequence
from datetime import date, datetime, timedelta
from hashlib import sha256
from typing import Final

from chopmark.core.clock import Clock
from chopmark.core.types import CustomerId
from chopmark.ra.reminders.plan import DAY, Ending, Window, moment_of, place, surplus, window_of
from chopmark.ra.reminders.policy import Step
from chopmark.ra.reminders.ports import Known, LivingCertificate, Placed, ReminderPlans, ReminderRules, ReminderState
from chopmark.tw.zone import TAIPEI, local_date, local_midnight

BATCH: Final = 200
AHEAD: Final = timedelta(days=7)
"""How far ahead steps are planned. Only the first two steps could be moved further than this, if days are full."""
AHEAD_HOURLY: Final = timedelta(days=1)
_CLOSED: Final = timedelta(days=13)
"""The longest time for which the exchange is closed, so the longest from the last trading day to the end."""


def reminder_id(customer: CustomerId, day: date) -> str:
    """Return the id of a customer's reminder on a day. Every process computes the same id, also after a restore."""
    return (
        "R" + b32encode(sha256(f"reminder|{customer}|{day.isoformat()}".encode()).digest()[:16]).rstrip(b"=").decode()
    )


class ReminderPlanning:
    """Plans reminders."""

    def __init__(self, plans: ReminderPlans, rules: ReminderRules, clock: Clock, holder: str) -> None:
        self._plans = plans
        self._policy = rules.policy
        self._rules = rules
        self._clock = clock
        self._holder = holder

    async def once(self) -> int:
        """Plan, unless this hour's plan is finished or another process plans. Return 0: nothing is left to do."""
        now = self._clock.now()
        hour = now.astimezone(TAIPEI).strftime("%Y-%m-%dT%H")
        done = await self._plans.done()
        if done == hour or not await self._plans.begin(self._holder, now):
            return 0
        nightly = done is None or done[:10] != hour[:10]
        if await self._plan(now, nightly=nightly):
            await self._plans.mark(hour)
        return 0

    async def _plan(self, now: datetime, *, nightly: bool) -> bool:
        """Plan all steps (nightly) or only the urgent ones. Return False if the lease was lost."""
        today, restored = local_date(now), await self._plans.restored()
        loads = await self._plans.loads(today)
        horizon = today + (AHEAD if nightly else AHEAD_HOURLY)
        for step in reversed(self._policy.steps):
            if not nightly and not self._policy.is_urgent(step):
                break
            if not await self._step(step, now, horizon, restored, loads):
                return False
            if not await self._relieve(step, loads):
                return False
        return True

    async def _step(
        self, step: Step, now: datetime, horizon: date, restored: date | None, loads: dict[date, dict[int, int]]
    ) -> bool:
        """Plan one step of all certificates, batch by batch."""
        ends, after = self._ends(step, now, horizon), None
        while True:
            batch = await self._plans.untold(step, ends, after, BATCH)
            if not batch:
                return True
            after = batch[-1]
            known = await self._plans.known([one.customer for one in batch], local_date(now), now)
            placed = self._placed(step, batch, known, now, horizon, restored, loads)
            if placed and not await self._plans.place(placed, self._holder, self._clock.now()):
                return False
            if len(batch) < BATCH:
                return True

    def _ends(self, step: Step, now: datetime, horizon: date) -> tuple[datetime, datetime]:
        """Return the span in which a certificate ends if this step of it is due by the horizon. It may be too wide."""
        if step.days is None:
            return now, local_midnight(horizon + DAY) + self._longest_window(now)
        return now, local_midnight(horizon + DAY + timedelta(days=step.days) + _CLOSED)

    def _longest_window(self, now: datetime) -> timedelta:
        """Return the longest renewal window, with a week to spare, because months differ by three days."""
        return now - self._rules.opens(now) + timedelta(days=7)

    def _placed(
        self,
        step: Step,
        batch: Sequence[LivingCertificate],
        known: Known,
        now: datetime,
        horizon: date,
        restored: date | None,
        loads: dict[date, dict[int, int]],
    ) -> list[Placed]:
        """Return on which day the step of each certificate is sent; `loads` is updated."""
        days = {customer: dict(booked) for customer, booked in known.days.items()}
        found = []
        for one in batch:
            window = self._window(step, one, known, now)
            if window is None or window.best > horizon:
                continue
            if restored is not None and window.natural <= restored:
                found.append(self._lost(one, window, restored))
                continue
            mine = days.setdefault(one.customer, {})
            day = place(self._policy, window, loads, mine)
            due = None if day is None else moment_of(self._policy, one.customer, day, now, window.until)
            if day is None or due is None:
                continue
            if not mine.get(day):
                count = loads.setdefault(day, {})
                count[step.urgency] = count.get(step.urgency, 0) + 1
            mine[day] = True
            found.append(self._one(one, window, day, due))
        return found

    def _window(self, step: Step, one: LivingCertificate, known: Known, now: datetime) -> Window | None:
        """Return the step's window, or None if it cannot be sent any more.

        That is so if the window has passed, a more urgent step comes before it, or the certificate is no longer living.
        """
        if all(one.id != other.id for other in known.living.get(one.customer, ())):
            return None
        later = [told.day for told in known.told if told.certificate == one.id and told.step.urgency > step.urgency]
        ending = Ending(one.not_after, self._rules.opens(one.not_after))
        window = window_of(step, self._policy, self._rules.calendar, ending, now)
        if window is None:
            return None
        last = min([window.last, *later])
        if last < window.first:
            return None
        return Window(step, window.first, min(window.best, last), last, window.natural, window.until)

    def _one(self, one: LivingCertificate, window: Window, day: date, due: datetime) -> Placed:
        identity = reminder_id(one.customer, day)
        return Placed(identity, one.customer, one.id, window.step, day, window.natural, due, window.until)

    def _lost(self, one: LivingCertificate, window: Window, restored: date) -> Placed:
        """Return a step that may have been sent before the restore. It is stored as UNKNOWN and not sent."""
        identity, due = reminder_id(one.customer, restored), local_midnight(restored)
        step, unknown = window.step, ReminderState.UNKNOWN
        return Placed(identity, one.customer, one.id, step, restored, window.natural, due, due, unknown)

    async def _relieve(self, step: Step, loads: dict[date, dict[int, int]]) -> bool:
        """Delete less urgent reminders from days that have become too full; their steps are planned again afterwards.

        Return False if the lease was lost.
        """
        for day in sorted(loads):
            while True:
                over = surplus(self._policy, {u: n for u, n in loads[day].items() if n > 0}, step)
                if not over:
                    break
                gone = await self._plans.release(day, step, min(over, BATCH), self._holder, self._clock.now())
                if gone is None:
                    return False
                for urgency in gone:
                    loads[day][urgency] -= 1
                if not gone:
                    break
        return True
