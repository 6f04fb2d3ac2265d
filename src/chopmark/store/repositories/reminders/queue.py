"""Due reminders: claimed under a lease by whoever finds a living certificate behind them, and closed once."""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import date, datetime, timedelta
from typing import Final

from chopmark.audit.record import AuditRecord
from chopmark.core.types import Channel, CustomerId
from chopmark.messaging.attempts import Attempt, Fate
from chopmark.messaging.ports import FaultReason
from chopmark.ra.reminders.policy import DEAD_FOR, Step
from chopmark.ra.reminders.ports import (
    DeadContact,
    LivingCertificate,
    Outcome,
    Reminder,
    ReminderPapers,
    Wishes,
)
from chopmark.store.engine.columns import AHEAD, SKEW_MS, moment, moment_or_none, ms, ms_or_none
from chopmark.store.engine.port import Engine
from chopmark.store.engine.script import Query, Row, Script, at_once, guard, query, whole
from chopmark.store.repositories.identity.customers import contact_of
from chopmark.store.repositories.leases import LOCK
from chopmark.store.repositories.listed import CHOSEN, LISTED
from chopmark.store.repositories.records import note
from chopmark.store.repositories.reminders.living import living, living_of
from chopmark.store.repositories.unreachable import IN_PLACE, RETURNED

LEASE: Final = timedelta(seconds=60)
LONGEST_RETRY_MS: Final = 3_600_000
"""A reminder waits no longer between two attempts: what is due later was written by a machine whose clock was wrong."""
_MINUTE: Final = timedelta(minutes=1)
_LIVES = f"""EXISTS (SELECT 1 FROM reminded_certificates d WHERE d.reminder = r.id AND d.certificate IN (
  SELECT certificate FROM ({living("{c}.customer = r.customer AND {c}.not_after + 0 > :now")}) l) LIMIT 1 OFFSET 0)"""
_LATE = """(r.until <= :now OR EXISTS (SELECT 1 FROM reminders n
  WHERE n.customer = r.customer AND n.day || '' > r.day AND n.day || '' <= :today LIMIT 1 OFFSET 0))"""
_PAUSED = """(r.urgency < :urgent AND EXISTS (SELECT 1 FROM reminder_preferences p
  WHERE p.customer = r.customer AND p.paused_until > :now LIMIT 1 OFFSET 0))"""
_DUE = f"""r.state = 'planned' AND r.due_at <= :now
  AND (r.retry_at <= :now OR r.retry_at > CAST(:now AS BIGINT) + {LONGEST_RETRY_MS})
  AND (r.leased_until <= :now OR r.leased_until > :longest)"""
_CODES = f"""EXISTS (SELECT 1 FROM work w WHERE w.done_at IS NULL AND w.kind = 'code' AND w.not_before <= :now
  AND (w.leased_until <= :now OR w.leased_until > CAST(:now AS BIGINT) + {LONGEST_RETRY_MS}))"""
