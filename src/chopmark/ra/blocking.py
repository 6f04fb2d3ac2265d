"""Blocking a reported key: two people at the firm do it, and every certificate with that key is revoked (I7, F40)."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from chopmark.audit.events import Event
from chopmark.audit.facts import Fact
from chopmark.audit.log import RecordBuilder
from chopmark.audit.record import AuditRecord, staff_stream
from chopmark.ca.ports import Issuer
from chopmark.core.refusal import Kind, Refusal, Refused
from chopmark.core.types import Serial, text
from chopmark.messaging.ports import OutboxJob
from chopmark.ra.context import RaContext
from chopmark.ra.ports import SubscriberCertificate
from chopmark.ra.refusals import two_people
from chopmark.ra.revocation import Revocation

ATTEMPTS = 3


class BlockedKeys(Protocol):
    """Stores the keys that nobody may use."""

    async def holders(self, spki_sha256: str) -> list[SubscriberCertificate]:
        """Return the certificates with this key that are issued, active or on hold."""
        ...

    async def block(
        self,
        spki_sha256: str,
        reason: str,
        now: datetime,
        works: Mapping[Serial, tuple[OutboxJob, ...]],
        record: AuditRecord,
    ) -> bool | None:
        """Block a key, revoke the certificates that `works` names, queue their work, and end the orders with this key.

        Return True when something was changed, and False when the key was blocked already and nothing uses it. Return
        None, with nothing changed, when another certificate got the key meanwhile.
        """
        ...


@dataclass(frozen=True, slots=True)
class Blocked:
    """What a block did: whether anything was changed, and the certificates that it revoked."""

    changed: bool
    revoked: tuple[SubscriberCertificate, ...]


class KeyBlocks:
    """Blocks reported keys."""

    def __init__(self, context: RaContext, records: BlockedKeys, issuer: Issuer, revocation: Revocation) -> None:
        self._context = context
        self._records = records
        self._issuer = issuer
        self._revocation = revocation

    async def block(self, spki_sha256: str, reason: str, by: str, approved_by: str) -> Blocked:
        """Block the key and return what was revoked; a key that was never seen here is blocked too. Safe to repeat.

        `spki_sha256` is hexadecimal, lower case; `reason` is a name that the CA knows. If the CA cannot be told at
        once, the worker tells it by the outbox row. Raises Refused: MALFORMED and FORBIDDEN unless two different people
        are named (I32), CONFLICT when certificates with the key are issued faster than they can be revoked.
        """
        # 1. Two different people at the firm.
        await two_people(self._context, by, approved_by, "key_block")
        # 2. [tx] The key is blocked, its certificates are revoked, its orders end; outbox rows and notices are queued.
        for _ in range(ATTEMPTS):
            found = await self._records.holders(spki_sha256)
            done = await self._block(spki_sha256, reason, by, approved_by, found)
            if done is not None:
                break
        else:
            raise Refused(_BUSY)
        # 3. The renewals that build on these certificates end, before the CA is told: whether it answers makes no
        #    difference for them. Then the CA revokes each certificate.
        for certificate in found:
            await self._revocation.end_renewals(certificate.customer, certificate.serial)
        for certificate in found:
            await self._issuer.revoke(certificate.serial, reason)
        return Blocked(done, tuple(found))

    async def _block(
        self, spki_sha256: str, reason: str, by: str, approved_by: str, found: list[SubscriberCertificate]
    ) -> bool | None:
        context = self._context
        works = {}
        for certificate in found:
            notices = await context.notice(certificate.customer, "revoked", None, serial=certificate.serial)
            works[certificate.serial] = (
                *notices,
                context.revoke_work(certificate.serial, reason, certificate.customer, certificate.order),
            )
        facts: dict[str, Fact] = {"spki_sha256": spki_sha256, "reason": reason, "count": len(found)}

        async def attempt(builder: RecordBuilder) -> bool | None:
            record = builder.record(Event.STAFF_KEY_BLOCKED, by=by, approved_by=approved_by, **facts)
            return await self._records.block(spki_sha256, reason, context.now(), works, record)

        return await context.audit_log.write(staff_stream(by), attempt)


_BUSY = Refusal(
    Kind.CONFLICT, text("Certificates with this key are being issued right now. Please try again."), code="busy"
)
