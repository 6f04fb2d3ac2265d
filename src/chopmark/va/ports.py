"""What status services read and keep."""

from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from chopmark.audit.record import AuditRecord
from chopmark.core.types import CertificateState, IssuerId, Serial


@dataclass(frozen=True, slots=True)
class Status:
    """What the CA has on record of a serial. `reason`: a name of RFC 5280 s.5.3.1; `status_version` counts changes."""

    state: CertificateState
    ended_at: datetime | None
    reason: str | None
    status_version: int = 0


@dataclass(frozen=True, slots=True)
class Changed:
    """A certificate whose status was changed, and how often by then."""

    serial: Serial
    status_version: int


@dataclass(frozen=True, slots=True)
class Changes:
    """What was changed since a mark, or None for too much to tell; `mark` is where the next look begins."""

    mark: int
    found: tuple[Changed, ...] | None


class StatusChanges(Protocol):
    """Tells what has changed among the certificates of all issuing CAs."""

    async def changed(self, since: int | None) -> Changes:
        """Return every change of status that the look which returned the mark `since` did not show; it may repeat some.

        None is for a first look: it shows nothing.
        """
        ...

    async def wait_changed(self, timeout_s: float) -> bool:
        """Wait until a certificate's status changed, or the timeout; a change elsewhere can be missed."""
        ...


@dataclass(frozen=True, slots=True)
class Signed:
    """An OCSP answer signed ahead, DER; it holds while the certificate's record has had as many turns."""

    der: bytes
    produced_at: datetime
    next_update: datetime
    status_version: int


@dataclass(frozen=True, slots=True)
class ServiceKey:
    """The certificate, DER, of a service (responder or time-stamps) and what the database keeps of its key."""

    certificate: bytes
    stored_key: bytes


@dataclass(frozen=True, slots=True)
class Due:
    """A certificate whose answers are to be signed ahead now."""

    serial: Serial
    status: Status


@dataclass(frozen=True, slots=True)
class Ended:
    """A serial that is revoked or on hold."""

    serial: Serial
    at: datetime
    reason: str


@dataclass(frozen=True, slots=True)
class Crl:
    """A published list: DER, its number, and how many changes of status it was made from."""

    number: int
    der: bytes
    this_update: datetime
    next_update: datetime
    seen: int


@dataclass(frozen=True, slots=True)
class CrlShard:
    """The present list of a shard, and how many changes of status there were in it: ends, holds and releases."""

    crl: Crl | None
    status_version: int


class StatusRecords(Protocol):
    """Reads certificate status and keeps revocation lists."""

    async def status(self, issuer: IssuerId, serial: Serial) -> Status | None:
        """Return what is on record of a serial; None when it was never reserved."""
        ...

    async def signed(self, issuer: IssuerId, serial: Serial, algorithm: str) -> Signed | None:
        """Return the answer that was signed ahead for a CertID of this hash (sha1 or sha256), if any."""
        ...

    async def due(self, issuer: IssuerId, now: datetime, limit: int) -> list[Due]:
        """Return certificates, not yet expired, whose answers are missing, of before a change, or past half life."""
        ...

    async def oldest_due(self, issuer: IssuerId) -> datetime | None:
        """Return when the certificate is, or was, due that is due first; None without any."""
        ...

    async def responder_certificate(self, issuer: IssuerId) -> bytes | None:
        """Return the OCSP responder's present certificate, DER; None for an issuer that is not here."""
        ...

    async def responder_key(self, issuer: IssuerId) -> ServiceKey | None:
        """Return the OCSP responder's present certificate and key; None for an issuer that is not here."""
        ...

    async def renew_responder(self, issuer: IssuerId, before: bytes, after: bytes, record: AuditRecord) -> bool:
        """Put a responder's certificate in the place of `before`; False when another is there meanwhile."""
        ...

    async def note(self, record: AuditRecord) -> None:
        """Write a record that goes with no other change."""
        ...

    async def ended(self, issuer: IssuerId, shard: int, keep_after: datetime) -> list[Ended]:
        """Return the certificates of a shard, by serial, that were valid or were ended later than `keep_after`."""
        ...

    async def shard(self, issuer: IssuerId, shard: int) -> CrlShard:
        """Return the published list of a shard, if any, and how often something was changed in it."""
        ...

    async def publish(self, issuer: IssuerId, shard: int, crl: Crl, record: AuditRecord) -> bool:
        """Store a list; False when one with the same or a higher number is there (numbers only rise)."""
        ...

    async def wait(self, timeout_s: float) -> bool:
        """Wait until a certificate's status changed, or the timeout."""
        ...