# Whoever held a lease and did not close the row may have sent it.
_SWEEP = """
WITH chosen AS MATERIALIZED (
  SELECT r.id AS place FROM reminders r WHERE {due} AND {which} ORDER BY r.due_at LIMIT :most {lock}
)
UPDATE reminders SET ended_at = :now, leased_until = 0,
  state = CASE WHEN holder IS NULL THEN CAST(:state AS TEXT) ELSE 'unknown' END,
  why = CASE WHEN holder IS NULL THEN CAST(:why AS TEXT) ELSE 'crashed' END
WHERE id {chosen} AND state || '' = 'planned' AND (leased_until <= :now OR leased_until > :longest)
RETURNING id
"""
_FOUND = f"""
SELECT r.id FROM reminders r
WHERE {_DUE} AND NOT {_CODES} LIMIT :most
"""
_TAKE = """
INSERT INTO counters (name, window_start, used) VALUES ('reminders:1m', :now, :amount)
ON CONFLICT (name) DO UPDATE SET
  used = CASE WHEN {over} THEN :amount ELSE counters.used + :amount END,
  window_start = CASE WHEN {over} THEN :now ELSE counters.window_start END
WHERE {over} OR counters.used + :amount <= :allowed
RETURNING used
""".format(over=f"(counters.window_start <= :since OR counters.window_start > {AHEAD})")
_GIVE_BACK = "UPDATE counters SET used = used - :amount WHERE name = 'reminders:1m' AND used >= :amount"
_CLAIM = f"""
WITH chosen AS MATERIALIZED (
  SELECT r.id AS place FROM reminders r
  WHERE {_DUE} AND r.urgency >= :floor AND {_LIVES} AND NOT {_LATE} AND NOT {_PAUSED} AND NOT {_CODES}
  ORDER BY r.due_at LIMIT :most {{lock}}
)
UPDATE reminders SET holder = :holder, leased_until = :lease, attempts = attempts + 1,
  begun_at = CASE WHEN begun_at IS NULL OR begun_at > :now THEN :now ELSE begun_at END
WHERE id {{chosen}} AND state || '' = 'planned' AND (leased_until <= :now OR leased_until > :longest)
RETURNING id, customer, day, step, urgency, until, attempts, begun_at
"""
_CONTACTS = """
SELECT customer, channel, version, value_sealed, destination_hash, verified_at, cool_until, disputed_at
FROM contacts WHERE customer {listed}
"""
_DEAD = "SELECT customer, channel, version, why, since FROM unreachable_contacts WHERE customer {listed}"
_WISHES = "SELECT customer, channel, language, paused_until FROM reminder_preferences WHERE customer {listed}"
_LIVING = living("{c}.customer {{listed}} AND {c}.not_after + 0 > :now", whole=True)
_ATTEMPTS = "SELECT message, gateway, fate, provider_id, reason FROM deliveries WHERE message {listed}"
# A lost lease: another process may have closed the row as unknown meanwhile. What is known for certain stands above it.
_END = """
UPDATE reminders SET state = :state, why = :why, channel = :channel, contact_version = :version, gateway = :gateway,
  certificates = :certificates, ended_at = :now, leased_until = 0
WHERE id = :id AND ((state = 'planned' AND holder = :holder AND leased_until > 0)
  OR (state = 'unknown' AND CAST(:state AS TEXT) = 'sent'))
RETURNING id
"""
_RETRY = """
UPDATE reminders SET retry_at = :at, leased_until = 0, holder = NULL
WHERE id = :id AND holder = :holder AND state = 'planned' AND leased_until > 0 RETURNING id
"""
_MARK_DEAD = """
INSERT INTO unreachable_contacts (customer, channel, version, why, since)
VALUES (:customer, :channel, :version, :why, :now)
ON CONFLICT (customer, channel) DO UPDATE SET version = :version, why = :why, since = :now
WHERE unreachable_contacts.version <= :version
"""
# The gateway may have reported before we had written which contact it was.
_REPORTED_DEAD = f"""
INSERT INTO unreachable_contacts (customer, channel, version, why, since)
SELECT CAST(:customer AS TEXT), CAST(:channel AS TEXT), CAST(:version AS BIGINT),
  CASE WHEN MIN(d.report) = 'failed' THEN 'reported' ELSE '{RETURNED}' END, CAST(:now AS BIGINT)
FROM deliveries d
WHERE d.message = :id AND d.report IN ('failed', 'undelivered') AND CAST(:version AS BIGINT) IS NOT NULL
GROUP BY d.message{IN_PLACE}"""
# A message was taken for this contact. What came back before says no more where the next one goes, and what is so old
# that the contact was tried again says nothing.
_TAKEN = f"""
DELETE FROM unreachable_contacts WHERE customer = :customer AND channel = CAST(:channel AS TEXT)
  AND version = CAST(:version AS BIGINT) AND (why = '{RETURNED}' OR since <= :dead_since)
  AND CAST(:state AS TEXT) = 'sent'
"""
_PUT = """
INSERT INTO reminder_preferences (customer, channel, language, paused_until, changed_at)
VALUES (:customer, :channel, :language, :paused_until, :now)
ON CONFLICT (customer) DO UPDATE SET
  channel = :channel, language = :language, paused_until = :paused_until, changed_at = :now
"""


