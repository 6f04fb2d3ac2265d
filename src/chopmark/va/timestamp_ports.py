"""The ports of the time-stamp authority, which has one certificate and key for each issuing CA."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Protocol

from chopmark.audit.record import AuditRecord
from chopmark.core.types import IssuerId


@dataclass(frozen=True, slots=True)
class TimestampKey:
    """The authority's certificate, DER, and what the database keeps of its key.

    A key in a device is never stored here.
    """

    certificate: bytes
    stored_key: bytes


class TimestampRecords(Protocol):
    """Stores the authority's certificate and key, and knows the earliest time that a token may still have."""

    async def key(self, issuer: IssuerId) -> TimestampKey | None:
        """Return the authority's certificate and key; None if the authority was not set up yet."""
        ...

    async def floor(self) -> datetime | None:
        """Return the time of the newest time-stamp of a tree head; no token may have an earlier time."""
        ...

    async def take_turn(self, holder: str, now: datetime, ttl: timedelta) -> bool:
        """Reserve setting up or renewing until `now + ttl`; return False if another process has reserved it."""
        ...

    async def note(self, record: AuditRecord) -> None:
        """Write an audit record that belongs to no other change."""
        ...

    async def found(self, issuer: IssuerId, key: TimestampKey, now: datetime, record: AuditRecord) -> bool:
        """Store the first certificate and key; False if there already are some."""
        ...

    async def renew(self, issuer: IssuerId, before: bytes, after: bytes, record: AuditRecord) -> bool:
        """Replace the certificate `before` by `after`; False if `before` is no longer the present one."""
        ...
