"""The verb behind `chopmark db restored`: ends the state in which the database is behind what lies outside it.

An older copy of the database makes things good again that are over: codes that were used, tickets that were taken,
sessions that were closed. What a journal outside the database knows is entered again (`Reentry`); the rest is void.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from enum import StrEnum
from typing import Protocol

from chopmark.audit.events import Event
from chopmark.audit.head import Head
from chopmark.audit.log import ATTEMPTS, AuditLog, RecordBuilder
from chopmark.audit.losscheck import RESTORED_CHAIN
from chopmark.audit.record import AuditRecord
from chopmark.audit.standing import Behind
from chopmark.audit.succession import EVERYTHING, Files, Overtaken, RestoredLedger, stand, succeed
from chopmark.core.clock import Clock
from chopmark.core.refusal import Kind, Refusal, Refused
from chopmark.core.types import text
from chopmark.ra.reentry import ReentryLine

HOLDER = "chopmark db restored"


class Voided(StrEnum):
    """What the lost time may have used up, kind by kind: none of it works any more, and new ones are given at once."""

    CODES = "codes"  # with them the messages that would carry them: the worker closes those as void
    TICKETS = "launch_tickets"
    SESSIONS = "sessions"
    NONCES = "nonces"
    CREDENTIALS = "credentials"
    SLIPS = "approval_slips"
    ANSWERS = "repeated_requests"


class Reentry(Protocol):
    """What is known outside the database, and is entered or applied again; safe to call again after any failure."""

    async def lost(self) -> bool:
        """Tell whether a certificate is known outside of which the database knows nothing: no crash does that."""
        ...

    async def plan(self) -> Sequence[ReentryLine]:
        """Return what would be entered or applied; changes nothing."""
        ...

    async def apply(self) -> Sequence[ReentryLine]:
        """Enter and apply it, each with its record; return what was."""
        ...


class Voids(Protocol):
    """The store's part: each call is one transaction."""

    async def counts(self) -> Mapping[Voided, int]:
        """Return how many of each kind would be void."""
        ...

    async def void(self, kind: Voided, count: int, record: AuditRecord) -> bool:
        """End all of a kind, with the record; False, and nothing has happened, when they are not `count`."""
        ...

    async def renew_status(self, now: datetime) -> None:
        """Have every OCSP answer and every list signed anew, due from now on, with higher numbers."""
        ...

    async def free_leases(self, above: int) -> None:
        """End every lease; the next holder of each has a fencing number higher than `above`."""
        ...

    async def tell(self, record: AuditRecord) -> bool:
        """Append the record."""
        ...


@dataclass(frozen=True, slots=True)
class Loss:
    """What is lost, and what will be or was done about it; no `lost_at` where no signed head is lost, only seconds."""

    kept: int
    kept_at: datetime | None
    lost: int
    lost_at: datetime | None
    reentered: tuple[ReentryLine, ...]
    voided: Mapping[Voided, int]


@dataclass(frozen=True, slots=True)
class Ended:
    """The database is whole again; no `loss` where a run before had done all but the last step.

    No successor where no signed head was lost: then the tree goes on by itself.
    """

    successor: Head | None
    loss: Loss | None


