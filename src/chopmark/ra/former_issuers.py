"""The CAs whose certificates the customers brought along: which they are, and what they say of a certificate.

A certificate of a former issuer may prove a renewal. It counts only if its signature verifies under one of the
certificates that the settings pin (`pki.issued`), and only while its CA says that it is not revoked. This CA is not
ours: our own status services say nothing about its certificates.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Protocol, TypeAlias

from chopmark.core.types import Text, text


@dataclass(frozen=True, slots=True)
class FormerIssuer:
    """A former issuer as the settings name it: `id` is its name there, the other two names are for customers.

    `certificates` are its issuing certificates, DER: a customer's certificate is this issuer's if its signature
    verifies under one of them. `subject_templates` say how its subjects name a customer
    (`ra.certificate_import.subjects`).
    """

    id: str
    name_zh: str
    name_en: str
    certificates: tuple[bytes, ...]
    subject_templates: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class GoodThere:
    """The issuer's newest statement does not name the certificate as revoked; it counts until `until` (nextUpdate)."""

    until: datetime


@dataclass(frozen=True, slots=True)
class RevokedThere:
    """The issuer has revoked the certificate; `reason` is RFC 5280's word for why, `at` the moment if it is told."""

    reason: str
    at: datetime | None = None


@dataclass(frozen=True, slots=True)
class UnknownThere:
    """Nothing counts at present: the list is past its nextUpdate, no answer came, or one that does not verify.

    `why` is a sentence for the firm's people. Customers are told that they can apply.
    """

    why: Text


StatusThere: TypeAlias = GoodThere | RevokedThere | UnknownThere


class FormerStatus(Protocol):
    """Asks former issuers for the status of their certificates."""

    async def status_of(self, issuer: str, serial: str, now: datetime) -> StatusThere:
        """Return what the former issuer with this id says of a serial number, hexadecimal as `pki.x509.serial_hex`.

        Good only until the nextUpdate of what it said, afterwards unknown; never raises for an issuer that is down.
        """
        ...

    async def known_of(self, issuer: str, serial: str, now: datetime) -> StatusThere | None:
        """Return what `status_of` would say without asking anybody outside; None when it would have to ask."""
        ...


class NoStatus:
    """The status where the settings name no way to ask: unknown, so that nothing renews by such a certificate."""

    async def status_of(self, issuer: str, serial: str, now: datetime) -> StatusThere:  # noqa: ARG002 - the port's
        """Return unknown."""
        return UnknownThere(text("The settings do not say how the status of this issuer's certificates is asked."))

    async def known_of(self, issuer: str, serial: str, now: datetime) -> StatusThere | None:
        """Return unknown."""
        return await self.status_of(issuer, serial, now)


@dataclass(frozen=True, slots=True)
class FormerIssuers:
    """All former issuers by their id, and how their status is asked."""

    by_id: Mapping[str, FormerIssuer] = field(default_factory=dict)
    status: FormerStatus = field(default_factory=NoStatus)


NO_FORMER_ISSUERS = FormerIssuers()
