"""Writes an audit record in the same transaction as the change that it records.

The audit log reads the newest record of the stream (its tip), builds the next record outside the transaction, and lets
the caller store change and record together. The store inserts the record only if the stream's version is still the
expected one. If another writer was faster, the store raises StaleStream and rolls back; the audit log then tries again
with the newer tip (architecture rule 9).
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
    """The stream has grown since its tip was read; the transaction was rolled back."""


class Tips(Protocol):
    """Reads the newest record of a stream."""

    async def tip(self, stream: StreamId) -> Tip:
        """Return the stream's tip; version 0 when it has no record yet."""
        ...


class RecordBuilder:
    """Makes records that continue one tip, with one time.

    A record that names who acted (`by`) also gets the facts of `beside`.
    """

    __slots__ = ("_at", "_beside", "_key", "_tip", "first")

    def __init__(self, tip: Tip, at: datetime, key: AuditKey, beside: Mapping[str, Fact] = _NOTHING) -> None:
        self._tip = tip
        self._at = at
        self._key = key
        self._beside = beside
        self.first: AuditRecord | None = None

    def record(self, event: Event, **facts: Fact) -> AuditRecord:
        """Return the record for the expected outcome of the change.

        The caller writes only one of the records that it gets here. The audit log assumes that it is the first one; if
        it is another, the next write to the stream needs a second attempt.
        """
        record = self.otherwise(event, **facts)
        self.first = self.first or record
        return record

    def otherwise(self, event: Event, **facts: Fact) -> AuditRecord:
        """Return a record for an unexpected outcome, where the expected outcome writes no record."""
        told = {**self._beside, **facts} if facts.get("by") else facts
        return make_record(self._tip, event, told, self._at, self._key)

    def after(self, record: AuditRecord) -> "RecordBuilder":
        """Return a builder whose records follow `record`, for a transaction that writes both."""
        return RecordBuilder(next_tip(record), self._at, self._key, self._beside)


class AuditLog:
    """Writes a change and its record together, and tries again when another writer was faster.

    A tip that was read or written less than KNOWN_FOR ago is used without asking the store. If it is out of date, the
    store refuses the record, and the change needs a second attempt.
    """

    def __init__(self, tips: Tips, key: AuditKey, clock: Clock) -> None:
        self._tips = tips
        self._key = key
        self._clock = clock
        self._known: dict[StreamId, tuple[Tip, datetime]] = {}
        self._turns: WeakValueDictionary[StreamId, asyncio.Lock] = WeakValueDictionary()
        self._beside: Mapping[str, Fact] = _NOTHING

    def at_console(self, os_user: str) -> None:
        """Add this operating-system user to each later record that names who acted.

        The name of the acting person is only typed in and proves nothing; the signed-in user is a second trace.
        """
        self._beside = {"os_user": os_user}

    def builder(self, tip: Tip, at: datetime) -> RecordBuilder:
        """Return a record builder for a caller that itself reads the tips and writes the records."""
        return RecordBuilder(tip, at, self._key, self._beside)

    def know(self, tip: Tip) -> None:
        """Remember for KNOWN_FOR that this is the tip of its stream."""
        self._known.pop(tip.stream, None)
        self._known[tip.stream] = tip, self._clock.now()
        if len(self._known) > MOST_KNOWN:
            del self._known[next(iter(self._known))]

    async def _tip(self, stream: StreamId) -> Tip:
        tip, at = self._known.pop(stream, (None, None))
        if tip is not None and at is not None and abs(self._clock.now() - at) <= KNOWN_FOR:
            return tip
        return await self._tips.tip(stream)

    async def write(self, stream: StreamId, attempt: Callable[[RecordBuilder], Awaitable[T]]) -> T:
        """Call `attempt` with a record builder until the store accepts the record, and return what it returned.

        Within one process, calls for the same stream run one after the other, so only other processes can be faster. An
        attempt must therefore not call `write` for its own stream. Raises Refused (CONFLICT) when another process was
        faster eight times in a row.
        """
        turn = self._turns.setdefault(stream, asyncio.Lock())
        async with turn:
            for _ in range(ATTEMPTS):
                tip = await self._tip(stream)
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
