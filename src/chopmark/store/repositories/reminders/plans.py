"""The plan of reminders: which certificates have no reminder yet, and the rows that are planned for them."""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import date, datetime, timedelta
from typing import Final

from chopmark.core.types import CustomerId
from chopmark.ra.reminders.policy import Step
from chopmark.ra.reminders.ports import Known, LivingCertificate, Placed, ReminderState, ToldStep, Why
from chopmark.store.engine.columns import ms
from chopmark.store.engine.port import Engine
from chopmark.store.engine.script import Batch, Row, Script, Value, query, whole
from chopmark.store.repositories.leases import take, taking
from chopmark.store.repositories.listed import LISTED
from chopmark.store.repositories.reminders.living import first_living, living, living_of

LEASE: Final = timedelta(seconds=60)
_MOST_AT_ONCE: Final = 5_000
"""So many living certificates are looked at by one statement, where most have their step already."""
_LEASE_NAME: Final = "reminders"
_RESTORED: Final = "reminders_restored"
_PLANNED: Final = "reminders_planned"
_ENDING = first_living(
    "({c}.not_after, {id}) > (CAST(:since AS BIGINT), CAST(:after AS TEXT)) AND {c}.not_after <= :until"
)
_WITH_STEP = "SELECT certificate FROM reminded_certificates WHERE certificate {listed} AND step = :step"
_DAYS = "SELECT customer, day, state FROM reminders WHERE customer {listed} AND day || '' >= :since"
_KNOWN = living("{c}.customer {{listed}} AND {c}.not_after + 0 > :now")
_TOLD = """
SELECT d.certificate, d.step, r.day, r.state FROM reminded_certificates d JOIN reminders r ON r.id = d.reminder
WHERE d.certificate {listed}
"""
_LOADS = """
SELECT day, urgency, COUNT(*) AS n FROM reminders
WHERE day >= :today AND state IN ('planned', 'sent', 'unknown') GROUP BY day, urgency
"""
# One row a customer and day. A step that is told with others makes the row as urgent as itself.
_PLACE = """
INSERT INTO reminders (id, customer, day, earliest, step, urgency, planned_at, due_at, until, state, why)
VALUES (:id, :customer, :day, :earliest, :step, :urgency, :now, :due_at, :until, :state, :why)
ON CONFLICT (customer, day) DO UPDATE SET
  step = CASE WHEN reminders.urgency < :urgency THEN :step ELSE reminders.step END,
  urgency = CASE WHEN reminders.urgency < :urgency THEN :urgency ELSE reminders.urgency END,
  until = CASE WHEN reminders.until < :until THEN :until ELSE reminders.until END,
  earliest = CASE WHEN reminders.earliest > :earliest THEN :earliest ELSE reminders.earliest END
WHERE reminders.state = :state
"""
_TELL = """
INSERT INTO reminded_certificates (certificate, step, reminder, at)
SELECT CAST(:certificate AS TEXT), CAST(:step AS TEXT), r.id, CAST(:now AS BIGINT) FROM reminders r
WHERE r.customer = :customer AND r.day = :day AND COALESCE(r.state, '') = :state
ON CONFLICT (certificate, step) DO NOTHING
"""  # COALESCE: without statistics the planner takes `reminders_by_day` for as narrow as the unique key
_YIELDING = """
SELECT id, urgency FROM reminders
WHERE day = :day AND state = 'planned' AND holder IS NULL AND attempts = 0 AND urgency < :below
ORDER BY urgency, id LIMIT :most
"""
_UNTELL = """
DELETE FROM reminded_certificates WHERE reminder = :id
  AND EXISTS (SELECT 1 FROM reminders r WHERE r.id = :id AND r.state = 'planned' AND r.holder IS NULL
    AND r.attempts = 0)
"""
_UNPLACE = """
DELETE FROM reminders WHERE id = :id AND state = 'planned' AND holder IS NULL AND attempts = 0
  AND NOT EXISTS (SELECT 1 FROM reminded_certificates d WHERE d.reminder = :id)
"""
_MARK = "INSERT INTO installation (name, value) VALUES (:name, :value) ON CONFLICT (name) DO UPDATE SET value = :value"
_MARKED = "SELECT value FROM installation WHERE name = :name"
# What may have been sent before a restore is not sent again, and is shown.
_RESTORED_ROWS = """
UPDATE reminders SET state = 'unknown', why = 'restored', ended_at = :now, leased_until = 0
WHERE state = 'planned' AND earliest <= :day
"""


