"""Telling the CA what the RA has revoked or put on hold; the RA does so at once, and this job if that failed."""

from datetime import UTC, datetime, timedelta

from chopmark.audit.record import AuditRecord
from chopmark.core.clock import Clock
from chopmark.core.each import outcomes
from chopmark.core.refusal import Refused
from chopmark.core.types import Serial
from chopmark.messaging.ports import Outbox, OutboxJob, OutboxJobKind
from chopmark.ra.revocation import Revocation
from chopmark.ra.suspension import Suspension

BATCH = 10
LEASE_S = 2
"""How long a claimed row is kept from other workers, in seconds.

If a worker dies with a revocation, another one takes it over after this time, so that it is published within five
seconds. If a CA takes longer to answer, two workers may tell it the same; a second time changes nothing (I25).
"""
LONGEST_WAIT_S = 300
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
MOST_KEPT = timedelta(days=31)
"""No policy keeps an old certificate for longer; a row that asks for more was written by a clock that ran ahead.

Such a row is carried out at once.
"""


class Endings:
    """Tells the CA of revocations and holds; safe to repeat, and any number of workers may run it."""

    def __init__(
        self, works: Outbox[AuditRecord], revocation: Revocation, suspension: Suspension, clock: Clock, holder: str
    ) -> None:
        self._works = works
        self._revocation = revocation
        self._suspension = suspension
        self._clock = clock
        self._holder = holder

    async def once(self) -> int:
        """Tell the CA what is queued, and return how many outbox rows were claimed.

        A row that fails is tried again, after a longer wait each time, and keeps no other row from being told.
        """
        kinds = OutboxJobKind.REVOKE, OutboxJobKind.HOLD
        works = await self._works.claim(kinds, BATCH, self._holder, self._clock.now(), LEASE_S)
        tried = await outcomes(works, self._tell)
        told = [work for work, outcome in tried if outcome is True]
        if told:
            await self._works.done_all(told, self._holder, self._clock.now(), "told")
        failed = [(work, outcome) for work, outcome in tried if isinstance(outcome, BaseException)]
        for work, failure in failed:
            await self._later(work, type(failure).__name__)
        if failed:
            raise failed[0][1]
        return len(works)

    async def _tell(self, work: OutboxJob) -> bool:
        """Tell the CA of one row; False when it is too early or the CA refuses, and then the row is due again later."""
        now = self._clock.now()
        left = timedelta(milliseconds=int(work.facts.get("after") or 0)) - (now - EPOCH)
        if timedelta(0) < left <= MOST_KEPT:
            await self._works.retry(work, self._holder, now + min(left, timedelta(minutes=30)), "kept")
            return False
        serial = Serial(str(work.facts["serial"]))
        try:
            if work.kind is OutboxJobKind.HOLD:
                await self._suspension.at_ca(serial)
            else:
                await self._revocation.at_ca(serial, str(work.facts["reason"]))
        except Refused as refused:
            await self._later(work, refused.refusal.kind.value)
            return False
        return True

    async def _later(self, work: OutboxJob, why: str) -> None:
        wait = timedelta(seconds=min(LONGEST_WAIT_S, 2**work.attempts))
        await self._works.retry(work, self._holder, self._clock.now() + wait, why)
