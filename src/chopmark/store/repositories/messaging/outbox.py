"""The outbox: work that is queued in the transaction of a change, leased to one worker, and closed with its record."""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import datetime

from chopmark.audit.record import AuditRecord
from chopmark.core.types import ChallengeId, Channel, CustomerId, OrderId
from chopmark.messaging.ports import OutboxJob, OutboxJobKind
from chopmark.store.engine.columns import SKEW_MS, moment, moment_or_none, ms, ms_or_none
from chopmark.store.engine.port import Engine
from chopmark.store.engine.script import Notify, Query, Row, Script, at_once, guard, in_turn, query, whole
from chopmark.store.repositories.leases import LOCK
from chopmark.store.repositories.listed import CHOSEN, LISTED
from chopmark.store.repositories.records import write_with_record

WORK_CHANNEL = "work"
ENDINGS_CHANNEL = "endings"
_ENDINGS = frozenset({OutboxJobKind.REVOKE, OutboxJobKind.HOLD})
_QUEUE = """
INSERT INTO work (id, kind, customer, order_id, challenge, channel, contact_version, facts, attempts, not_before,
  expires_at, leased_until)
VALUES (:id, :kind, :customer, :order_id, :challenge, :channel, :contact_version, :facts, 0, :not_before,
  :expires_at, 0)
"""
LONGEST_WAIT_MS = 3_600_000
"""Work is never postponed for longer. A row that is due later comes from a machine whose clock was wrong, and is due
now."""
_CLAIM = """
WITH chosen AS MATERIALIZED (
  SELECT id AS place FROM work
  WHERE done_at IS NULL AND (not_before <= :now OR not_before > :longest_wait)
    AND (leased_until <= :now OR leased_until > :longest) AND kind IN ({kinds})
  ORDER BY not_before LIMIT :most {lock}
)
UPDATE work SET holder = :holder, leased_until = :until, attempts = attempts + 1
WHERE id {chosen} AND COALESCE(done_at, -1) = -1 AND (leased_until <= :now OR leased_until > :longest)
RETURNING id, kind, customer, order_id, challenge, channel, contact_version, facts, attempts, not_before, expires_at
"""
_DONE = """
UPDATE work SET done_at = :now, outcome = :outcome, leased_until = 0
WHERE id = :id AND holder = :holder AND done_at IS NULL AND leased_until > 0 RETURNING id
"""
_DONE_ALL = """
UPDATE work SET done_at = :now, outcome = :outcome, leased_until = 0
WHERE id {listed} AND holder = :holder AND COALESCE(done_at, -1) = -1 AND leased_until > 0 RETURNING id
"""
_RETRY = """
UPDATE work SET not_before = :at, outcome = :outcome, leased_until = 0, holder = NULL
WHERE id = :id AND holder = :holder AND done_at IS NULL RETURNING id
"""
_SENT = "UPDATE challenges SET sent_at = :now WHERE id = :id AND sent_at IS NULL"


def queue(works: tuple[OutboxJob, ...]) -> Script[None]:
    """Queue rows of work; the workers are woken when the transaction commits."""
    yield from in_turn(queued(works))
    yield from wake(works)


def queued(works: tuple[OutboxJob, ...]) -> tuple[Query, ...]:
    """Return the statements that queue rows of work, for a bundle; `wake` comes after it."""
    return tuple(
        query(
            _QUEUE,
            id=work.id,
            kind=work.kind.value,
            customer=work.customer,
            order_id=work.order,
            challenge=work.challenge,
            channel=None if work.channel is None else work.channel.value,
            contact_version=work.contact_version,
            facts=json.dumps(dict(work.facts), ensure_ascii=False, sort_keys=True),
            not_before=ms(work.not_before),
            expires_at=ms_or_none(work.expires_at),
        )
        for work in works
    )


