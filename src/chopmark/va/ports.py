"""The ports of the status services: certificate status, revocation lists and OCSP answers in the database."""

from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from chopmark.audit.record import AuditRecord
from chopmark.core.types import CertificateState, IssuerId, Serial


@dataclass(frozen=True, slots=True)
class Status:
    """The status of a certificate on record at its CA.

    `reason` is a name from RFC 5280 s.5.3.1. `status_version` counts the changes of status.
    """

    state: CertificateState
    ended_at: datetime | None
    reason: str | None
    status_version: int = 0


@dataclass(frozen=True, slots=True)
class Changed:
    """A certificate whose status was changed, and its status version after the change."""

    serial: Serial
    status_version: int


@dataclass(frozen=True, slots=True)
class Changes:
    """The changes since an earlier mark; `found` is None if there were too many to list.

    The next call of `StatusChanges.changed` passes `mark`.
    """

    mark: int
    found: tuple[Changed, ...] | None


class StatusChanges(Protocol):
    """Tells which certificates of all issuing CAs have changed their status."""

    async def changed(self, since: int | None) -> Changes:
        """Return every change of status since the call that returned the mark `since`; some may be repeated.

        The first call passes None and gets a mark, but no changes.
        """
        ...

    async def wait_changed(self, timeout_s: float) -> bool:
        """Wait until a certificate's status has changed, at most for the timeout; changes by others may be missed."""
        ...


@dataclass(frozen=True, slots=True)
class Signed:
    """An OCSP answer that was signed ahead, DER; it is right while the certificate has this `status_version`."""

    der: bytes
    produced_at: datetime
    next_update: datetime
    status_version: int


@dataclass(frozen=True, slots=True)
class ServiceKey:
    """The certificate, DER, of a responder or time-stamp authority, and what the database keeps of its key."""

    certificate: bytes
    stored_key: bytes


@dataclass(frozen=True, slots=True)
class Due:
    """A certificate whose OCSP answers are to be signed ahead now."""

    serial: Serial
    status: Status


@dataclass(frozen=True, slots=True)
class Ended:
    """A certificate that is revoked or on hold."""

    serial: Serial
    at: datetime
    reason: str


@dataclass(frozen=True, slots=True)
class Crl:
    """A published revocation list, DER.

    `mark` and `beside` are those of the shard as it was read before the list's entries (`CrlShard`). A root's list, and
    one of an earlier release, has none.
    """

    number: int
    der: bytes
    this_update: datetime
    next_update: datetime
    mark: str | None = None
    beside: int | None = None


@dataclass(frozen=True, slots=True)
class LastCrl:
    """The present list of a shard without its octets: its number, its thisUpdate, and what it has `beside`."""

    number: int
    this_update: datetime
    beside: int | None


@dataclass(frozen=True, slots=True)
class CrlShard:
    """The present list of a shard, if any, and whether it lacks a change of status.

    `changed`: a certificate was revoked, held or released since the mark that came with the list, or nothing is known
    of it. `mark` stands for the changes of certificates that were committed by now. `beside` counts what else stands
    in the list: it lacks something when it has another number of these. A list of the release before has no mark: there
    `last.beside` is what its count leaves for these.
    """

    last: LastCrl | None
    changed: bool
    mark: str
    beside: int

    @property
    def lacks(self) -> bool:
        """Whether there is no list, or a change that the list may not have."""
        return self.last is None or self.changed or self.last.beside != self.beside


class StatusRecords(Protocol):
    """Reads certificate status and keeps revocation lists."""

    async def status(self, issuer: IssuerId, serial: Serial) -> Status | None:
        """Return the status of a serial; None if it was never reserved."""
        ...

    async def signed(self, issuer: IssuerId, serial: Serial, algorithm: str) -> Signed | None:
        """Return the answer that was signed ahead for a CertID with this hash (sha1 or sha256), if any."""
        ...

    async def due(self, issuer: IssuerId, now: datetime, limit: int) -> list[Due]:
        """Return unexpired certificates whose answers are missing, older than a change, or past half their life."""
        ...

    async def oldest_due(self, issuer: IssuerId) -> datetime | None:
        """Return the earliest time at which answers are, or were, due to be signed; None without certificates."""
        ...

    async def responder_certificate(self, issuer: IssuerId) -> bytes | None:
        """Return the OCSP responder's present certificate, DER; None for an unknown issuer."""
        ...

    async def responder_key(self, issuer: IssuerId) -> ServiceKey | None:
        """Return the OCSP responder's present certificate and key; None for an unknown issuer."""
        ...

    async def renew_responder(self, issuer: IssuerId, before: bytes, after: bytes, record: AuditRecord) -> bool:
        """Replace the responder's certificate `before` by `after`; False if `before` is no longer the present one."""
        ...

    async def note(self, record: AuditRecord) -> None:
        """Write an audit record that belongs to no other change."""
        ...

    async def ended(self, issuer: IssuerId, shard: int, keep_after: datetime) -> list[Ended]:
        """Return a shard's ended certificates by serial, if they expired or were ended later than `keep_after`."""
        ...

    async def crl(self, issuer: IssuerId, shard: int) -> Crl | None:
        """Return the published list of a shard, if any."""
        ...

    async def shard(self, issuer: IssuerId, shard: int) -> CrlShard:
        """Return what is published of a shard, and whether its status has changed since, without the list itself.

        A change that is committed after this call is found by a later one, if the list is stored with `mark`.
        """
        ...

    async def publish(self, issuer: IssuerId, shard: int, crl: Crl, record: AuditRecord) -> bool:
        """Store a list; False if there is one with the same or a higher number already (numbers only rise)."""
        ...

    async def wait(self, timeout_s: float) -> bool:
        """Wait until a certificate's status has changed, at most for the timeout."""
        ...
