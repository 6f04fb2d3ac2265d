"""The CAs that issued certificates to our customers before we did, and what they say about a certificate.

A customer may renew with a certificate of a former issuer if its signature verifies with one of the certificates that
the settings pin (`pki.issued`), and if its CA says that it is not revoked. That CA is not ours, so our own status
services say nothing about its certificates.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final, Protocol, TypeAlias

from chopmark.core.types import Text, text

ON_HOLD: Final = "certificate_hold"
"""The reason by which a former issuer says that a revocation is not final."""


@dataclass(frozen=True, slots=True)
class FormerIssuer:
    """A former issuer of the settings. `id` is its name there; the other two names are shown to customers.

    `certificates` are its issuing certificates, DER. This issuer has issued a customer's certificate if its signature
    verifies with one of them. `subject_templates` say how its subjects name a customer
    (`ra.certificate_import.subjects`). `by_client`: a client asks it for revocations; otherwise people do.
    """

    id: str
    name_zh: str
    name_en: str
    certificates: tuple[bytes, ...]
    subject_templates: tuple[str, ...] = ()
    by_client: bool = False


@dataclass(frozen=True, slots=True)
class GoodThere:
    """The issuer's newest statement, valid until `until` (nextUpdate), does not name the certificate as revoked."""

    until: datetime


@dataclass(frozen=True, slots=True)
class RevokedThere:
    """The issuer has revoked the certificate.

    `reason` is a word of RFC 5280; `at` is None if the issuer does not say when.
    """

    reason: str
    at: datetime | None = None


@dataclass(frozen=True, slots=True)
class UnknownThere:
    """The status is not known: the list is past its nextUpdate, no answer came, or its signature does not verify.

    `why` is a sentence for the staff of the firm. Customers are told that they can apply.
    """

    why: Text


StatusThere: TypeAlias = GoodThere | RevokedThere | UnknownThere


class FormerStatus(Protocol):
    """Asks former issuers for the status of their certificates."""

    async def status_of(self, issuer: str, serial: str, now: datetime) -> StatusThere:
        """Return what the former issuer `issuer` says about a serial number (hexadecimal, as of `pki.x509.serial_hex`).

        After the nextUpdate of its statement the status is unknown. If the issuer cannot be reached, the status is
        unknown, too; nothing is raised.
        """
        ...

    async def known_of(self, issuer: str, serial: str, now: datetime) -> StatusThere | None:
        """Return what `status_of` would say without asking anybody outside; None when it would have to ask."""
        ...


class NoStatus:
    """Used if the settings name no way to ask: every status is unknown, so nobody can renew with such a certificate."""

    async def status_of(self, issuer: str, serial: str, now: datetime) -> StatusThere:  # noqa: ARG002 - the port's
        """Return unknown."""
        return UnknownThere(text("The settings do not say how the status of this issuer's certificates is asked."))

    async def known_of(self, issuer: str, serial: str, now: datetime) -> StatusThere | None:
        """Return unknown."""
        return await self.status_of(issuer, serial, now)


@dataclass(frozen=True, slots=True)
class FormerIssuers:
    """All former issuers by id, and the service that knows the status of their certificates."""

    by_id: Mapping[str, FormerIssuer] = field(default_factory=dict)
    status: FormerStatus = field(default_factory=NoStatus)


NO_FORMER_ISSUERS = FormerIssuers()
