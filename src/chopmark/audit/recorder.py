"""Writing a leaf in the change's own transaction: read the chain's version, seal outside, try, read again.

A store call that gets a leaf guards its insert by the chain's version; when somebody was faster it raises
StaleChain, nothing is kept, and the attempt is made anew with the newer tip (architecture rule 9).
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from datetime import datetime, timedelta
from types import MappingProxyType
from typing import Protocol, TypeVar
from weakref import WeakValueDictionary

from chopmark.audit.events import Event
from chopmark.audit.facts import Fact
from chopmark.audit.leaf import AuditKey, ChainId, Leaf, Tip, make_leaf, next_tip
from chopmark.core.clock import Clock
from chopmark.core.refusal import Kind, Refusal, Refused
from chopmark.core.types import text

T = TypeVar("T")
ATTEMPTS = 8
KNOWN_FOR = timedelta(milliseconds=500)
MOST_KNOWN = 4096
_NOTHING: Mapping[str, Fact] = MappingProxyType({})


class StaleChain(Exception):
    """The chain grew since its tip was read; the transaction was rolled back."""


class Tips(Protocol):
    """Reads the newest leaf of a chain."""

    async def tip(self, chain: ChainId) -> Tip:
        """Return the chain's tip; version 0 when it has no leaf yet."""
        ...


class Pen:
    """Makes leaves that continue one tip, at one moment; one that names who acted (`by`) also says what is `beside`."""

    __slots__ = ("_at", "_beside", "_key", "_tip", "first")

    def __init__(self, tip: Tip, at: datetime, key: AuditKey, beside: Mapping[str, Fact] = _NOTHING) -> None:
        self._tip = tip
        self._at = at
        self._key = key
        self._beside = beside
        self.first: Leaf | None = None

    def leaf(self, event: Event, **facts: Fact) -> Leaf:
        """Return a leaf that continues the tip; of several alternatives one is written, as a rule the first."""
        leaf = self.otherwise(event, **facts)
        self.first = self.first or leaf
        return leaf

    def otherwise(self, event: Event, **facts: Fact) -> Leaf:
        """Return a leaf for an ending that is not the rule, where the rule writes none."""
        told = {**self._beside, **facts} if facts.get("by") else facts
        return make_leaf(self._tip, event, told, self._at, self._key)

    def after(self, leaf: Leaf) -> "Pen":
        """Return a pen that continues `leaf`, for a transaction that writes both."""
        return Pen(next_tip(leaf), self._at, self._key, self._beside)


class Recorder:
    """Lets a verb write its change and its leaf together, again when the chain has moved.

    A tip that was read or written a moment ago is tried before the store is asked: a guess, which costs a second
    attempt where it is wrong, because the change is guarded by the chain's tip.
    """

    def __init__(self, tips: Tips, key: AuditKey, clock: Clock) -> None:
        self._tips = tips
        self._key = key
        self._clock = clock
        self._known: dict[ChainId, tuple[Tip, datetime]] = {}
        self._turns: WeakValueDictionary[ChainId, asyncio.Lock] = WeakValueDictionary()
        self._beside: Mapping[str, Fact] = _NOTHING

    def at_console(self, os_user: str) -> None:
        """From now on each leaf that names who acted also names this user of the operating system.

        A name that is typed proves nothing; who was signed in on the machine is a second trace.
        """
        self._beside = {"os_user": os_user}

    def pen(self, tip: Tip, at: datetime) -> Pen:
        """Return a pen for a caller that reads its tips and writes its leaves itself."""
        return Pen(tip, at, self._key, self._beside)

    def know(self, tip: Tip) -> None:
        """Remember for a moment that this is a chain's tip."""
        self._known.pop(tip.chain, None)
        self._known[tip.chain] = tip, self._clock.now()
        if len(self._known) > MOST_KNOWN:
            del self._known[next(iter(self._known))]

    async def _tip(self, chain: ChainId) -> Tip:
        tip, at = self._known.pop(chain, (None, None))
        if tip is not None and at is not None and abs(self._clock.now() - at) <= KNOWN_FOR:
            return tip
        return await self._tips.tip(chain)

    async def write(self, chain: ChainId, attempt: Callable[[Pen], Awaitable[T]]) -> T:
        """Return what `attempt` returned with a pen whose leaf was accepted.

        Those who write to one chain through this recorder take turns, so that only other processes can be faster;
        an attempt must not write to its own chain again. Raises Refused (CONFLICT) when eight attempts in a row
        found the chain moved.
        """
        turn = self._turns.setdefault(chain, asyncio.Lock())
        async with turn:
            for _ in range(ATTEMPTS):
                tip = await self._tip(chain)
                pen = self.pen(tip, self._clock.now())
                try:
                    answer = await attempt(pen)
                except StaleChain:
                    continue
                if not isinstance(answer, Refusal):
                    self.know(tip if pen.first is None or answer is False else next_tip(pen.first))
                return answer
        raise Refused(
            Refusal(Kind.CONFLICT, text("Too much is happening at once here. Please try again."), code="busy")
        )