class Restoring:
    """Looks at a database that may have been restored, and goes on from it."""

    def __init__(
        self,
        ledger: RestoredLedger,
        files: Files,
        voids: Voids,
        reentry: Reentry,
        audit_log: AuditLog,
        clock: Clock,
    ) -> None:
        self.ledger = ledger
        self.files = files
        self.voids = voids
        self._reentry = reentry
        self._audit_log = audit_log
        self._clock = clock

    async def plan(self) -> Loss | None:
        """Return what a restore has lost and what would be done; None for a whole database. Changes nothing.

        Raises LedgerBroken where heads contradict the key, and OSError.
        """
        behind = await self._behind()
        if behind is None and not await self._reentry.lost():
            return None
        return await self._loss(behind, await self._reentry.plan(), await self.voids.counts())

    async def end(self, by: str, reason: str) -> Ended | None:
        """Declare the restore and end the state; None for a database that is whole. Safe to call again.

        1. what the lost time may have used up is void; answers and lists are signed anew
        2. fencing numbers rise above any that the lost time has given
        3. the record of the restore
        4. what lies outside the database is entered and applied again
        5. the successor over everything that waits

        The state ends with the last two: a run that dies before is made whole by the next one.

        Raises LedgerBroken, OSError, and Refused when somebody else is at it as well.
        """
        behind = await self._behind()
        if behind is None and not await self._reentry.lost():
            left = await self._succeed()
            return None if left is None else Ended(left, None)
        voided = {kind: await self._void(kind, by) for kind in Voided}  # 1
        await self.voids.renew_status(self._clock.now())
        if behind is not None:
            await self.voids.free_leases(behind.lost_head.draft.fencing)  # 2
        loss = await self._loss(behind, await self._reentry.plan(), voided)
        if not await self._is_told(loss):
            await self._tell(loss, by, reason)  # 3
        loss = replace(loss, reentered=tuple(await self._reentry.apply()))  # 4
        successor = await self._succeed()  # 5
        if (successor is None) != (behind is None):
            raise Refused(_BUSY)
        return Ended(successor, loss)

    async def _behind(self) -> Behind | None:
        standing = (await stand(self.ledger, self.files)).standing
        return standing if isinstance(standing, Behind) else None

    async def _loss(self, behind: Behind | None, lines: Sequence[ReentryLine], voided: Mapping[Voided, int]) -> Loss:
        latest = await self.ledger.latest_head()
        kept_at = None if latest is None else latest[0].draft.at
        if behind is None:
            size = 0 if latest is None else latest[0].size
            return Loss(size, kept_at, size, None, tuple(lines), voided)
        lost = behind.lost_head
        return Loss(behind.kept_size, kept_at, lost.size, lost.draft.at, tuple(lines), voided)

    async def _void(self, kind: Voided, by: str) -> int:
        for _ in range(ATTEMPTS):
            count = (await self.voids.counts())[kind]
            if not count or await self._void_counted(kind, count, by):
                return count
        raise Refused(_BUSY)

    async def _void_counted(self, kind: Voided, count: int, by: str) -> bool:
        async def attempt(builder: RecordBuilder) -> bool:
            record = builder.record(Event.AUDIT_SECRETS_VOIDED, by=by, purpose=kind.value, count=count)
            return await self.voids.void(kind, count, record)

        return await self._audit_log.write(RESTORED_CHAIN, attempt)

    async def _is_told(self, loss: Loss) -> bool:
        """Tell whether a run before has written the record of this restore: it waits, or it would be in a tree."""
        for record in await self.ledger.unsequenced(EVERYTHING):
            if record.chain == RESTORED_CHAIN and record.event == Event.AUDIT_LEDGER_RESTORED:
                facts = json.loads(record.facts)
                if (facts.get("kept"), facts.get("lost")) == (loss.kept, loss.lost):
                    return True
        return False

    async def _tell(self, loss: Loss, by: str, reason: str) -> None:
        async def attempt(builder: RecordBuilder) -> bool:
            told = {"kept": loss.kept, "lost": loss.lost, "count": len(loss.reentered)}
            return await self.voids.tell(builder.record(Event.AUDIT_LEDGER_RESTORED, by=by, reason=reason, **told))

        await self._audit_log.write(RESTORED_CHAIN, attempt)

    async def _succeed(self) -> Head | None:
        try:
            return await succeed(self.ledger, self.files, now=self._clock.now(), holder=HOLDER)
        except Overtaken as overtaken:
            raise Refused(_BUSY) from overtaken


_BUSY = Refusal(
    Kind.CONFLICT,
    text("Somebody else is working on the restored database. Please run the command again."),
    code="restoring",
)
