"""What the RA sees of a CA (`Issuer`, `Suspender`), and what our own CA needs kept (`IssuanceRepository`, `Journal`).

Two things about a CA can be exchanged: who issues (`Issuer`) and, for our own CA, where its key is (`keys.Signer`).
A CA that answers later returns `Pending`, which is a value and no error.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol, TypeAlias

from chopmark.audit.journal import Deed
from chopmark.audit.record import AuditRecord, StoredRecord, Tip
from chopmark.core.refusal import Refusal
from chopmark.core.types import CertificateState, IssuerId, OrderId, Serial

Subject: TypeAlias = tuple[tuple[str, str], ...]
"""A name as (short attribute name, value) pairs, one RDN each, in their order."""


@dataclass(frozen=True, slots=True)
class IssuanceRequest:
    """What an RA asks a CA for: one key, one subject, one profile; `spki_der` is a SubjectPublicKeyInfo.

    `csr_der` is the request whose signature proved possession of the key, for a CA that reads it. `replaces` is the
    certificate that the new one renews, DER. `records` are the order's audit records as they are stored, from the
    first one on. The CA issues only what these records prove, whatever the other fields say (`ca.approval`).
    """

    order: OrderId
    profile: str
    spki_der: bytes
    subject: Mapping[str, str]
    csr_der: bytes = b""
    replaces: bytes | None = None
    records: tuple[StoredRecord, ...] = ()


@dataclass(frozen=True, slots=True)
class Certified:
    """A certificate that was issued: DER, and the chain above it, its issuer first and the root last."""

    serial: Serial
    der: bytes
    chain: tuple[bytes, ...]
    spki_sha256: str
    not_before: datetime
    not_after: datetime


@dataclass(frozen=True, slots=True)
class Pending:
    """The CA has the order and answers later; ask again after `retry_after_s` seconds."""

    retry_after_s: int


class Issuer(Protocol):
    """A certification authority as the RA sees it."""

    @property
    def name(self) -> str:
        """The CA's name as customers read it."""
        ...

    @property
    def allows_overlap(self) -> bool:
        """Whether the old certificate may stay valid until the customer has proved that the new one works."""
        ...

    @property
    def needs(self) -> Mapping[str, frozenset[str]]:
        """The subject values each profile asks for."""
        ...

    def csr_subject(self, profile: str, values: Mapping[str, str]) -> Subject:
        """Return the subject that the customer's own request (CSR) must carry, attributes in their order.

        Empty when the CA does not read the subject there, and when it cannot be made from `values`, which are those
        that `needs` asks for.
        """
        ...

    async def issue(self, issuance: IssuanceRequest) -> Certified | Pending | Refusal:
        """Return the order's one certificate: the same one however often it is asked for (I2).

        When the order's records do not prove the issuance request, the CA raises an alarm and returns a refusal with
        the code `distrusted`.
        """
        ...

    async def resume(self, issuance: IssuanceRequest) -> Certified | Pending | Refusal:
        """Finish an order whose earlier attempt may have died.

        When nobody knows whether that attempt has signed anything, its reservation is given up (I4).
        """
        ...

    async def revoke(self, serial: Serial, reason: str) -> None:
        """Revoke a certificate; a second call changes nothing.

        `reason` is a name of RFC 5280 s.5.3.1, such as superseded.
        """
        ...


class Suspender(Protocol):
    """A CA that can put a certificate on hold (RFC 5280 s.5.3.1, certificateHold); not every CA can."""

    async def hold(self, serial: Serial) -> None:
        """Put a good certificate on hold; one that is on hold or revoked stays as it is."""
        ...

    async def release(self, serial: Serial) -> None:
        """Make a certificate that is on hold good again; one in any other state stays as it is (I25)."""
        ...


