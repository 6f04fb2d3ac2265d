"""The verb behind `chopmark db restored`: makes a restored, older copy of the database whole again.

In an older copy, codes that were used, launch tickets that were taken and sessions that were closed would be valid
again. What the journal outside the database has is entered again (`Reentry`). All secrets that may have been used up in
the lost time become void.
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
from chopmark.audit.losscheck import RESTORED_STREAM
from chopmark.audit.record import AuditRecord
from chopmark.audit.standing import Behind
from chopmark.audit.succession import EVERYTHING, Files, Overtaken, RestoredTreeRepository, stand, succeed
from chopmark.core.clock import Clock
from chopmark.core.refusal import Kind, Refusal, Refused
from chopmark.core.types import text
from chopmark.ra.reentry import ReentryLine

HOLDER = "chopmark db restored"


class Voided(StrEnum):
    """The kinds of secrets that may have been used up in the lost time; all become void, and new ones can be given."""

    CODES = "codes"  # the worker closes the messages that would carry them as void
    TICKETS = "launch_tickets"
    SESSIONS = "sessions"
    NONCES = "nonces"
    CREDENTIALS = "credentials"
    SLIPS = "approval_slips"
    ANSWERS = "repeated_requests"


class Reentry(Protocol):
    """Enters into the database what is known only outside it; safe to call again after any failure."""

    async def lost(self) -> bool:
        """Tell whether a certificate is known only outside the database; a crash cannot cause that."""
        ...

    async def plan(self) -> Sequence[ReentryLine]:
        """Return what would be entered or applied; changes nothing."""
        ...

    async def apply(self) -> Sequence[ReentryLine]:
        """Enter and apply it, each with its record; return what was entered and what could not be."""
        ...


class Voids(Protocol):
    """The store's part; each method is one transaction."""

    async def counts(self) -> Mapping[Voided, int]:
        """Return how many of each kind would become void."""
        ...

    async def void(self, kind: Voided, count: int, record: AuditRecord) -> bool:
        """Make all of a kind void and write the record; False, with nothing changed, if their number is not `count`."""
        ...

    async def renew_status(self, now: datetime) -> None:
        """Have every OCSP answer and every revocation list signed anew from now on, with higher numbers."""
        ...

    async def free_leases(self, above: int) -> None:
        """End every lease; the next holder of each gets a fencing number higher than `above`."""
        ...

    async def tell(self, record: AuditRecord) -> bool:
        """Append the record."""
        ...


@dataclass(frozen=True, slots=True)
class Loss:
    """What is lost, and what will be or was done about it.

    `kept` and `lost` are sizes of the audit tree: what the database still has, and what was signed before. `lost_at` is
    None if no signed tree head is lost, so that only seconds can be missing.
    """

    kept: int
    kept_at: datetime | None
    lost: int
    lost_at: datetime | None
    reentered: tuple[ReentryLine, ...]
    voided: Mapping[Voided, int]


@dataclass(frozen=True, slots=True)
class Ended:
    """The database is whole again; `loss` is None if an earlier run had done all but the last step.

    `successor` is None if no signed tree head was lost: then the tree continues as usual.
    """

    successor: Head | None
    loss: Loss | None


class Restoring:
    """Finds out what a restored database has lost, and makes it whole again."""

    def __init__(
        self,
        repository: RestoredTreeRepository,
        files: Files,
        voids: Voids,
        reentry: Reentry,
        audit_log: AuditLog,
        clock: Clock,
    ) -> None:
        self.repository = repository
        self.files = files
        self.voids = voids
        self._reentry = reentry
        self._audit_log = audit_log
        self._clock = clock

    async def plan(self) -> Loss | None:
        """Return what a restore has lost and what would be done; None for a whole database. Changes nothing.

        Raises TreeBroken if signed tree heads do not fit the key, and OSError.
        """
        behind = await self._behind()
        if behind is None and not await self._reentry.lost():
            return None
        return await self._loss(behind, await self._reentry.plan(), await self.voids.counts())

    async def end(self, by: str, reason: str) -> Ended | None:
        """Record the restore and make the database whole; return None for a database that is whole. Safe to call again.

        If a run dies, the database still counts as restored, and the next run does what is missing. Raises
        TreeBroken, OSError, and Refused when somebody else does the same at this moment.
        """
        behind = await self._behind()
        if behind is None and not await self._reentry.lost():
            left = await self._succeed()
            return None if left is None else Ended(left, None)
        # 1. What may have been used up in the lost time becomes void; OCSP answers and lists are signed anew.
        voided = {kind: await self._void(kind, by) for kind in Voided}
        await self.voids.renew_status(self._clock.now())
        # 2. Fencing numbers rise above all that were given in the lost time.
        if behind is not None:
            await self.voids.free_leases(behind.lost_head.draft.fencing)
        # 3. The record of the restore, unless an earlier run has written it.
        loss = await self._loss(behind, await self._reentry.plan(), voided)
        if not await self._is_told(loss):
            await self._tell(loss, by, reason)
        # 4. What is known only outside the database is entered again.
        loss = replace(loss, reentered=tuple(await self._reentry.apply()))
        # 5. A new signed tree head, the successor of the lost one, over all records that wait.
        successor = await self._succeed()
        if (successor is None) != (behind is None):
            raise Refused(_BUSY)
        return Ended(successor, loss)

    async def _behind(self) -> Behind | None:
        standing = (await stand(self.repository, self.files)).standing
        return standing if isinstance(standing, Behind) else None

    async def _loss(self, behind: Behind | None, lines: Sequence[ReentryLine], voided: Mapping[Voided, int]) -> Loss:
        latest = await self.repository.latest_head()
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

        return await self._audit_log.write(RESTORED_STREAM, attempt)

    async def _is_told(self, loss: Loss) -> bool:
        """Tell whether an earlier run has written the record of this restore; it has no place in the tree yet."""
        for record in (await self.repository.unsequenced(EVERYTHING)).records:
            if record.stream == RESTORED_STREAM and record.event == Event.AUDIT_LEDGER_RESTORED:
                facts = json.loads(record.facts)
                if (facts.get("kept"), facts.get("lost")) == (loss.kept, loss.lost):
                    return True
        return False

    async def _tell(self, loss: Loss, by: str, reason: str) -> None:
        async def attempt(builder: RecordBuilder) -> bool:
            told = {"kept": loss.kept, "lost": loss.lost, "count": len(loss.reentered)}
            return await self.voids.tell(builder.record(Event.AUDIT_LEDGER_RESTORED, by=by, reason=reason, **told))

        await self._audit_log.write(RESTORED_STREAM, attempt)

    async def _succeed(self) -> Head | None:
        try:
            return await succeed(self.repository, self.files, now=self._clock.now(), holder=HOLDER)
        except Overtaken as overtaken:
            raise Refused(_BUSY) from overtaken


_BUSY = Refusal(
    Kind.CONFLICT,
    text("Somebody else is working on the restored database. Please run the command again."),
    code="restoring",
)