class ReminderQueueRepository:
    """Implements `ra.reminders.ports.ReminderQueue`."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._lock = {"lock": LOCK[engine.dialect], "chosen": CHOSEN[engine.dialect]}

    async def sweep(self, now: datetime, today: date, urgent: Step, most: int) -> int:
        """As `ReminderQueue.sweep`."""
        times = {"now": ms(now), "longest": ms(now + LEASE) + SKEW_MS, "most": most}
        parts: tuple[tuple[str, str | None, str, dict[str, str | int]], ...] = (
            (f"NOT {_LIVES}", None, "stopped", {}),
            (_LATE, "late", "skipped", {"today": today.isoformat()}),
            (_PAUSED, "paused", "skipped", {"urgent": urgent.urgency}),
        )

        def script() -> Script[int]:
            closed = 0
            for which, why, state, values in parts:
                sql = _SWEEP.format(due=_DUE, which=which, **self._lock)
                closed += len((yield query(sql, state=state, why=why, **times, **values)))
            return closed

        return await self._engine.run(script)

    async def claim(
        self, holder: str, now: datetime, today: date, urgent: Step, *, most: int, per_minute: int
    ) -> list[Reminder]:
        """As `ReminderQueue.claim`."""
        times = {"now": ms(now), "longest": ms(now + LEASE) + SKEW_MS}
        claim = _CLAIM.format(**self._lock)
        claimed: dict[str, str | int] = {
            "lease": ms(now + LEASE),
            "holder": holder,
            "today": today.isoformat(),
            "urgent": urgent.urgency,
        }
        minute = {"now": ms(now), "since": ms(now - _MINUTE), "allowed": per_minute}

        def script() -> Script[list[Reminder]]:
            # 1. Nothing is counted while nothing is due, or while codes wait.
            found = len((yield query(_FOUND, most=min(most, per_minute), **times)))
            if not found or not (yield query(_TAKE, amount=found, **minute)):
                return []
            # 2. The claim is the guard: only a reminder behind which a living certificate stands is leased.
            rows = yield query(claim, most=found, floor=urgent.urgency, **times, **claimed)
            if len(rows) < found:
                rows = [*rows, *(yield query(claim, most=found - len(rows), floor=0, **times, **claimed))]
            if len(rows) < found:
                yield query(_GIVE_BACK, amount=found - len(rows))
            return [_reminder(row) for row in sorted(rows, key=lambda row: (-int(row["urgency"]), row["id"]))]

        return await self._engine.run(script)

    async def papers(self, reminders: Sequence[Reminder], now: datetime) -> ReminderPapers:
        """As `ReminderQueue.papers`."""
        listed = LISTED[self._engine.dialect]
        people = json.dumps(sorted({one.customer for one in reminders}))
        ids = json.dumps(sorted(one.id for one in reminders))
        reads: tuple[Query, ...] = (
            query(_CONTACTS.format(listed=listed), listed=people),
            query(_DEAD.format(listed=listed), listed=people),
            query(_WISHES.format(listed=listed), listed=people),
            query(_LIVING.format(listed=listed), listed=people, now=ms(now)),
            query(_ATTEMPTS.format(listed=listed), listed=ids),
        )

        def script() -> Script[list[list[Row]]]:
            contacts = yield reads[0]
            dead, wishes = (yield reads[1]), (yield reads[2])
            return [contacts, dead, wishes, (yield reads[3]), (yield reads[4])]

        contacts, dead, wishes, certificates, attempts = await self._engine.read(script)
        return ReminderPapers(
            [contact_of(row) for row in contacts],
            [_dead(row) for row in dead],
            {CustomerId(row["customer"]): wishes_of(row) for row in wishes},
            _by_customer(certificates),
            {row["certificate"]: bytes(row["der"]) for row in certificates if row["der"] is not None},
            _by_message(attempts),
        )

    async def end(self, reminder: Reminder, holder: str, outcome: Outcome, now: datetime) -> bool:
        """As `ReminderQueue.end`."""
        values = {
            "state": outcome.state.value,
            "why": outcome.why,
            "channel": None if outcome.channel is None else outcome.channel.value,
            "version": outcome.contact_version,
            "gateway": outcome.gateway,
            "certificates": outcome.certificates,
        }
        ended = guard(_END, id=reminder.id, holder=holder, now=ms(now), **values)
        contact = {"customer": reminder.customer, "channel": values["channel"], "version": outcome.contact_version}
        taken = query(_TAKEN, dead_since=ms(now - DEAD_FOR), state=values["state"], **contact)
        reported = query(_REPORTED_DEAD, id=reminder.id, now=ms(now), **contact)

        def script() -> Script[bool]:
            return (yield from at_once(ended, taken, reported)) is not None

        return await self._engine.run(script)

    async def retry(self, reminder: Reminder, holder: str, at: datetime) -> bool:
        """As `ReminderQueue.retry`."""
        return bool(await self._engine.run(_one, whole(_RETRY, id=reminder.id, holder=holder, at=ms(at))))

    async def dead(self, customer: CustomerId, channel: Channel, version: int, why: FaultReason, now: datetime) -> None:
        """As `ReminderQueue.dead`."""
        values = {"channel": channel.value, "version": version, "why": why.value, "now": ms(now)}
        await self._engine.run(_one, whole(_MARK_DEAD, customer=customer, **values))


class ReminderPreferenceRepository:
    """Implements `ra.reminders.ports.ReminderPreferences`."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    async def of(self, customer: CustomerId) -> Wishes:
        """As `ReminderPreferences.of`."""
        sql = _WISHES.format(listed="= :customer")
        rows = await self._engine.read(_one, whole(sql, customer=customer))
        return wishes_of(rows[0]) if rows else Wishes()

    async def put(self, customer: CustomerId, wishes: Wishes, now: datetime, record: AuditRecord) -> None:
        """As `ReminderPreferences.put`."""
        values = {
            "channel": None if wishes.channel is None else wishes.channel.value,
            "language": wishes.language,
            "paused_until": ms_or_none(wishes.paused_until),
        }
        await self._engine.run(note, record, query(_PUT, customer=customer, now=ms(now), **values))


