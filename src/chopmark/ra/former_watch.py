"""Revoke imported certificates here, too, as soon as the list of their own CA says that they are revoked.

A renewal asks that CA anyway. But without this job the portal would recommend renewals that are then refused.
"""

from typing import Final

from chopmark.audit.events import Event
from chopmark.audit.log import RecordBuilder
from chopmark.audit.record import customer_stream
from chopmark.ra.context import RaContext
from chopmark.ra.imported import ImportedCertificate, ImportedCertificates

BATCH: Final = 100


class FormerWatch:
    """Revokes here what the lists of former issuers name. Safe to repeat; any number of workers may run it."""

    def __init__(self, context: RaContext, imported: ImportedCertificates) -> None:
        self._context = context
        self._imported = imported

    async def once(self) -> int:
        """Revoke at most `BATCH` and return how many there were."""
        found = await self._imported.listed_as_revoked(BATCH)
        for one, reason in found:
            await self._revoke(one, reason)
        return len(found)

    async def _revoke(self, one: ImportedCertificate, reason: str) -> None:
        now = self._context.now()

        async def attempt(builder: RecordBuilder) -> bool:
            record = builder.record(
                Event.RA_FORMER_REVOKED,
                serial=one.fingerprint,
                issuer=one.issuer,
                reason=reason,
                customer=one.customer,
            )
            return await self._imported.revoked_there(one.fingerprint, reason, now, record)

        await self._context.audit_log.write(customer_stream(one.customer), attempt)
