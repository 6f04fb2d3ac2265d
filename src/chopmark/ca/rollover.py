"""An issuer for an installation that has replaced its CA: the present CA issues, and each CA revokes what it issued."""

from collections.abc import Mapping

from chopmark.ca.ports import Certified, IssuanceRequest, Issuer, Pending, Subject
from chopmark.core.refusal import Refusal
from chopmark.core.types import Serial


class Rollover:
    """Implements `Issuer` by the present CA; the former one is only asked to revoke."""

    def __init__(self, present: Issuer, former: Issuer) -> None:
        self._present = present
        self._former = former

    @property
    def name(self) -> str:
        """The present CA's name."""
        return self._present.name

    @property
    def allows_overlap(self) -> bool:
        """Whether the present CA lets the old certificate stay valid until the new one is proved."""
        return self._present.allows_overlap

    @property
    def needs(self) -> Mapping[str, frozenset[str]]:
        """The subject values each profile asks for at the present CA."""
        return self._present.needs

    def csr_subject(self, profile: str, values: Mapping[str, str]) -> Subject:
        """Return the subject that the present CA reads in the request."""
        return self._present.csr_subject(profile, values)

    async def issue(self, issuance: IssuanceRequest) -> Certified | Pending | Refusal:
        """Return the order's one certificate, issued by the present CA."""
        return await self._present.issue(issuance)

    async def resume(self, issuance: IssuanceRequest) -> Certified | Pending | Refusal:
        """Finish an order at the present CA."""
        return await self._present.resume(issuance)

    async def revoke(self, serial: Serial, reason: str) -> None:
        """Revoke a certificate at the CA that issued it."""
        # Both are asked: an issuer does nothing about a serial that it did not issue.
        await self._former.revoke(serial, reason)
        await self._present.revoke(serial, reason)
