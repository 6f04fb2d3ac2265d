"""The worker's job that tells operators what is wrong: each alarm by one worker, over every way that the firm has."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from datetime import datetime
from hashlib import sha256

import structlog

from chopmark.core.clock import Clock
from chopmark.core.each import each, outcomes
from chopmark.messaging.alarms import AlarmStore, Due, Note, Teller, written
from chopmark.messaging.ports import FaultReason

LONGEST_S = 60.0
"""So long one way to operators may take with one alarm; a mail is given up after half of it."""
LEASE_S = 120
"""So long no other worker tells an alarm. It is renewed before each way, because those before it may have been slow."""
EVERY_S = 5.0
Look = Callable[[datetime], Awaitable[None]]
"""Looks whether something is wrong or well again, and raises it."""

log = structlog.get_logger()


class OperatorsTold:
    """Looks for what is wrong, and tells operators what is due."""

    def __init__(
        self, store: AlarmStore, tellers: Sequence[Teller], looks: Sequence[Look], clock: Clock, installation: str
    ) -> None:
        self._store = store
        self._tellers = tellers
        self._looks = looks
        self._clock = clock
        self._installation = installation

    async def once(self) -> int:
        """Tell what is due; return how many alarms were told. What nobody took is told again when its lease is over.

        A look that fails keeps no other from being had, and no alarm from being told.
        """
        looked = await outcomes(self._looks, lambda look: look(self._clock.now()))
        told = await each(await self._store.claim(self._clock.now(), LEASE_S), self._tell)
        for _, failure in looked:
            if failure is not None:
                raise failure
        return sum(told)

    async def _tell(self, due: Due) -> bool:
        """Tell one alarm, unless it was over before it was told; False when nobody took it."""
        told = (due.over and not due.told) or await self._told(due)
        if told:
            await self._store.said(due, self._clock.now())
        return told

    async def _told(self, due: Due) -> bool:
        """Tell one alarm over every way; True when one of them took it.

        While the alarms before it were told its lease may have run out. If another worker has it by now, that one
        tells it.
        """
        note, at, taken = written(due, self._installation), self._clock.now(), False
        for place, teller in enumerate(self._tellers, 1):
            renewed = await self._store.renew(due, self._clock.now(), LEASE_S)
            if renewed is None:
                break
            due = renewed
            taken = await _tell_over(teller, place, note, at) is None or taken
        return taken


async def tell(tellers: Sequence[Teller], note: Note, at: datetime) -> list[tuple[str, str | None]]:
    """Send a note over every way; return each way's name, and why it did not take the note, or None."""
    return [(teller.name, await _tell_over(teller, place, note, at)) for place, teller in enumerate(tellers, 1)]


async def _tell_over(teller: Teller, place: int, note: Note, at: datetime) -> str | None:
    """Send a note over one way, the `place`-th; return why it did not take the note, or None."""
    number = sha256(f"{note.subject} {note.text} {at.isoformat()}".encode()).hexdigest()[:24]
    try:
        async with asyncio.timeout(LONGEST_S):
            fault = await teller.tell(note, number, at)
    except TimeoutError:
        fault = FaultReason.TIMEOUT.value
    if fault is not None:
        log.error("an alarm was not taken", code="alarm.not_taken", kind=fault, count=place)
    return fault