def wishes_of(row: Row) -> Wishes:
    """Return a row of preferences."""
    channel = None if row["channel"] is None else Channel(row["channel"])
    return Wishes(channel, row["language"], moment_or_none(row["paused_until"]))


def _one(statement: Query) -> Script[list[Row]]:
    return (yield statement)


def _reminder(row: Row) -> Reminder:
    return Reminder(
        row["id"],
        CustomerId(row["customer"]),
        date.fromisoformat(row["day"]),
        Step.of(row["step"]),
        moment(row["until"]),
        int(row["attempts"]),
        moment(row["begun_at"]),
    )


def _dead(row: Row) -> DeadContact:
    return DeadContact(
        CustomerId(row["customer"]), Channel(row["channel"]), int(row["version"]), row["why"], moment(row["since"])
    )


def _by_customer(rows: Sequence[Row]) -> dict[CustomerId, list[LivingCertificate]]:
    found: dict[CustomerId, list[LivingCertificate]] = {}
    for one in map(living_of, rows):
        found.setdefault(one.customer, []).append(one)
    return found


def _by_message(rows: Sequence[Row]) -> dict[str, list[Attempt]]:
    found: dict[str, list[Attempt]] = {}
    for row in rows:
        reason = None if row["reason"] is None else FaultReason(row["reason"])
        one = Attempt(row["message"], row["gateway"], Fate(row["fate"]), row["provider_id"], reason)
        found.setdefault(one.message, []).append(one)
    return found