class ReminderPlanRepository:
    """Implements `ra.reminders.ports.ReminderPlans`."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    async def begin(self, holder: str, now: datetime) -> bool:
        """As `ReminderPlans.begin`."""
        return await self._engine.run(take, _LEASE_NAME, holder, ms(now), ms(now + LEASE)) is not None

    async def done(self) -> str | None:
        """As `ReminderPlans.done`."""
        return await self._engine.read(_marked, _PLANNED)

    async def mark(self, mark: str) -> None:
        """As `ReminderPlans.mark`."""

        def script() -> Script[None]:
            yield whole(_MARK, name=_PLANNED, value=mark)

        await self._engine.run(script)

    async def restored(self) -> date | None:
        """As `ReminderPlans.restored`."""
        marked = await self._engine.read(_marked, _RESTORED)
        return None if marked is None else date.fromisoformat(marked)

    async def untold(
        self, step: Step, ends: tuple[datetime, datetime], after: LivingCertificate | None, most: int
    ) -> list[LivingCertificate]:
        """As `ReminderPlans.untold`."""
        begins, named = ms(ends[0] if after is None else after.not_after), "" if after is None else after.id
        with_step = _WITH_STEP.format(listed=LISTED[self._engine.dialect])

        def script() -> Script[list[LivingCertificate]]:
            # A join would have PostgreSQL read all that are left, and all that were told, for each batch.
            found: list[LivingCertificate] = []
            since, last, size = begins, named, most
            while len(found) < most:
                rows = yield query(_ENDING, most=size, since=since, until=ms(ends[1]), after=last)
                ids = json.dumps([row["certificate"] for row in rows])
                told = {row["certificate"] for row in (yield query(with_step, listed=ids, step=step.word))}
                found += [living_of(row) for row in rows if row["certificate"] not in told]
                if len(rows) < size:
                    break
                since, last, size = rows[-1]["not_after"], rows[-1]["certificate"], min(2 * size, _MOST_AT_ONCE)
            return found[:most]

        return await self._engine.read(script)

    async def known(self, customers: Sequence[CustomerId], today: date, now: datetime) -> Known:
        """As `ReminderPlans.known`."""
        listed = LISTED[self._engine.dialect]
        people = json.dumps(sorted(set(customers)))
        since = (today - timedelta(days=7)).isoformat()

        def script() -> Script[Known]:
            certificates = [
                living_of(row) for row in (yield query(_KNOWN.format(listed=listed), listed=people, now=ms(now)))
            ]
            ids = json.dumps(sorted(one.id for one in certificates))
            days = yield query(_DAYS.format(listed=listed), listed=people, since=since)
            told = yield query(_TOLD.format(listed=listed), listed=ids)
            return _known(certificates, days, told)

        return await self._engine.read(script)

    async def loads(self, today: date) -> dict[date, dict[int, int]]:
        """As `ReminderPlans.loads`."""

        def script() -> Script[dict[date, dict[int, int]]]:
            found: dict[date, dict[int, int]] = {}
            for row in (yield whole(_LOADS, today=today.isoformat())):
                found.setdefault(date.fromisoformat(row["day"]), {})[int(row["urgency"])] = int(row["n"])
            return found

        return await self._engine.read(script)

    async def place(self, placed: Sequence[Placed], holder: str, now: datetime) -> bool:
        """As `ReminderPlans.place`."""

        def script() -> Script[bool]:
            lease = taking(_LEASE_NAME, holder, ms(now), ms(now + LEASE))
            if not (yield query(lease.sql, **lease.values)):
                return False
            yield Batch(_PLACE, [_row(one, now) for one in placed])
            yield Batch(_TELL, [_told(one, now) for one in placed])
            return True

        return await self._engine.run(script)

    async def release(self, day: date, below: Step, most: int, holder: str, now: datetime) -> list[int] | None:
        """As `ReminderPlans.release`."""

        def script() -> Script[list[int] | None]:
            lease = taking(_LEASE_NAME, holder, ms(now), ms(now + LEASE))
            if not (yield query(lease.sql, **lease.values)):
                return None
            rows = yield query(_YIELDING, day=day.isoformat(), below=below.urgency, most=most)
            ids = [{"id": row["id"]} for row in rows]
            if ids:
                yield Batch(_UNTELL, ids)
                yield Batch(_UNPLACE, ids)
            return [int(row["urgency"]) for row in rows]

        return await self._engine.run(script)


def restored_at(now: datetime, day: date) -> Script[None]:
    """Note a restore in its transaction: reminders that may have been sent until then are closed as unknown."""
    yield query(_RESTORED_ROWS, now=ms(now), day=day.isoformat())
    yield query(_MARK, name=_RESTORED, value=day.isoformat())


def _marked(name: str) -> Script[str | None]:
    rows = yield whole(_MARKED, name=name)
    return str(rows[0]["value"]) if rows else None


def _known(certificates: Sequence[LivingCertificate], days: Sequence[Row], told: Sequence[Row]) -> Known:
    living: dict[CustomerId, list[LivingCertificate]] = {}
    for one in certificates:
        living.setdefault(one.customer, []).append(one)
    booked: dict[CustomerId, dict[date, bool]] = {}
    for row in days:
        waits = row["state"] == "planned"
        booked.setdefault(CustomerId(row["customer"]), {})[date.fromisoformat(row["day"])] = waits
    steps = [
        ToldStep(row["certificate"], Step.of(row["step"]), date.fromisoformat(row["day"]), row["state"] == "planned")
        for row in told
    ]
    return Known(living, booked, steps)


def _row(one: Placed, now: datetime) -> dict[str, Value]:
    return {
        "id": one.id,
        "customer": one.customer,
        "day": one.day.isoformat(),
        "earliest": one.earliest.isoformat(),
        "step": one.step.word,
        "urgency": one.step.urgency,
        "now": ms(now),
        "due_at": ms(one.due_at),
        "until": ms(one.until),
        "state": one.state.value,
        "why": Why.RESTORED.value if one.state is ReminderState.UNKNOWN else None,
    }


def _told(one: Placed, now: datetime) -> dict[str, Value]:
    return {
        "certificate": one.certificate,
        "step": one.step.word,
        "customer": one.customer,
        "day": one.day.isoformat(),
        "state": one.state.value,
        "now": ms(now),
    }
