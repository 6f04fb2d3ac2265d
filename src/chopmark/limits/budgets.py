"""Rate limits as data: how often something may happen in a window, and the port that counts it.

A rate limit is taken before the thing happens, by one conditional statement that either counts and answers yes or
leaves the counter alone and answers when to come back (reliability I11, I16, I41).
"""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final, Protocol

LONGEST: Final = timedelta(days=1)
"""The longest window, but for a year's: the counter of a year says so at the end of its name, because it is kept."""
A_YEAR: Final = ":1y"


@dataclass(frozen=True, slots=True)
class RateLimit:
    """At most `limit` within `window`, counted under `name`; the window opens with its first use."""

    name: str
    limit: int
    window: timedelta

    def __post_init__(self) -> None:
        """Raise ValueError for a window that outlives its counter: old counters are deleted by their names."""
        if self.window > (timedelta(days=365) if self.name.endswith(A_YEAR) else LONGEST):
            raise ValueError(f"the window of {self.name!r} is longer than its counter is kept")


@dataclass(frozen=True, slots=True)
class Spent:
    """A rate limit is used up until `retry_after_s` seconds from now."""

    name: str
    retry_after_s: int


class RateLimits(Protocol):
    """Counts rate limits durably; shared by all nodes."""

    async def take(self, limits: tuple[RateLimit, ...], now: datetime) -> Spent | None:
        """Charge every rate limit once, or none of them: the first that is used up comes back."""
        ...

    async def give_back(self, limits: tuple[RateLimit, ...]) -> None:
        """Return one use of each rate limit; never below zero."""
        ...
