"""The time-stamp authority's certificate and key, and the anchors of the audit."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from chopmark.audit.head import decode_head
from chopmark.audit.ports import KeptAnchor, StoredAnchor
from chopmark.audit.record import AuditRecord
from chopmark.core.types import IssuerId
from chopmark.store.engine.columns import moment, ms
from chopmark.store.engine.port import Engine
from chopmark.store.engine.script import Script, query
from chopmark.store.repositories.leases import take
from chopmark.store.repositories.records import append
from chopmark.va.timestamp_ports import TimestampKey

_KEY = "SELECT certificate, stored_key FROM timestamp_keys WHERE issuer = :issuer"
_FOUND = """
INSERT INTO timestamp_keys (issuer, certificate, stored_key, created_at)
VALUES (:issuer, :certificate, :stored_key, :now)
ON CONFLICT (issuer) DO NOTHING RETURNING issuer
"""
_RENEW = """
UPDATE timestamp_keys SET certificate = :after WHERE issuer = :issuer AND certificate = :before RETURNING issuer
"""
_NEWEST = "SELECT hour, size, at, token FROM anchors ORDER BY hour DESC LIMIT 1"
_KEEP = """
INSERT INTO anchors (hour, size, at, token) VALUES (:hour, :size, :at, :token)
ON CONFLICT DO NOTHING RETURNING hour
"""
_OLDEST_OPEN = "SELECT line FROM heads WHERE size > :size ORDER BY size LIMIT 1"
_NEWEST_OPEN = "SELECT line FROM heads WHERE size > :size ORDER BY size DESC LIMIT 1"


class TimestampRepository:
    """Implements `va.timestamp_ports.TimestampRecords`."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    async def key(self, issuer: IssuerId) -> TimestampKey | None:
        """Return the certificate and key of the authority; None before it is founded."""

        def script() -> Script[TimestampKey | None]:
            rows = yield query(_KEY, issuer=issuer)
            return TimestampKey(bytes(rows[0]["certificate"]), bytes(rows[0]["stored_key"])) if rows else None

        return await self._engine.read(script)

    async def floor(self) -> datetime | None:
        """Return the time of the newest tree-head time-stamp."""
        newest = await self._engine.read(_newest)
        return None if newest is None else newest.at

    async def take_turn(self, holder: str, now: datetime, ttl: timedelta) -> bool:
        """Take the lease for founding or renewing. True when no other process does it until `now + ttl`."""
        return await self._engine.run(take, "timestamp-key", holder, ms(now), ms(now + ttl)) is not None

    async def note(self, record: AuditRecord) -> None:
        """Write a record that goes with no other change."""
        await self._engine.run(append, record)

    async def found(self, issuer: IssuerId, key: TimestampKey, now: datetime, record: AuditRecord) -> bool:
        """Store the first certificate and key. False when there are some already."""

        def script() -> Script[bool]:
            rows = yield query(
                _FOUND, issuer=issuer, certificate=key.certificate, stored_key=key.stored_key, now=ms(now)
            )
            if rows:
                yield from append(record)
            return bool(rows)

        return await self._engine.run(script)

    async def renew(self, issuer: IssuerId, before: bytes, after: bytes, record: AuditRecord) -> bool:
        """Replace the certificate `before`. False when it was replaced by another one meanwhile."""

        def script() -> Script[bool]:
            rows = yield query(_RENEW, issuer=issuer, before=before, after=after)
            if rows:
                yield from append(record)
            return bool(rows)

        return await self._engine.run(script)


@dataclass(frozen=True, slots=True)
class Unanchored:
    """The heads without a time-stamp: the times of the oldest and of the newest one."""

    since: datetime
    until: datetime


class AnchorRepository:
    """Implements `audit.ports.Anchors`."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    async def newest(self) -> KeptAnchor | None:
        """Return the anchor of the newest hour, or None."""
        return await self._engine.read(_newest)

    async def take_turn(self, holder: str, now: datetime, ttl: timedelta) -> bool:
        """Take the lease for time-stamps. True when no other process makes one until `now + ttl`."""
        return await self._engine.run(take, "anchor", holder, ms(now), ms(now + ttl)) is not None

    async def keep(self, kept: KeptAnchor, record: AuditRecord) -> bool:
        """Store an anchor; False when its hour or its head has one."""

        def script() -> Script[bool]:
            anchor = kept.anchor
            rows = yield query(_KEEP, hour=kept.hour, size=anchor.size, at=ms(kept.at), token=anchor.token)
            if rows:
                yield from append(record)
            return bool(rows)

        return await self._engine.run(script)

    async def unanchored(self) -> Unanchored | None:
        """Return since when heads have no time-stamp; None when the newest head has one, or there is no head.

        Raises ValueError when a head cannot be read.
        """

        def script() -> Script[tuple[str, str] | None]:
            newest = yield from _newest()
            size = 0 if newest is None else newest.anchor.size
            first = yield query(_OLDEST_OPEN, size=size)
            last = yield query(_NEWEST_OPEN, size=size)
            return (first[0]["line"], last[0]["line"]) if first and last else None

        found = await self._engine.read(script)
        return None if found is None else Unanchored(*(decode_head(line).draft.at for line in found))


def _newest() -> Script[KeptAnchor | None]:
    rows = yield query(_NEWEST)
    if not rows:
        return None
    row = rows[0]
    return KeptAnchor(StoredAnchor(row["size"], bytes(row["token"])), row["hour"], moment(row["at"]))
