"""After a renewal, have the imported certificate revoked at its own CA: by a client for that CA, or by a person.

The renewal stores with the certificate when its CA is to be asked (`revoke_after`). It is safe to ask again: a CA that
was asked before answers that it is done. A certificate that is stored as done is not asked for again.
"""

from collections.abc import Mapping
from datetime import datetime
from typing import Final, Protocol

import structlog

from chopmark.audit.events import Event
from chopmark.audit.log import RecordBuilder
from chopmark.audit.record import customer_stream
from chopmark.ca.external.ports import Ending
from chopmark.core.refusal import Kind, Refusal, Refused
from chopmark.core.types import text
from chopmark.ra.context import RaContext
from chopmark.ra.imported import Fingerprint, ImportedCertificate, ImportedCertificates
from chopmark.ra.manual_revocation import DONE_ALREADY
from chopmark.ra.refusals import two_people

ROUND: Final = 50
"""The most certificates of one issuer for which a round asks."""
IN_A_ROW: Final = 3
"""After so many failures in a row a CA is not asked again until the next round."""
REASON: Final = "superseded"

log = structlog.get_logger()


class Revokes(Protocol):
    """The part of a CA client that is needed here."""

    async def revoke(self, certificate_der: bytes, reason: str) -> Ending:
        """Have a certificate revoked. DONE also if it was revoked before."""
        ...


class FormerRevocation:
    """Lists what a person has to have revoked at former issuers, and asks the issuers that have a client."""

    def __init__(self, context: RaContext, imported: ImportedCertificates, clients: Mapping[str, Revokes]) -> None:
        self._context = context
        self._imported = imported
        self._clients = clients
        self._after: dict[str, tuple[datetime, Fingerprint]] = {}
        """Where the last round of an issuer ended, so that certificates that keep failing do not delay the others."""

    async def listed(self) -> list[ImportedCertificate]:
        """Return all certificates whose own CA is to revoke them or has done so, those that are not done first."""
        return await self._imported.asked_to_revoke()

    def by_client(self, issuer: str) -> bool:
        """Whether this issuer has a client, so that no person has to ask it."""
        return issuer in self._clients

    async def done(self, fingerprint: Fingerprint, by: str, approved_by: str) -> ImportedCertificate:
        """Record that the former issuer has revoked this certificate, and return it. Two people confirm that.

        Raises Refused: NOT_FOUND unless its revocation was asked for, CONFLICT if it is recorded already, MALFORMED or
        FORBIDDEN unless two different people are named (I32).
        """
        await two_people(self._context, by, approved_by, "revoked_by_hand")
        found = await self._imported.get(fingerprint)
        if found is None or found.revoke_after is None:
            raise Refused(_NOT_ASKED)
        if not await self._done(found, by, approved_by):
            raise Refused(DONE_ALREADY)
        return found

    async def once(self) -> int:
        """Ask the CAs that have a client to revoke what is due.

        Always return 0, because the rest waits for the next round.
        """
        for issuer, client in self._clients.items():
            await self._round(issuer, client)
        return 0

    async def _round(self, issuer: str, client: Revokes) -> None:
        due = await self._imported.due_at(issuer, self._context.now(), self._after.get(issuer), ROUND)
        self._after.pop(issuer, None)
        failed = 0
        for one in due:
            ending = await client.revoke(one.der, REASON)
            if ending is Ending.DONE:
                failed = 0
                await self._done(one, f"client:{issuer}", f"client:{issuer}")
            else:
                failed += 1
                log.warning("former issuer did not revoke", kind=issuer, code=f"former_revocation.{ending}")
            if failed == IN_A_ROW:
                break
            if one.revoke_after is not None and len(due) == ROUND:
                self._after[issuer] = (one.revoke_after, one.fingerprint)

    async def _done(self, one: ImportedCertificate, by: str, approved_by: str) -> bool:
        now = self._context.now()

        async def attempt(builder: RecordBuilder) -> bool:
            record = builder.record(
                Event.CA_FORMER_REVOKED,
                serial=one.fingerprint,
                issuer=one.issuer,
                reason=REASON,
                by=by,
                approved_by=approved_by,
            )
            return await self._imported.done(one.fingerprint, now, by, approved_by, record)

        return await self._context.audit_log.write(customer_stream(one.customer), attempt)


_NOT_ASKED = Refusal(
    Kind.NOT_FOUND,
    text(
        "No imported certificate with this fingerprint waits to be revoked. `chopmark certificates by-hand` lists "
        "those that do."
    ),
    field="serial",
    code="not_waiting",
)
