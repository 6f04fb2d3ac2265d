"""What each gateway sends and spends in a day, in rate limits that all processes share."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Final

from chopmark.limits.rate_limits import RateLimit
from chopmark.messaging.configuration import Pumping, SendLimits
from chopmark.store.engine.columns import ms
from chopmark.store.engine.port import Engine
from chopmark.store.engine.script import Script, whole
from chopmark.store.repositories.rate_limits import RateLimitRepository

_DAY = timedelta(days=1)
ANSWERED_WITHIN: Final = timedelta(minutes=5)
LOOKS_EVERY: Final = timedelta(seconds=30)
_CODES = """
SELECT
  (SELECT COUNT(*) FROM challenges WHERE state <> 'consumed' AND created_at > :since AND created_at <= :until
    AND channel = 'mobile' AND sent_at IS NOT NULL) AS unanswered,
  (SELECT COUNT(*) FROM challenges WHERE state = 'consumed' AND created_at > :since AND created_at <= :until
    AND channel = 'mobile' AND sent_at IS NOT NULL) AS answered
"""


class SpendingRepository:
    """Implements `messaging.failover.Spending` for gateways with these limits; the others have none.

    With `percent`, what it counts may use so much of each limit, and the rest is left for codes.
    """

    def __init__(
        self, engine: Engine, limits: Mapping[str, SendLimits], *, percent: int = 100, pumping: Pumping | None = None
    ) -> None:
        self._engine = engine
        self._rate_limits = RateLimitRepository(engine)
        self._limits = limits
        self._percent = percent
        self._pumping = pumping or Pumping()
        self._looked_at: datetime | None = None
        self._pumped = False

    async def take(self, gateway: str, segments: int, now: datetime) -> bool:
        """As `Spending.take`."""
        limits = self._of(gateway, segments)
        if any(limit.limit <= 0 for limit in limits):
            return False
        return not limits or await self._rate_limits.take(limits, now) is None

    async def give_back(self, gateway: str, segments: int) -> None:
        """As `Spending.give_back`."""
        limits = self._of(gateway, segments)
        if limits:
            await self._rate_limits.give_back(limits)

    async def pumped(self, now: datetime) -> bool:
        """As `Spending.pumped`; what was found holds for half a minute in this process."""
        if self._looked_at is None or not self._looked_at <= now < self._looked_at + LOOKS_EVERY:
            self._looked_at, self._pumped = now, await self._engine.read(self._count, now)
        return self._pumped

    def _count(self, now: datetime) -> Script[bool]:
        rows = yield whole(_CODES, since=ms(now - self._pumping.watched), until=ms(now - ANSWERED_WITHIN))
        unanswered, answered = int(rows[0]["unanswered"]), int(rows[0]["answered"])
        return self._pumping.seen(unanswered + answered, answered)

    def _of(self, gateway: str, segments: int) -> tuple[RateLimit, ...]:
        """Return a use of the day's messages, and one of the day's SMS for each that is paid for."""
        found = self._within(gateway, segments, "gateway", 100)
        return found if self._percent == 100 else found + self._within(gateway, segments, "reminders", self._percent)

    def _within(self, gateway: str, segments: int, name: str, percent: int) -> tuple[RateLimit, ...]:
        known = self._limits.get(gateway, SendLimits())
        found: list[RateLimit] = []
        if known.per_day is not None:
            found.append(RateLimit(f"{name}:{gateway}:1d", known.per_day * percent // 100, _DAY))
        if known.spend_per_day is not None:
            paid = RateLimit(f"{name}-spend:{gateway}:1d", known.spend_per_day * percent // 100 // known.price, _DAY)
            found += [paid] * segments
        return tuple(found)
