"""What the time-stamp authority keeps: one certificate and key for each issuing CA."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Protocol

from chopmark.audit.record import AuditRecord
from chopmark.core.types import IssuerId


@dataclass(frozen=True, slots=True)
class TimestampKey:
    """The authority's certificate, DER, and what the database keeps of its key (never the key of a device)."""

    certificate: bytes
    stored_key: bytes


class TimestampRecords(Protocol):
    """Keeps the authority's certificate and key, and knows the newest time that was given for good."""

    async def key(self, issuer: IssuerId) -> TimestampKey | None:
        """Return the authority's certificate and key; None before it was founded."""
        ...

    async def floor(self) -> datetime | None:
        """Return the time of the newest anchor: no token is given for an earlier one."""
        ...

    async def take_turn(self, holder: str, now: datetime, ttl: timedelta) -> bool:
        """True when nobody else founds or renews until `now + ttl`."""
        ...

    async def note(self, record: AuditRecord) -> None:
        """Write a record that goes with no other change."""
        ...

    async def found(self, issuer: IssuerId, key: TimestampKey, now: datetime, record: AuditRecord) -> bool:
        """Store the first certificate and key; False when there are some."""
        ...

    async def renew(self, issuer: IssuerId, before: bytes, after: bytes, record: AuditRecord) -> bool:
        """Put a certificate in the place of `before`; False when another is there meanwhile."""
        ...