@dataclass(frozen=True, slots=True)
class Reservation:
    """A serial and the bytes to be signed (TBS), stored before the CA's key is used (I1)."""

    serial: Serial
    issuer: IssuerId
    order: OrderId
    attempt: int
    profile: str
    profile_version: int
    spki_sha256: str
    tbs: bytes
    shard: int
    not_before: datetime
    not_after: datetime
    reserved_at: datetime

    @property
    def facts(self) -> Mapping[str, str | int]:
        """What the audit record says about this reservation."""
        return {
            "serial": self.serial,
            "issuer": self.issuer,
            "profile": f"{self.profile}@{self.profile_version}",
            "attempt": self.attempt,
            "spki_sha256": self.spki_sha256,
        }


@dataclass(frozen=True, slots=True)
class Entry:
    """A certificate row as the CA keeps it."""

    reservation: Reservation
    state: CertificateState
    der: bytes | None
    ended_at: datetime | None
    reason: str | None


@dataclass(frozen=True, slots=True)
class IssuerRow:
    """An issuing CA and its OCSP responder as stored; a key is encrypted PKCS #8 PEM, or names a key in a device.

    `issues` is true for the CA that issues new certificates: one of an installation, the newest.
    """

    id: IssuerId
    name: str
    certificate: bytes
    chain: tuple[bytes, ...]
    key_pem: bytes
    responder_certificate: bytes
    responder_key_pem: bytes
    issues: bool = True


@dataclass(frozen=True, slots=True)
class Names:
    """What the CA is called: the firm, the issuing CA's common name and its title for customers."""

    organization: str
    issuing: str
    title: str


class Journal(Protocol):
    """Writes outside the database what the CA is about to do; raises Refused (UNAVAILABLE) when it could not write."""

    @property
    def closed(self) -> bool:
        """True while nothing may be signed, because the database is known to lack what the journal has."""
        ...

    async def reserved(self, reservation: Reservation, issuance: IssuanceRequest) -> None:
        """Write that a reservation has committed and is about to be signed."""
        ...

    async def issued(self, reservation: Reservation, der: bytes) -> None:
        """Write that a certificate was signed and is about to be stored."""
        ...

    async def turned(self, deed: Deed, reservation: Reservation, at: datetime, reason: str | None = None) -> None:
        """Write that a certificate is about to be revoked, held or released as of `at`."""
        ...


class IssuanceRepository(Protocol):
    """Keeps reservations and certificates. Each change is one transaction, its audit record included."""

    async def by_order(self, order: OrderId) -> tuple[Entry | None, int, Tip]:
        """Return the order's entry that was not given up, its number of attempts, and the tip of its audit stream."""
        ...

    async def reserve(self, reservation: Reservation, record: AuditRecord) -> bool:
        """Store a reservation; False when its CA issues no more, the order has one already, or the serial exists."""
        ...

    async def record(self, serial: Serial, der: bytes, now: datetime, record: AuditRecord) -> bool:
        """Store the signed certificate; False when the reservation was given up meanwhile."""
        ...

    async def orphan(self, serial: Serial, now: datetime, record: AuditRecord) -> bool:
        """Give a reservation up and revoke its serial; False when a certificate was stored for it meanwhile."""
        ...

    async def revoke(self, serial: Serial, reason: str, now: datetime, record: AuditRecord) -> bool:
        """Revoke an issued or held certificate; False when it had ended already or was never issued (I25).

        A certificate that was on hold is revoked as of the moment at which the hold began (X.509 s.9.5.3.1).
        """
        ...

    async def hold(self, serial: Serial, now: datetime, record: AuditRecord) -> bool:
        """Put an issued certificate on hold; False in any other state."""
        ...

    async def release(self, serial: Serial, now: datetime, record: AuditRecord) -> bool:
        """End a hold; False when there is none, for example because the certificate was revoked meanwhile."""
        ...

    async def by_serial(self, serial: Serial) -> Entry | None:
        """Return the entry of a serial; None when it was never reserved here."""
        ...

    async def note(self, record: AuditRecord) -> None:
        """Write an audit record without any other change: a certificate that linting has stopped."""
        ...

    async def issuers(self) -> list[IssuerRow]:
        """Return all CAs of this installation, oldest first; those that do not issue any more are included."""
        ...

    async def add_issuer(self, row: IssuerRow, now: datetime, record: AuditRecord) -> bool:
        """Store the CA that issues from now on; all earlier ones stop issuing. False when the id exists."""
        ...
