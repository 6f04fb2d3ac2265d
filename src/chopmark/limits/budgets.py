"""Budgets as data: how often something may happen in a window, and the port that counts it.

A budget is taken before the thing happens, by one conditional statement that either counts and answers yes or
leaves the counter alone and answers when to come back (reliability I11, I16, I41).
"""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Protocol


@dataclass(frozen=True, slots=True)
class Budget:
    """At most `limit` within `window`, counted under `name`; the window opens with its first use."""

    name: str
    limit: int
    window: timedelta


@dataclass(frozen=True, slots=True)
class Spent:
    """A budget is used up until `retry_after_s` seconds from now."""

    name: str
    retry_after_s: int


class Counters(Protocol):
    """Counts budgets durably; shared by all nodes."""

    async def take(self, budgets: tuple[Budget, ...], now: datetime) -> Spent | None:
        """Charge every budget once, or none of them: the first that is used up comes back."""
        ...

    async def give_back(self, budgets: tuple[Budget, ...]) -> None:
        """Return one use of each budget; never below zero."""
        ...
