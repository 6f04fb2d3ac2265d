"""Writing a leaf in the change's own transaction: read the chain's version, seal outside, try, read again.

A store call that gets a leaf guards its insert by the chain's version; when somebody was faster it raises
StaleChain, nothing is kept, and the attempt is made anew with the newer tip (architecture rule 9).
"""

import asyncio
from collections.abc import Awaitable, Callable
from datetime import datetime
from typing import Protocol, TypeVar
from weakref import WeakValueDictionary

from chopmark.audit.events import Event
from chopmark.audit.facts import Fact
from chopmark.audit.leaf import AuditKey, ChainId, Leaf, Tip, make_leaf, next_tip
from chopmark.clock import Clock
from chopmark.errors import Kind, Refusal, Refused
from chopmark.words import text

T = TypeVar("T")
ATTEMPTS = 8


class StaleChain(Exception):
    """The chain grew since its tip was read; the transaction was rolled back."""


class Tips(Protocol):
    """Reads the newest leaf of a chain."""

    async def tip(self, chain: ChainId) -> Tip:
        """Return the chain's tip; version 0 when it has no leaf yet."""
        ...


class Pen:
    """Makes leaves that continue one tip, at one moment."""

    __slots__ = ("_at", "_key", "_tip")

    def __init__(self, tip: Tip, at: datetime, key: AuditKey) -> None:
        self._tip = tip
        self._at = at
        self._key = key

    def leaf(self, event: Event, **facts: Fact) -> Leaf:
        """Return a leaf that continues the tip; of several alternatives the transaction writes one."""
        return make_leaf(self._tip, event, facts, self._at, self._key)

    def after(self, leaf: Leaf) -> "Pen":
        """Return a pen that continues `leaf`, for a transaction that writes both."""
        return Pen(next_tip(leaf), self._at, self._key)


class Recorder:
    """Lets a verb write its change and its leaf together, again when the chain has moved."""

    def __init__(self, tips: Tips, key: AuditKey, clock: Clock) -> None:
        self._tips = tips
        self._key = key
        self._clock = clock
        self._turns: WeakValueDictionary[ChainId, asyncio.Lock] = WeakValueDictionary()

    async def write(self, chain: ChainId, attempt: Callable[[Pen], Awaitable[T]]) -> T:
        """Return what `attempt` returned with a pen whose leaf was accepted.

        Those who write to one chain through this recorder take turns, so that only other processes can be faster;
        an attempt must not write to its own chain again. Raises Refused (CONFLICT) when eight attempts in a row
        found the chain moved.
        """
        turn = self._turns.setdefault(chain, asyncio.Lock())
        async with turn:
            for _ in range(ATTEMPTS):
                tip = await self._tips.tip(chain)
                try:
                    return await attempt(Pen(tip, self._clock.now(), self._key))
                except StaleChain:
                    continue
        raise Refused(
            Refusal(Kind.CONFLICT, text("Too much is happening at once here. Please try again."), code="busy")
        )
