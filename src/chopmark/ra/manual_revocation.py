"""Revocations at another CA whose protocol has no revocation, so that a person has to ask for them: open and done.

Nothing is sent to the CA here: two people at the firm confirm that it has revoked the certificate.
"""

from dataclasses import dataclass
from datetime import datetime
from typing import Final, Protocol

from chopmark.audit.events import Event
from chopmark.audit.log import RecordBuilder
from chopmark.audit.record import AuditRecord, order_stream
from chopmark.core.refusal import Kind, Refusal, Refused
from chopmark.core.types import IssuerId, OrderId, Serial, text
from chopmark.ra.context import RaContext
from chopmark.ra.refusals import two_people


@dataclass(frozen=True, slots=True)
class OpenManualRevocation:
    """A certificate that another CA has to revoke; `done_at` (aware UTC) and the two people are None until it has."""

    serial: Serial
    issuer: IssuerId
    order: OrderId
    attempt: int
    reason: str
    done_at: datetime | None = None
    by: str | None = None
    approved_by: str | None = None


class ManualRevocations(Protocol):
    """Stores the revocations that a person has to ask for."""

    async def listed(self) -> list[OpenManualRevocation]:
        """Return all of them: first the open ones, then those that are done, newest first."""
        ...

    async def done(
        self, one: OpenManualRevocation, now: datetime, by: str, approved_by: str, record: AuditRecord
    ) -> bool:
        """Store that it is done, and the record in the same transaction; False when it is not open any more."""
        ...


class ManualRevocation:
    """Lists such revocations and marks them as done."""

    def __init__(self, context: RaContext, records: ManualRevocations) -> None:
        self._context = context
        self._records = records

    async def listed(self) -> list[OpenManualRevocation]:
        """Return all of them: first the open ones, then those that are done, newest first."""
        return await self._records.listed()

    async def done(self, serial: Serial, by: str, approved_by: str) -> OpenManualRevocation:
        """Mark the revocation of this serial as done, which two people confirm, and return it.

        Raises Refused: NOT_FOUND for a serial that nobody was asked to revoke, CONFLICT when it is done already,
        MALFORMED and FORBIDDEN unless two different people are named (I32).
        """
        await two_people(self._context, by, approved_by, "revoked_by_hand")
        found = [one for one in await self._records.listed() if one.serial == serial]
        if not found:
            raise Refused(_NOT_ASKED)
        waiting, now = found[0], self._context.now()
        if waiting.done_at is not None:
            raise Refused(DONE_ALREADY)

        async def attempt(builder: RecordBuilder) -> bool:
            record = builder.record(
                Event.CA_CERTIFICATE_REVOKED,
                serial=serial,
                issuer=waiting.issuer,
                reason=waiting.reason,
                by=by,
                approved_by=approved_by,
            )
            return await self._records.done(waiting, now, by, approved_by, record)

        if not await self._context.audit_log.write(order_stream(waiting.order), attempt):
            raise Refused(DONE_ALREADY)
        return OpenManualRevocation(
            serial, waiting.issuer, waiting.order, waiting.attempt, waiting.reason, now, by, approved_by
        )


_NOT_ASKED = Refusal(
    Kind.NOT_FOUND,
    text(
        "No certificate with this serial number waits to be revoked by a person. `chopmark certificates by-hand` lists "
        "those that do."
    ),
    field="serial",
    code="not_waiting",
)
DONE_ALREADY: Final = Refusal(
    Kind.CONFLICT,
    text("This revocation was ticked off already. `chopmark certificates by-hand` says when, and by whom."),
    field="serial",
    code="done_already",
)
