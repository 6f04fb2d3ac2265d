"""What operators are to be told, one row for each subject and kind, shared by all processes."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import datetime
from typing import Final

from chopmark.messaging.alarms import AGAIN, ONCE, PAUSE, SETTLED, Alarm, AlarmKind, Due
from chopmark.store.engine.columns import SKEW_MS, moment, ms, span
from chopmark.store.engine.port import Engine
from chopmark.store.engine.script import Row, Script, whole
from chopmark.store.repositories.leases import LOCK
from chopmark.store.repositories.listed import CHOSEN, ROW

AT_ONCE: Final = 20
# `due_at` is when it is said next; none when it has been said and does not repeat. New: now. What is over and comes
# back: now, or a pause after it was last said. What seemed well and is not: a day after it was said. More urgent: now.
_RAISE = """
INSERT INTO alarms (subject, kind, facts, grade, since, seen_at, due_at, leased_until)
VALUES (:subject, :kind, :facts, :grade, :now, :now, :now, 0)
ON CONFLICT (subject, kind) DO UPDATE SET
  facts = excluded.facts, grade = excluded.grade, seen_at = excluded.seen_at, well_at = NULL, over_at = NULL,
  since = CASE WHEN alarms.over_at IS NULL THEN alarms.since ELSE excluded.since END,
  due_at = CASE
    WHEN alarms.said_at IS NULL THEN excluded.due_at
    WHEN alarms.over_at IS NOT NULL THEN
      CASE WHEN alarms.said_at + :pause > excluded.due_at THEN alarms.said_at + :pause ELSE excluded.due_at END
    WHEN excluded.grade < alarms.said_grade THEN excluded.due_at
    WHEN alarms.well_at IS NOT NULL THEN CASE WHEN excluded.grade < :once THEN alarms.said_at + :again END
    ELSE alarms.due_at END
"""
_WELL = """
UPDATE alarms SET well_at = :now, due_at = CAST(:now AS BIGINT) + :settled
WHERE subject = :subject AND well_at IS NULL AND over_at IS NULL
"""
_KNOWN: Final = f"kind IN ({', '.join(repr(kind.value) for kind in AlarmKind)})"
"""Alarms of other kinds were raised by a later release, and only that one can tell them."""
_CLAIM = f"""
WITH chosen AS MATERIALIZED (
  SELECT {{row}} AS place FROM alarms
  WHERE (due_at <= :now OR due_at > :far) AND (leased_until <= :now OR leased_until > :longest) AND {_KNOWN}
  ORDER BY due_at LIMIT :most {{lock}}
)
UPDATE alarms SET leased_until = :until
WHERE {{row}} {{chosen}} AND (leased_until <= :now OR leased_until > :longest)
RETURNING subject, kind, facts, grade, since, well_at, said_at
"""
_RENEW = """
UPDATE alarms SET leased_until = :until WHERE subject = :subject AND kind = :kind AND leased_until = :held
RETURNING leased_until
"""
_SAID = """
UPDATE alarms SET said_at = :now, said_grade = :grade, leased_until = 0,
  due_at = CASE WHEN grade < CAST(:grade AS BIGINT) THEN :now
    WHEN well_at IS NOT NULL THEN CAST(:now AS BIGINT) + :settled
    WHEN grade < :once THEN CAST(:now AS BIGINT) + :again END
WHERE subject = :subject AND kind = :kind
"""
_OVER = """
UPDATE alarms SET over_at = :now, due_at = NULL, leased_until = 0
WHERE subject = :subject AND kind = :kind AND well_at IS NOT NULL
"""
_LASTING = f"""
SELECT subject, kind, facts, grade, since, well_at, said_at FROM alarms
WHERE over_at IS NULL AND well_at IS NULL AND {_KNOWN} ORDER BY since, subject
"""


class AlarmRepository:
    """Implements `messaging.alarms.AlarmStore`."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    async def raised(self, alarm: Alarm, now: datetime) -> None:
        """As `AlarmBook.raised`."""
        values = {"subject": alarm.subject, "kind": alarm.kind.value, "grade": alarm.grade, "now": ms(now)}
        spans = {"pause": span(PAUSE), "again": span(AGAIN), "once": ONCE}
        facts = json.dumps(dict(alarm.facts), ensure_ascii=False, sort_keys=True)

        def script() -> Script[None]:
            yield whole(_RAISE, facts=facts, **values, **spans)

        await self._engine.run(script)

    async def well(self, subject: str, now: datetime) -> None:
        """As `AlarmBook.well`."""

        def script() -> Script[None]:
            yield whole(_WELL, subject=subject, now=ms(now), settled=span(SETTLED))

        await self._engine.run(script)

    async def claim(self, now: datetime, lease_s: int) -> list[Due]:
        """As `AlarmStore.claim`. What is due in more than two days was written by a clock that was wrong: it is due."""
        dialect = self._engine.dialect
        claim = _CLAIM.format(lock=LOCK[dialect], row=ROW[dialect], chosen=CHOSEN[dialect])
        until = ms(now) + lease_s * 1000
        times = {"until": until, "longest": until + SKEW_MS, "now": ms(now), "far": ms(now) + 2 * span(AGAIN)}

        def script() -> Script[list[Due]]:
            return [
                replace(_due(row), leased_until=moment(until)) for row in (yield whole(claim, most=AT_ONCE, **times))
            ]

        return await self._engine.run(script)

    async def renew(self, due: Due, now: datetime, lease_s: int) -> Due | None:
        """As `AlarmStore.renew`."""
        held = -1 if due.leased_until is None else ms(due.leased_until)
        until = max(ms(now) + lease_s * 1000, held)
        named = {"subject": due.alarm.subject, "kind": due.alarm.kind.value, "held": held, "until": until}

        def script() -> Script[Due | None]:
            mine = yield whole(_RENEW, **named)
            return replace(due, leased_until=moment(until)) if mine else None

        return await self._engine.run(script)

    async def said(self, due: Due, now: datetime) -> None:
        """As `AlarmStore.said`."""
        named = {"subject": due.alarm.subject, "kind": due.alarm.kind.value, "now": ms(now)}
        spans = {"settled": span(SETTLED), "again": span(AGAIN), "once": ONCE}

        def script() -> Script[None]:
            if due.over:
                yield whole(_OVER, **named)
            else:
                yield whole(_SAID, grade=due.alarm.grade, **named, **spans)

        await self._engine.run(script)

    async def lasting(self) -> list[Due]:
        """As `AlarmStore.lasting`."""

        def script() -> Script[list[Due]]:
            return [_due(row) for row in (yield whole(_LASTING))]

        return await self._engine.read(script)


def _due(row: Row) -> Due:
    alarm = Alarm(AlarmKind(row["kind"]), row["subject"], json.loads(row["facts"]), row["grade"])
    return Due(alarm, moment(row["since"]), row["well_at"] is not None, row["said_at"] is not None)
