"""Certificates that customers had of a former issuer and that were imported: values and ports.

Such a certificate is named by its fingerprint, because serial numbers of another CA may be the same as ours. Where an
order or a record names the certificate that it renews (`old_serial`), an imported one is named by its fingerprint, too:
64 hexadecimal digits in lower case. Serial numbers of ours are shorter.
"""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Final, NewType, Protocol

from chopmark.audit.record import AuditRecord
from chopmark.core.types import AccountNumber, CustomerId, Serial

Fingerprint = NewType("Fingerprint", str)
"""SHA-256 of a certificate's DER: 64 hexadecimal digits, lower case."""

_DIGITS: Final = 64


def is_fingerprint(serial: str | None) -> bool:
    """Tell whether what an order names as its old certificate is an imported one; None is none."""
    return serial is not None and len(serial) == _DIGITS


class ImportedState(StrEnum):
    """The states of an imported certificate; `ended` is one that the firm took out of use here."""

    ACTIVE = "active"
    HELD = "held"
    SUPERSEDED = "superseded"
    REVOKED = "revoked"
    ENDED = "ended"


class Way(StrEnum):
    """Where the key of an imported certificate is, as the sheet or the certificate says: by that way it renews."""

    FILE = "file"
    """A .p12 that the customer can open in the page or in a program."""
    VAULT = "vault"
    """A key store of the old component, which no browser reaches: the customer has to apply."""
    NONE = "none"
    """There is no key that could sign: the customer has to apply."""
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class ImportedCertificate:
    """An imported certificate; `issuer` is the id of its former issuer and `serial` its number there.

    `superseded_by` is the serial of ours that took its place. `revoke_after` is the moment from which its own CA is to
    be asked to revoke it, and `revoked_there_at` when that was done; None as long as there is nothing to ask.
    """

    fingerprint: Fingerprint
    issuer: str
    serial: str
    customer: CustomerId
    account: AccountNumber | None
    profile: str
    way: Way
    spki_sha256: str
    der: bytes
    chain: tuple[bytes, ...]
    not_before: datetime
    not_after: datetime
    state: ImportedState
    imported_at: datetime
    run: str
    reason: str | None = None
    ended_at: datetime | None = None
    superseded_by: Serial | None = None
    revoke_after: datetime | None = None
    revoked_there_at: datetime | None = None


class ImportedCertificates(Protocol):
    """Reads imported certificates, and stores what becomes of them; those of an unfinished import do not count."""

    async def living(self, customer: CustomerId) -> list[ImportedCertificate]:
        """Return the customer's active imported certificates, the one that ends last first."""
        ...

    async def get(self, fingerprint: Fingerprint) -> ImportedCertificate | None:
        """Return one by its fingerprint, whatever its state."""
        ...

    async def revoked_there(self, fingerprint: Fingerprint, reason: str, now: datetime, record: AuditRecord) -> bool:
        """Store that its own CA has revoked an active one; False when it is not active any more."""
        ...

    async def listed_as_revoked(self, limit: int) -> list[tuple[ImportedCertificate, str]]:
        """Return active ones that a list of their own CA names as revoked for good, each with the CA's reason."""
        ...

    async def due_at(
        self, issuer: str, now: datetime, after: tuple[datetime, Fingerprint] | None, limit: int
    ) -> list[ImportedCertificate]:
        """Return those that this CA is to be asked to revoke by now (`revoke_after`), the longest due first.

        `after` is the moment and the fingerprint of the last one of a round before: those behind it are returned.
        """
        ...

    async def asked_to_revoke(self) -> list[ImportedCertificate]:
        """Return all that have a `revoke_after`, those that are not done first: the list for a person."""
        ...

    async def done(
        self, fingerprint: Fingerprint, now: datetime, by: str, approved_by: str, record: AuditRecord
    ) -> bool:
        """Store that its own CA has revoked it, as asked after a renewal; False when that is not open any more."""
        ...


@dataclass(frozen=True, slots=True)
class Former:
    """What a customer's certificate has besides when it is an imported one: its former issuer and its number there."""

    issuer: str
    serial: str
    way: Way
