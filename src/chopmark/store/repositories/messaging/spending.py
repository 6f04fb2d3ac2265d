"""What each gateway sends and spends in a day, in rate limits that all processes share."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta

from chopmark.limits.budgets import RateLimit
from chopmark.messaging.configuration import SendLimits
from chopmark.store.repositories.rate_limits import RateLimitRepository

_DAY = timedelta(days=1)


class SpendingRepository:
    """Implements `messaging.failover.Spending` for gateways with these limits; the others have none."""

    def __init__(self, rate_limits: RateLimitRepository, limits: Mapping[str, SendLimits]) -> None:
        self._rate_limits = rate_limits
        self._limits = limits

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

    def _of(self, gateway: str, segments: int) -> tuple[RateLimit, ...]:
        """Return a use of the day's messages, and one of the day's SMS for each that is paid for."""
        known = self._limits.get(gateway, SendLimits())
        found: list[RateLimit] = []
        if known.per_day is not None:
            found.append(RateLimit(f"gateway:{gateway}:1d", known.per_day, _DAY))
        if known.spend_per_day is not None:
            paid = RateLimit(f"gateway-spend:{gateway}:1d", known.spend_per_day // known.price, _DAY)
            found += [paid] * segments
        return tuple(found)
