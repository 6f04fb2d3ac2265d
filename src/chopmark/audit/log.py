"""Writing a record in the change's own transaction: read the chain's version, seal outside, try, read again.

A store call that gets a record guards its insert by the chain's version; when somebody was faster it raises
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
from chopmark.audit.record import AuditKey, AuditRecord, StreamId, Tip, make_record, next_tip
from chopmark.core.clock import Clock
from chopmark.core.refusal import Kind, Refusal, Refused
from chopmark.core.types import text

T = TypeVar("T")
ATTEMPTS = 8
KNOWN_FOR = timedelta(milliseconds=500)
MOST_KNOWN = 4096
_NOTHING: Mapping[str, Fact] = MappingProxyType({})


class StaleStream(Exception):
    """The chain grew since its tip was read; the transaction was rolled back."""


class Tips(Protocol):
    """Reads the newest record of a chain."""

    async def tip(self, chain: StreamId) -> Tip:
        """Return the chain's tip; version 0 when it has no record yet."""
        ...


class RecordBuilder:
    """Makes records that continue one tip, at one moment. Records that name who acted (`by`) also carry `beside`."""

    __slots__ = ("_at", "_beside", "_key", "_tip", "first")

    def __init__(self, tip: Tip, at: datetime, key: AuditKey, beside: Mapping[str, Fact] = _NOTHING) -> None:
        self._tip = tip
        self._at = at
        self._key = key
        self._beside = beside
        self.first: AuditRecord | None = None

    def record(self, event: Event, **facts: Fact) -> AuditRecord:
        """Return a record that continues the tip; of several alternatives one is written, as a rule the first."""
        record = self.otherwise(event, **facts)
        self.first = self.first or record
        return record

    def otherwise(self, event: Event, **facts: Fact) -> AuditRecord:
        """Return a record for an ending that is not the rule, where the rule writes none."""
        told = {**self._beside, **facts} if facts.get("by") else facts
        return make_record(self._tip, event, told, self._at, self._key)

    def after(self, record: AuditRecord) -> "RecordBuilder":
        """Return a record builder that continues `record`, for a transaction that writes both."""
        return RecordBuilder(next_tip(record), self._at, self._key, self._beside)


class AuditLog:
    """Lets a verb write its change and its record together, again when the chain has moved.

    A tip that was read or written a moment ago is tried before the store is asked: a guess, which costs a second
    attempt where it is wrong, because the change is guarded by the chain's tip.
    """

    def __init__(self, tips: Tips, key: AuditKey, clock: Clock) -> None:
        self._tips = tips
        self._key = key
        self._clock = clock
        self._known: dict[StreamId, tuple[Tip, datetime]] = {}
        self._turns: WeakValueDictionary[StreamId, asyncio.Lock] = WeakValueDictionary()
        self._beside: Mapping[str, Fact] = _NOTHING

    def at_console(self, os_user: str) -> None:
        """From now on each record that names who acted also names this user of the operating system.

        A name that is typed proves nothing; who was signed in on the machine is a second trace.
        """
        self._beside = {"os_user": os_user}

    def builder(self, tip: Tip, at: datetime) -> RecordBuilder:
        """Return a record builder for a caller that reads its tips and writes its records itself."""
        return RecordBuilder(tip, at, self._key, self._beside)

    def know(self, tip: Tip) -> None:
        """Remember for a moment that this is a chain's tip."""
        self._known.pop(tip.chain, None)
        self._known[tip.chain] = tip, self._clock.now()
        if len(self._known) > MOST_KNOWN:
            del self._known[next(iter(self._known))]

    async def _tip(self, chain: StreamId) -> Tip:
        tip, at = self._known.pop(chain, (None, None))
        if tip is not None and at is not None and abs(self._clock.now() - at) <= KNOWN_FOR:
            return tip
        return await self._tips.tip(chain)

    async def write(self, chain: StreamId, attempt: Callable[[RecordBuilder], Awaitable[T]]) -> T:
        """Return what `attempt` returned with a record builder whose record was accepted.

        Those who write to one chain through this audit log take turns, so that only other processes can be faster;
        an attempt must not write to its own chain again. Raises Refused (CONFLICT) when eight attempts in a row
        found the chain moved.
        """
        turn = self._turns.setdefault(chain, asyncio.Lock())
        async with turn:
            for _ in range(ATTEMPTS):
                tip = await self._tip(chain)
                builder = self.builder(tip, self._clock.now())
                try:
                    answer = await attempt(builder)
                except StaleStream:
                    continue
                if not isinstance(answer, Refusal):
                    self.know(tip if builder.first is None or answer is False else next_tip(builder.first))
                return answer
        raise Refused(
            Refusal(Kind.CONFLICT, text("Too much is happening at once here. Please try again."), code="busy")
        )
