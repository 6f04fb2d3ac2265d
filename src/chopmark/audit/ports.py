"""What the audit asks of others: a source to verify, a ledger to sequence, a file for heads.

A leaf itself is appended by the store call that makes the change (rule 9); that statement belongs
to each authority's own port.
"""

from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Protocol, TypeAlias

from chopmark.audit.head import Head
from chopmark.audit.record import AuditRecord, StoredRecord, StreamId, Tip
from chopmark.audit.tree import Frontier


@dataclass(frozen=True, slots=True)
class Unreadable:
    """A record that could not even be taken apart: where it stands and what is wrong with it."""

    place: str
    why: str


@dataclass(frozen=True, slots=True)
class StoredHead:
    """A head's row: the size it is filed under, its line, and the frontier at that size if kept."""

    size: int
    line: str
    frontier: bytes | None = None


@dataclass(frozen=True, slots=True)
class StoredAnchor:
    """An anchor's row: the size of the head it stamps, and the RFC 3161 token, DER; trusted for nothing."""

    size: int
    token: bytes


@dataclass(frozen=True, slots=True)
class CertificateRow:
    """A certificate as its CA's table has it; `foreign`: in the table of requests to other CAs."""

    serial: str
    state: str
    foreign: bool = False


@dataclass(frozen=True, slots=True)
class HoldingRow:
    """A certificate as the RA has it for its customer."""

    serial: str
    state: str


@dataclass(frozen=True, slots=True)
class ContactRow:
    """A contact on record, without its address."""

    customer: str
    channel: str
    version: int
    verified_at: datetime
    cool_until: datetime


@dataclass(frozen=True, slots=True)
class FailureRow:
    """The failures of a customer and factor that count."""

    customer: str
    factor: str
    window_start: datetime
    in_window: int
    ever: int
    held: bool


@dataclass(frozen=True, slots=True)
class SlipRow:
    """An approval slip, without what it is found by; `order` is the one that it was right for."""

    id: str
    customer: str
    state: str
    order: str | None
    expires_at: datetime


TableRow: TypeAlias = CertificateRow | HoldingRow | ContactRow | FailureRow | SlipRow


class Tables(Protocol):
    """The tables whose every change has a record, as of the moment of the records."""

    def rows(self) -> AsyncIterator[TableRow | Unreadable]:
        """Yield every row, in any order."""
        ...


class Source(Protocol):
    """One unchanging view of the ledger: all five streams show the same moment.

    The store gives one read transaction (REPEATABLE READ, or SQLite's snapshot). Rows come
    unparsed; nothing is filtered, so every row of the table is in exactly one of the record streams.
    """

    def sequenced(self) -> AsyncIterator[StoredRecord | Unreadable]:
        """Yield every record whose index is not null, by index."""
        ...

    def unsequenced(self) -> AsyncIterator[StoredRecord | Unreadable]:
        """Yield every record whose index is null, in the order in which they were written."""
        ...

    def chains(self) -> AsyncIterator[Tip]:
        """Yield every row of the chain table, as stored, in any order."""
        ...

    def heads(self) -> AsyncIterator[StoredHead]:
        """Yield every head by the size it is filed under."""
        ...

    def anchors(self) -> AsyncIterator[StoredAnchor]:
        """Yield every anchor by the size it is filed under."""
        ...


@dataclass(frozen=True, slots=True)
class Lease:
    """The right to sequence until `expires_at`; `fencing` rises whenever the holder changes."""

    holder: str
    fencing: int
    expires_at: datetime


@dataclass(frozen=True, slots=True)
class Placed:
    """The place that a record gets in the tree."""

    chain: str
    version: int
    index: int


@dataclass(frozen=True, slots=True)
class Batch:
    """What one sequencing writes: places for leaves, the head over them and the frontier at its size."""

    old_size: int
    placed: tuple[Placed, ...]
    head: Head
    frontier: Frontier


class Ledger(Protocol):
    """The store's part of the audit: each call is one transaction."""

    async def tip(self, chain: StreamId) -> Tip:
        """Return the chain's newest version and hash; version 0 and GENESIS when it has no record."""
        ...

    async def take_lease(self, holder: str, now: datetime, ttl: timedelta) -> Lease | None:
        """Take the lease when it is free, run out or already ours (then it is extended); else None."""
        ...

    async def unsequenced(self, limit: int) -> list[StoredRecord]:
        """Return the oldest records without an index in the order in which they were written.

        A chain's versions therefore come in order, and none before its predecessor.
        """
        ...

    async def latest_head(self) -> tuple[Head, Frontier] | None:
        """Return the head of the greatest size with the frontier stored beside it, or None.

        Raises ValueError when either cannot be read.
        """
        ...

    async def head_line(self, size: int) -> str | None:
        """Return the line of the head that counts so many records, as it is stored, or None."""
        ...

    async def sequence(self, batch: Batch, lease: Lease) -> bool:
        """Write indexes, head and frontier, all or nothing; False when somebody else was faster.

        Guards: the lease row still carries `lease.fencing`, the greatest head size is still
        `batch.old_size`, and every placed leaf still has no index.
        """
        ...

    def snapshot(self) -> AbstractAsyncContextManager[Source]:
        """Open one unchanging view for the verifier or an export."""
        ...


class HeadLog(Protocol):
    """Where heads go outside the database; blocking, called in a thread."""

    def append(self, head: Head) -> None:
        """Make the head durable; raises OSError when that fails."""
        ...

    def last(self) -> Head | None:
        """Return the newest head in the log, or None."""
        ...


class AnchorLog(Protocol):
    """Where anchors go outside the database; blocking, called in a thread."""

    def append_anchor(self, anchor: StoredAnchor) -> None:
        """Make the anchor durable; raises OSError when that fails."""
        ...

    def has_anchor(self, anchor: StoredAnchor) -> bool:
        """Tell whether the anchor is in the log."""
        ...


@dataclass(frozen=True, slots=True)
class KeptAnchor:
    """An anchor as the ledger keeps it: in which hour (since 1970) it was made, and the time of its token."""

    anchor: StoredAnchor
    hour: int
    at: datetime


class Anchors(Protocol):
    """The store's part of anchoring: each call is one transaction."""

    async def newest(self) -> KeptAnchor | None:
        """Return the anchor of the newest hour, or None."""
        ...

    async def take_turn(self, holder: str, now: datetime, ttl: timedelta) -> bool:
        """True when nobody else makes an anchor until `now + ttl`."""
        ...

    async def keep(self, kept: KeptAnchor, record: AuditRecord) -> bool:
        """Store an anchor; False when its hour or its head has one."""
        ...


class Stamper(Protocol):
    """Somebody who stamps time."""

    async def stamp(self, imprint_sha256: bytes) -> tuple[bytes, datetime]:
        """Return a token over the imprint, DER, that was verified, and its time; raises NotStamped."""
        ...


class NotStamped(Exception):
    """No token was given, or none that holds; the text is a word that says why."""
