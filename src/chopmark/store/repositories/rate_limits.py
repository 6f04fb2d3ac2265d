"""Rate limits, and the number of failed sign-ins in a row. Each is one conditional statement."""

from __future__ import annotations

from datetime import datetime

from chopmark.audit.record import AuditRecord
from chopmark.core.types import CustomerId
from chopmark.identity.entries import CLOSES_AT, Way
from chopmark.limits.rate_limits import RateLimit, Spent
from chopmark.store.engine.columns import AHEAD, ms, span
from chopmark.store.engine.port import Engine
from chopmark.store.engine.script import Query, Script, at_once, guard, query
from chopmark.store.repositories.records import write_with_record

_OVER = f"(counters.window_start <= :since OR counters.window_start > {AHEAD})"
"""A window that begins in the future was opened by a machine whose clock was wrong. It begins anew."""
_TAKE = f"""
INSERT INTO counters (name, window_start, used) VALUES (:name, :now, 1)
ON CONFLICT (name) DO UPDATE SET
  used = CASE WHEN {_OVER} THEN 1 ELSE counters.used + 1 END,
  window_start = CASE WHEN {_OVER} THEN :now ELSE counters.window_start END
WHERE {_OVER} OR counters.used < :most
RETURNING used
"""
_GIVE_BACK = "UPDATE counters SET used = used - 1 WHERE name = :name AND used > 0"
_START = "SELECT window_start FROM counters WHERE name = :name"
_CHARGE = """
INSERT INTO entries (subject, entry, failed, at) VALUES (:subject, :entry, 1, :now)
ON CONFLICT (subject, entry) DO UPDATE SET failed = entries.failed + 1, at = :now
WHERE entries.closed_at IS NULL AND entries.failed < :most
RETURNING failed
"""
_NOT_COMPARED = """
UPDATE entries SET failed = failed - 1
WHERE subject = :subject AND entry = :entry AND failed > 0 AND closed_at IS NULL
"""
_ANEW = "UPDATE entries SET failed = 0 WHERE subject = :subject AND entry = :entry AND closed_at IS NULL"
_CLOSE = """
UPDATE entries SET closed_at = :now
WHERE subject = :subject AND entry = :entry AND failed >= :most AND closed_at IS NULL RETURNING subject
"""
_REOPEN = """
UPDATE entries SET failed = 0, closed_at = NULL WHERE subject = :customer AND closed_at IS NOT NULL RETURNING entry
"""
OPEN_ALL = "UPDATE entries SET failed = 0, closed_at = NULL WHERE subject = :customer"


class _SpentBudget(Exception):
    """Rolls back, when one rate limit is used up, the ones that were taken before it."""

    def __init__(self, spent: Spent) -> None:
        super().__init__(spent.name)
        self.spent = spent


def take_each(limits: tuple[RateLimit, ...], now: datetime) -> Script[Spent | None]:
    """Take the rate limits in order. Return the first one that is used up; those before it stay taken.

    For use inside a larger script, which gives them back or rolls back.
    """
    for limit, take in zip(_in_order(limits), taken(limits, now), strict=True):
        rows = yield take
        if not rows:
            start = yield query(_START, name=limit.name)
            wait_ms = int(start[0]["window_start"]) + span(limit.window) - ms(now)
            return Spent(limit.name, max(1, -(-wait_ms // 1000)))
    return None


def taken(limits: tuple[RateLimit, ...], now: datetime) -> tuple[Query, ...]:
    """Return the guards that take the rate limits, for a bundle, always in one order (against deadlocks)."""
    return tuple(
        guard(_TAKE, name=limit.name, now=ms(now), since=ms(now) - span(limit.window), most=limit.limit)
        for limit in _in_order(limits)
    )


def _in_order(limits: tuple[RateLimit, ...]) -> list[RateLimit]:
    return sorted(limits, key=lambda b: b.name)


def give_back_each(limits: tuple[RateLimit, ...]) -> Script[None]:
    """Give one use of each rate limit back."""
    for limit in _in_order(limits):
        yield give_back(limit.name)


def give_back(name: str) -> Query:
    """Return the statement that gives one use of a rate limit back. It never goes below zero."""
    return query(_GIVE_BACK, name=name)


class RateLimitRepository:
    """Implements `limits.limits.RateLimits` and `identity.entries.Entries`."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    async def take(self, limits: tuple[RateLimit, ...], now: datetime) -> Spent | None:
        """Take one use of every rate limit, or of none."""

        def script() -> Script[None]:
            if (yield from at_once(*taken(limits, now))) is not None:
                return
            spent = yield from take_each(limits, now)
            if spent is not None:
                raise _SpentBudget(spent)

        try:
            await self._engine.run(script)
        except _SpentBudget as refused:
            return refused.spent
        return None

    async def give_back(self, limits: tuple[RateLimit, ...]) -> None:
        """Give one use of each rate limit back, also when its window has ended meanwhile."""
        await self._engine.run(give_back_each, limits)

    async def charge(self, way: Way, limits: tuple[RateLimit, ...], now: datetime) -> int | Spent | None:
        """Count an attempt as failed before it is compared, and take its rate limits. None when the entry is closed.

        An attempt at a closed entry uses up the rate limits as well.
        """
        entry = guard(_CHARGE, subject=way.subject, entry=way.entry.value, now=ms(now), most=CLOSES_AT)

        def script() -> Script[int | None]:
            done = yield from at_once(*taken(limits, now), entry)
            if done is not None:
                return int(done[-1][0]["failed"])
            spent = yield from take_each(limits, now)
            if spent is not None:
                raise _SpentBudget(spent)
            rows = yield entry
            return int(rows[0]["failed"]) if rows else None

        try:
            return await self._engine.run(script)
        except _SpentBudget as refused:
            return refused.spent

    async def uncharge(self, way: Way, limits: tuple[RateLimit, ...]) -> None:
        """Undo the count of an attempt that was not compared in the end."""
        await self._engine.run(self._settle, _NOT_COMPARED, way, limits)

    async def right(self, way: Way, limits: tuple[RateLimit, ...]) -> None:
        """Set the count to zero, unless the entry was closed meanwhile, and give the rate limits back."""
        await self._engine.run(self._settle, _ANEW, way, limits)

    @staticmethod
    def _settle(sql: str, way: Way, limits: tuple[RateLimit, ...]) -> Script[None]:
        backs = (query(_GIVE_BACK, name=limit.name) for limit in _in_order(limits))
        yield from at_once(*backs, query(sql, subject=way.subject, entry=way.entry.value))

    async def close(self, way: Way, now: datetime, record: AuditRecord) -> bool:
        """Close an entry that has failed too often. False when it is closed already."""
        close = guard(_CLOSE, subject=way.subject, entry=way.entry.value, now=ms(now), most=CLOSES_AT)

        def script() -> Script[bool]:
            return (yield from write_with_record(record, close)) is not None

        return await self._engine.run(script)

    async def reopen(self, customer: CustomerId, record: AuditRecord) -> bool:
        """Open all entries of the customer; False when none was closed."""

        def script() -> Script[bool]:
            return (yield from write_with_record(record, guard(_REOPEN, customer=customer))) is not None

        return await self._engine.run(script)
