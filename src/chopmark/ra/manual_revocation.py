"""Revocations that a person has to ask of another CA, whose protocol has none: what waits, and what is done.

Two people at the firm say that the CA has revoked a certificate; nothing is asked of the CA here.
"""

from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from chopmark.audit.events import Event
from chopmark.audit.log import RecordBuilder
from chopmark.audit.record import AuditRecord, order_stream
from chopmark.core.refusal import Kind, Refusal, Refused
from chopmark.core.types import IssuerId, OrderId, Serial, text
from chopmark.ra.context import RaContext
from chopmark.ra.refusals import two_people


@dataclass(frozen=True, slots=True)
class OpenManualRevocation:
    """A certificate that has to end at another CA; `done_at` (aware UTC) and the two people are None while it waits."""

    serial: Serial
    issuer: IssuerId
    order: OrderId
    attempt: int
    reason: str
    done_at: datetime | None = None
    by: str | None = None
    approved_by: str | None = None


class ManualRevocations(Protocol):
    """Keeps what has to be revoked by a person."""

    async def listed(self) -> list[OpenManualRevocation]:
        """Return all of them, those that wait first, then the newest that is done."""
        ...

    async def done(
        self, one: OpenManualRevocation, now: datetime, by: str, approved_by: str, record: AuditRecord
    ) -> bool:
        """Record that it is done, with its record in the same transaction; False when it does not wait any more."""
        ...


class ManualRevocation:
    """Lists such revocations and ticks them off."""

    def __init__(self, context: RaContext, records: ManualRevocations) -> None:
        self._context = context
        self._records = records

    async def listed(self) -> list[OpenManualRevocation]:
        """Return all of them, those that wait first, then the newest that is done."""
        return await self._records.listed()

    async def done(self, serial: Serial, by: str, approved_by: str) -> OpenManualRevocation:
        """Return the revocation of this serial as it was ticked off: its CA has revoked it, two people say.

        Raises Refused: NOT_FOUND for a serial that nobody was asked to revoke, CONFLICT when it is done already,
        MALFORMED and FORBIDDEN for what are no two people (I32).
        """
        await two_people(self._context, by, approved_by, "revoked_by_hand")
        found = [one for one in await self._records.listed() if one.serial == serial]
        if not found:
            raise Refused(_NOT_ASKED)
        waiting, now = found[0], self._context.now()
        if waiting.done_at is not None:
            raise Refused(_DONE)

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
            raise Refused(_DONE)
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
_DONE = Refusal(
    Kind.CONFLICT,
    text("This revocation was ticked off already. `chopmark certificates by-hand` says when, and by whom."),
    field="serial",
    code="done_already",
)
