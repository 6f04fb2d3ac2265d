"""Rate limits as data: how often something may happen within a window, and the port that counts it.

A rate limit is charged before the thing happens. One conditional statement either counts it, or leaves the counter
unchanged and tells when to come back (I11, I16, I41).
"""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final, Protocol

LONGEST: Final = timedelta(days=1)
"""The longest window of an ordinary rate limit; its counter is deleted after twice this time."""
A_YEAR: Final = ":1y"
"""The end of the name of a rate limit whose window may be a year; its counter is kept that long."""


@dataclass(frozen=True, slots=True)
class RateLimit:
    """At most `limit` uses within `window`, counted under `name`; the window begins with the first use."""

    name: str
    limit: int
    window: timedelta

    def __post_init__(self) -> None:
        """Raise ValueError if the window is longer than its counter is kept, which depends on the name."""
        if self.window > (timedelta(days=365) if self.name.endswith(A_YEAR) else LONGEST):
            raise ValueError(f"the window of {self.name!r} is longer than its counter is kept")


@dataclass(frozen=True, slots=True)
class Spent:
    """A rate limit that is used up; it can be used again in `retry_after_s` seconds."""

    name: str
    retry_after_s: int


class RateLimits(Protocol):
    """Counts the uses of rate limits durably, for all nodes together."""

    async def take(self, limits: tuple[RateLimit, ...], now: datetime) -> Spent | None:
        """Charge every rate limit once; if one is used up, charge none and return the first such one."""
        ...

    async def give_back(self, limits: tuple[RateLimit, ...]) -> None:
        """Take back one charge of each rate limit; a count never falls below zero."""
        ...