def wake(works: tuple[OutboxJob, ...]) -> Script[None]:
    """When the transaction commits, wake the workers: those that send messages, or those that tell the CA."""
    for channel in sorted({ENDINGS_CHANNEL if work.kind in _ENDINGS else WORK_CHANNEL for work in works}):
        yield Notify(channel)


def _work(row: Row) -> OutboxJob:
    return OutboxJob(
        id=row["id"],
        kind=OutboxJobKind(row["kind"]),
        customer=None if row["customer"] is None else CustomerId(row["customer"]),
        order=None if row["order_id"] is None else OrderId(row["order_id"]),
        challenge=None if row["challenge"] is None else ChallengeId(row["challenge"]),
        channel=None if row["channel"] is None else Channel(row["channel"]),
        contact_version=row["contact_version"],
        facts=json.loads(row["facts"]),
        attempts=row["attempts"],
        not_before=moment(row["not_before"]),
        expires_at=moment_or_none(row["expires_at"]),
    )


class OutboxRepository:
    """Implements `messaging.ports.Outbox`."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    async def claim(
        self, kinds: Sequence[OutboxJobKind], limit: int, holder: str, now: datetime, lease_s: int
    ) -> list[OutboxJob]:
        """Lease up to `limit` due rows, oldest first. No row is leased to two holders."""
        names = {f"kind{index}": kind.value for index, kind in enumerate(kinds)}
        parts = {"lock": LOCK[self._engine.dialect], "chosen": CHOSEN[self._engine.dialect]}
        sql = _CLAIM.format(kinds=", ".join(f":{name}" for name in names), **parts)

        def script() -> Script[list[OutboxJob]]:
            until = ms(now) + lease_s * 1000
            far = {"longest": until + SKEW_MS, "longest_wait": ms(now) + LONGEST_WAIT_MS}
            rows = yield whole(sql, holder=holder, until=until, now=ms(now), most=limit, **far, **names)
            return sorted((_work(row) for row in rows), key=lambda work: work.not_before)

        return await self._engine.run(script)

    async def done(
        self,
        work: OutboxJob,
        holder: str,
        now: datetime,
        outcome: str,
        record: AuditRecord | None,
        instead: tuple[OutboxJob, ...] = (),
    ) -> bool:
        """As `Outbox.done`."""

        def script() -> Script[bool]:
            closed = guard(_DONE, id=work.id, holder=holder, now=ms(now), outcome=outcome)
            told = work.kind is OutboxJobKind.CODE and outcome == "sent"
            sent = (query(_SENT, id=work.challenge, now=ms(now)),) if told else ()
            parts = (closed, *sent, *queued(instead))
            if (yield from at_once(*parts) if record is None else write_with_record(record, *parts)) is None:
                return False
            yield from wake(instead)
            return True

        return await self._engine.run(script)

    async def done_all(self, works: Sequence[OutboxJob], holder: str, now: datetime, outcome: str) -> int:
        """Close rows that have no record of their own. Return how many; rows whose lease is lost stay open."""
        sql = _DONE_ALL.format(listed=LISTED[self._engine.dialect])
        listed = json.dumps([work.id for work in works])

        def script() -> Script[int]:
            return len((yield whole(sql, listed=listed, holder=holder, now=ms(now), outcome=outcome)))

        return await self._engine.run(script)

    async def retry(self, work: OutboxJob, holder: str, at: datetime, reason: str) -> bool:
        """Return a row to the queue, due at `at`. False when the lease is lost."""

        def script() -> Script[bool]:
            return bool((yield whole(_RETRY, id=work.id, holder=holder, at=ms(at), outcome=reason)))

        return await self._engine.run(script)

    async def wait(self, timeout_s: float) -> bool:
        """Wait until a message is queued, or until the timeout."""
        return await self._engine.wait(WORK_CHANNEL, timeout_s)

    async def wait_for_endings(self, timeout_s: float) -> bool:
        """Wait until a revocation or a hold for the CA is queued, or until the timeout."""
        return await self._engine.wait(ENDINGS_CHANNEL, timeout_s)
