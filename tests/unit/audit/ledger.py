"""A ledger in memory: rows as a database would hold them, and the statements' guards."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from chopmark.audit.events import Event
from chopmark.audit.head import Head, decode_head, encode_head
from chopmark.audit.headlines import HeadLines
from chopmark.audit.ports import Batch, Lease, StoredAnchor, StoredHead, Waiting
from chopmark.audit.record import AuditKey, AuditRecord, StoredRecord, StreamId, Tip, make_record, new_stream, next_tip
from chopmark.audit.tree import Frontier

START = datetime(2026, 3, 2, 1, 0, 0, tzinfo=UTC)


@dataclass
class Rows:
    """Every row of the audit tables, and a Source over them."""

    records: list[StoredRecord] = field(default_factory=list)
    tips: list[Tip] = field(default_factory=list)
    stored_heads: list[StoredHead] = field(default_factory=list)
    stored_anchors: list[StoredAnchor] = field(default_factory=list)

    def copy(self) -> "Rows":
        return Rows(list(self.records), list(self.tips), list(self.stored_heads), list(self.stored_anchors))

    async def sequenced(self) -> AsyncIterator[StoredRecord]:
        for record in sorted(
            (record for record in self.records if record.index is not None), key=lambda record: record.index or 0
        ):
            yield record

    async def unsequenced(self) -> AsyncIterator[StoredRecord]:
        for record in self.records:
            if record.index is None:
                yield record

    async def streams(self) -> AsyncIterator[Tip]:
        for tip in self.tips:
            yield tip

    async def heads(self) -> AsyncIterator[StoredHead]:
        for head in sorted(self.stored_heads, key=lambda head: head.size):
            yield head

    async def anchors(self) -> AsyncIterator[StoredAnchor]:
        for anchor in sorted(self.stored_anchors, key=lambda anchor: anchor.size):
            yield anchor


class KeySigner:
    def __init__(self, key: Ed25519PrivateKey | None = None) -> None:
        self._key = key or Ed25519PrivateKey.generate()

    def sign(self, message: bytes) -> bytes:
        return self._key.sign(message)

    @property
    def public_key(self) -> Ed25519PublicKey:
        return self._key.public_key()


class MemoryHeads:
    def __init__(self) -> None:
        self.heads: list[Head] = []
        self.full = False

    def append(self, head: Head) -> None:
        if self.full:
            raise OSError("no space left on device")
        self.heads.append(head)

    def last(self) -> Head | None:
        return self.heads[-1] if self.heads else None

    def lines(self) -> HeadLines:
        return HeadLines(tuple(self.heads))


class MemoryTree:
    """Implements `audit.ports.TreeRepository`; `append` stands for the store calls that write records."""

    def __init__(self, key: AuditKey) -> None:
        self.rows = Rows()
        self.key = key
        self.lease: Lease | None = None

    def append(self, stream: StreamId, event: Event, at: datetime, **facts: str | int | bool | None) -> AuditRecord:
        tip = self._tip(stream)
        record = make_record(tip, event, facts, at, self.key)
        self.rows.records.append(record.stored())
        self.rows.tips = [old for old in self.rows.tips if old.stream != stream] + [next_tip(record)]
        return record

    def _tip(self, stream: StreamId) -> Tip:
        return next((tip for tip in self.rows.tips if tip.stream == stream), new_stream(stream))

    async def tip(self, stream: StreamId) -> Tip:
        return self._tip(stream)

    async def take_lease(self, holder: str, now: datetime, ttl: timedelta) -> Lease | None:
        held = self.lease
        if held and held.holder != holder and held.expires_at > now:
            return None
        fencing = held.fencing + (held.holder != holder) if held else 1
        self.lease = Lease(holder, fencing, now + ttl)
        return self.lease

    async def seize(self, holder: str, above: int, now: datetime, ttl: timedelta) -> Lease:
        fencing = max(above, self.lease.fencing if self.lease else 0) + 1
        self.lease = Lease(holder, fencing, now + ttl)
        return self.lease

    async def unsequenced(self, limit: int) -> Waiting:
        waits = [(entry, record) for entry, record in enumerate(self.rows.records) if record.index is None][:limit]
        return Waiting(tuple(record for _, record in waits), tuple(entry for entry, _ in waits), -1)

    async def latest_head(self) -> tuple[Head, Frontier] | None:
        if not self.rows.stored_heads:
            return None
        stored = max(self.rows.stored_heads, key=lambda head: head.size)
        return decode_head(stored.line), Frontier.from_bytes(stored.size, stored.frontier or b"")

    async def head_line(self, size: int) -> str | None:
        return next((head.line for head in self.rows.stored_heads if head.size == size), None)

    async def sequence(self, batch: Batch, lease: Lease) -> bool:
        size = max((head.size for head in self.rows.stored_heads), default=0)
        if self.lease is None or self.lease.fencing != lease.fencing or size != batch.old_size:
            return False
        for index, entry in enumerate(batch.entries, batch.old_size):
            self.rows.records[entry] = replace(self.rows.records[entry], index=index)
        stored = StoredHead(batch.head.size, encode_head(batch.head), batch.frontier.to_bytes())
        self.rows.stored_heads.append(stored)
        return True

    @asynccontextmanager
    async def snapshot(self) -> AsyncIterator[Rows]:
        yield self.rows.copy()
