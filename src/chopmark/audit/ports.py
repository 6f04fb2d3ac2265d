"""The ports of the audit: a source to verify, a ledger to sequence, and a file for signed tree heads.

There is no call here to append a record: the store call that makes a change also appends its record (rule 9), and it
belongs to the port of the authority that makes the change. The names in this code call the time-stamp of a tree head an
*anchor*.
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
    """A record or row that could not be read: where it is and what is wrong with it."""

    place: str
    why: str


@dataclass(frozen=True, slots=True)
class StoredHead:
    """The row of a signed tree head: the size it is stored under, its line, and the frontier at that size if kept."""

    size: int
    line: str
    frontier: bytes | None = None


@dataclass(frozen=True, slots=True)
class StoredAnchor:
    """The row of a head's time-stamp: the size of that head, and the RFC 3161 token, DER, not verified yet."""

    size: int
    token: bytes


@dataclass(frozen=True, slots=True)
class CertificateRow:
    """A certificate as its CA's table has it; with `foreign` it is in the table of requests to other CAs."""

    serial: str
    state: str
    foreign: bool = False


@dataclass(frozen=True, slots=True)
class HoldingRow:
    """A certificate as the RA's table has it for its customer."""

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
    """The counted failures of one customer with one factor."""

    customer: str
    factor: str
    window_start: datetime
    in_window: int
    ever: int
    held: bool


@dataclass(frozen=True, slots=True)
class SlipRow:
    """An approval slip, without the keyed hash by which it is looked up; `order` is the order that it approved."""

    id: str
    customer: str
    state: str
    order: str | None
    expires_at: datetime


TableRow: TypeAlias = CertificateRow | HoldingRow | ContactRow | FailureRow | SlipRow


class Tables(Protocol):
    """The tables of which every change has a record; they must show the same moment as the records."""

    def rows(self) -> AsyncIterator[TableRow | Unreadable]:
        """Yield every row, in any order."""
        ...


class Source(Protocol):
    """One unchanging view of the ledger: all five methods show the same moment.

    The store opens one read transaction (REPEATABLE READ, or SQLite's snapshot). Rows are returned as stored and are
    not filtered, so every row of the table of records comes from either `sequenced` or `unsequenced`.
    """

    def sequenced(self) -> AsyncIterator[StoredRecord | Unreadable]:
        """Yield every record that has a place in the tree, by its index."""
        ...

    def unsequenced(self) -> AsyncIterator[StoredRecord | Unreadable]:
        """Yield every record without a place, in the order in which they were written."""
        ...

    def streams(self) -> AsyncIterator[Tip]:
        """Yield every row of the table of streams, as stored, in any order."""
        ...

    def heads(self) -> AsyncIterator[StoredHead]:
        """Yield every head, ordered by the size it is stored under."""
        ...

    def anchors(self) -> AsyncIterator[StoredAnchor]:
        """Yield every time-stamp of a head, ordered by the size it is stored under."""
        ...


@dataclass(frozen=True, slots=True)
class Lease:
    """The right to sequence until `expires_at`; `fencing` rises whenever the holder changes."""

    holder: str
    fencing: int
    expires_at: datetime


@dataclass(frozen=True, slots=True)
class Waiting:
    """Records without a place in the tree, oldest first, and the store's number of each, its entry.

    Every record whose entry is at most `settled` has a place as soon as these have theirs: nobody can still write one.
    """

    records: tuple[StoredRecord, ...]
    entries: tuple[int, ...]
    settled: int


@dataclass(frozen=True, slots=True)
class Batch:
    """What one sequencing writes: places for records, the head over them and the frontier at its size.

    The record with the first of `entries` gets the index `old_size`, the next one the next. `settled`: see `Waiting`.
    """

    old_size: int
    entries: tuple[int, ...]
    settled: int
    head: Head
    frontier: Frontier


class TreeRepository(Protocol):
    """The store's part of the audit: each call is one transaction."""

    async def tip(self, stream: StreamId) -> Tip:
        """Return the stream's newest version and hash; version 0 and GENESIS when it has no record."""
        ...

    async def take_lease(self, holder: str, now: datetime, ttl: timedelta) -> Lease | None:
        """Take the lease if it is free or expired, or extend it if it is ours; return None if another holder has it."""
        ...

    async def unsequenced(self, limit: int) -> Waiting:
        """Return the oldest records without a place, at most `limit`, in the order in which they were written.

        The versions of a stream therefore come in order, and no record comes before its predecessor.
        """
        ...

    async def latest_head(self) -> tuple[Head, Frontier] | None:
        """Return the head of the greatest size with the frontier stored beside it, or None.

        Raises ValueError when either cannot be read.
        """
        ...

    async def head_line(self, size: int) -> str | None:
        """Return the line of the head of this size, as it is stored, or None."""
        ...

    async def sequence(self, batch: Batch, lease: Lease) -> bool:
        """Write places, head and frontier, all or nothing; return False when another process was faster.

        Everything is written only if the lease row still has `lease.fencing` and the greatest head size is still
        `batch.old_size`.
        """
        ...

    def snapshot(self) -> AbstractAsyncContextManager[Source]:
        """Open one unchanging view for the verifier or an export."""
        ...


class HeadLog(Protocol):
    """The copy of the tree heads outside the database; calls block, so they are made in a thread."""

    def append(self, head: Head) -> None:
        """Write the head durably; raises OSError when that fails."""
        ...

    def last(self) -> Head | None:
        """Return the newest head in the log, or None."""
        ...


class AnchorLog(Protocol):
    """The copy of the time-stamps outside the database; calls block, so they are made in a thread."""

    def append_anchor(self, anchor: StoredAnchor) -> None:
        """Write the time-stamp durably; raises OSError when that fails."""
        ...

    def has_anchor(self, anchor: StoredAnchor) -> bool:
        """Tell whether this time-stamp is in the log."""
        ...


@dataclass(frozen=True, slots=True)
class KeptAnchor:
    """A time-stamp as the ledger keeps it: with the hour (since 1970) in which it was made and its token's time."""

    anchor: StoredAnchor
    hour: int
    at: datetime


class Anchors(Protocol):
    """The store of the time-stamps: each call is one transaction."""

    async def newest(self) -> KeptAnchor | None:
        """Return the time-stamp of the newest hour, or None."""
        ...

    async def take_turn(self, holder: str, now: datetime, ttl: timedelta) -> bool:
        """Reserve the making of a time-stamp until `now + ttl`; return False if another process has reserved it."""
        ...

    async def keep(self, kept: KeptAnchor, record: AuditRecord) -> bool:
        """Store a time-stamp and its record; return False when its hour or its head already has one."""
        ...


class Stamper(Protocol):
    """Gets time-stamps from a time-stamp authority."""

    async def stamp(self, imprint_sha256: bytes) -> tuple[bytes, datetime]:
        """Return a verified token over the imprint, DER, and its time; raises NotStamped."""
        ...


class NotStamped(Exception):
    """The authority gave no token or no valid one; the text says why."""
