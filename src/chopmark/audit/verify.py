"""The offline verifier: shows that the records are the ones that were written, complete and in order.

It reads the records from the database or from an export, and needs the public key of the signed tree heads. Two things
come from outside the database: the audit keys, to check the MACs, and the heads file, to notice that the newest records
and heads were deleted. It cannot notice that the newest record of a stream was deleted together with the row of its
stream before a tree head covered it.
"""

from collections.abc import AsyncIterator, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from chopmark.audit.anchorcheck import AnchorCheck
from chopmark.audit.checks import (
    ChainCheck,
    DelayCheck,
    FileCheck,
    HeadCheck,
    MacCheck,
    Part,
    PlaceCheck,
    SeenHead,
    TreeCheck,
    VocabularyCheck,
    place_of,
    see,
)
from chopmark.audit.findings import MOST_FINDINGS, Anchored, Code, Finding, Report
from chopmark.audit.head import Head, HeadPublicKey, decode_head
from chopmark.audit.headlines import HeadLines
from chopmark.audit.losscheck import LossCheck
from chopmark.audit.ports import Source, StoredAnchor, StoredHead, TableRow, Tables, Unreadable
from chopmark.audit.record import AuditKeys, StoredRecord, is_count
from chopmark.audit.slips import SlipCheck
from chopmark.audit.states import Rules, StateCheck
from chopmark.core.counted import counted


@dataclass(frozen=True, slots=True)
class Beside:
    """The tables beside the records, at the same moment, and the numbers of the policy that the comparison needs."""

    tables: Tables
    rules: Rules


MERGE_DELAY = timedelta(seconds=60)
"""How long a record may wait for its place in the tree.

A record that has waited longer is a warning. Once it has its place, the delay is an error in every later report.
"""


async def verify(
    source: Source,
    keys: AuditKeys | None,
    head_public_keys: Sequence[HeadPublicKey],
    heads_file: HeadLines | None,
    now: datetime,
    *,
    merge_delay: timedelta = MERGE_DELAY,
    roots: Sequence[bytes] | None = None,
    beside: Beside | None = None,
) -> Report:
    """Read the whole source and return the report; no finding means that the records are right.

    `head_public_keys` are the present key and the former ones. The report says which checks were left out: without
    `keys` the MACs, without `heads_file` the heads file, without `roots` (certificates, DER) who signed the time-stamps
    of tree heads, without `beside` the comparison of the tables with the records. Everything is read once. Memory grows
    only with streams, time-stamps and lines of the heads file, and by what `StateCheck` and `SlipCheck` keep.
    """
    parts = standard_parts(keys, head_public_keys, heads_file, now, merge_delay, roots)
    parts.append(PlaceCheck(merge_delay))
    if beside is None:
        return await examine(source, parts)
    return await examine(source, [*parts, StateCheck(beside.rules), SlipCheck(beside.rules.slip_life)], beside.tables)


def standard_parts(
    keys: AuditKeys | None,
    head_public_keys: Sequence[HeadPublicKey],
    heads_file: HeadLines | None,
    now: datetime,
    merge_delay: timedelta = MERGE_DELAY,
    roots: Sequence[bytes] | None = None,
) -> list[Part]:
    """Return the checks that are possible with the given keys and files."""
    tree, losses = TreeCheck(), LossCheck(heads_file)
    parts: list[Part] = [tree, ChainCheck(), HeadCheck(head_public_keys), VocabularyCheck()]
    parts.append(DelayCheck(now, merge_delay))
    if keys is not None:
        parts.append(MacCheck(keys))
    if heads_file is not None:
        parts.append(FileCheck(heads_file, head_public_keys, tree, losses))
    parts.append(AnchorCheck(roots, heads_file.anchors if heads_file is not None else (), losses))
    parts.append(losses)
    return parts


async def examine(source: Source, parts: Sequence[Part], tables: Tables | None = None) -> Report:
    """Hand everything in the source to the parts, in the order that `chopmark.audit.checks` names, and report."""
    reading = _Reading(parts)
    anchors = _Anchors(source.anchors(), reading)
    heads = _Heads(source.heads(), reading, anchors)
    await heads.pass_up_to(0)
    # 1. The records in tree order; each head right after the last record that it covers, and then its time-stamp.
    async for record in source.sequenced():
        reading.record(record)
        await heads.pass_up_to(reading.sequenced)
    # 2. The heads that count more records than there are, and the time-stamps without a head.
    await heads.pass_up_to(None)
    await anchors.pass_up_to(None)
    # 3. The records without a place in the tree, the rows of the table of streams, the rows of the tables beside.
    async for record in source.unsequenced():
        reading.record(record)
    async for tip in source.streams():
        reading.streams += 1
        for part in parts:
            reading.add(part.stream(tip))
    if tables is not None:
        reading.tables_checked = True
        async for row in tables.rows():
            reading.row(row)
    # 4. What can be known only after everything was read.
    for part in parts:
        reading.add(part.finish())
    return reading.report()


class _Reading:
    """Counts what was read, hands it to the parts and collects their findings."""

    def __init__(self, parts: Sequence[Part]) -> None:
        self.parts = parts
        self.records = self.sequenced = self.streams = self.heads = 0
        self.tables_checked = False
        self._findings: list[Finding] = []
        self._omitted = 0

    def add(self, findings: Iterable[Finding]) -> None:
        for finding in findings:
            if len(self._findings) < MOST_FINDINGS:
                self._findings.append(finding)
            else:
                self._omitted += 1

    def record(self, record: StoredRecord | Unreadable) -> None:
        if isinstance(record, Unreadable):
            self.add([Finding(Code.RECORD_MALFORMED, record.place, f"The record cannot be read: {record.why}.")])
            return
        self.records += 1
        self.sequenced += record.index is not None
        try:
            seen = see(record)
        except ValueError as error:
            self.add([Finding(Code.RECORD_MALFORMED, place_of(record), f"The record is malformed: {error}.")])
            return
        for part in self.parts:
            self.add(part.record(seen))

    def row(self, row: TableRow | Unreadable) -> None:
        if isinstance(row, Unreadable):
            self.add([Finding(Code.ROW_MALFORMED, row.place, f"The row cannot be read: {row.why}.")])
            return
        for part in self.parts:
            self.add(part.row(row))

    def head(self, stored: StoredHead, head: Head) -> None:
        self.heads += 1
        for part in self.parts:
            self.add(part.head(SeenHead(head, stored.frontier)))

    def anchor(self, stored: StoredAnchor, head: Head | None) -> None:
        for part in self.parts:
            self.add(part.anchor(stored, head))

    def report(self) -> Report:
        anchored = [part.anchored for part in self.parts if isinstance(part, AnchorCheck)]
        return Report(
            findings=tuple(self._findings),
            omitted=self._omitted,
            records=self.records,
            size=self.sequenced,
            streams=self.streams,
            heads=self.heads,
            macs_checked=any(isinstance(part, MacCheck) for part in self.parts),
            file_checked=any(isinstance(part, FileCheck) for part in self.parts),
            anchored=anchored[0] if anchored else Anchored(),
            tables_checked=self.tables_checked,
        )


class _Heads:
    """Reads the heads, not farther than the size of the tree so far."""

    def __init__(self, stream: AsyncIterator[StoredHead], reading: _Reading, anchors: "_Anchors") -> None:
        self._stream = stream
        self._reading = reading
        self._anchors = anchors
        self._next: tuple[StoredHead, Head] | None = None
        self._ended = False

    async def pass_up_to(self, size: int | None) -> None:
        """Hand over every head of at most this size, or for None all remaining ones."""
        while not self._ended:
            if self._next is None:
                await self._read()
                continue
            stored, head = self._next
            if size is not None and head.size > size:
                return
            self._next = None
            self._reading.head(stored, head)
            await self._anchors.pass_up_to(head)

    async def _read(self) -> None:
        """Read the next readable head; report every unreadable one before it."""
        async for stored in self._stream:
            try:
                head = decode_head(stored.line)
                if head.size != stored.size:
                    raise ValueError(f"it counts {counted(head.size, 'leaf', 'leaves')}")
            except (ValueError, TypeError) as error:
                place = f"head of size {stored.size}"
                self._reading.add([Finding(Code.HEAD_MALFORMED, place, f"The head cannot be read: {error}.")])
                continue
            self._next = (stored, head)
            return
        self._ended = True


class _Anchors:
    """Reads the time-stamps of heads, not farther than the size of the last head that was handed over."""

    def __init__(self, stream: AsyncIterator[StoredAnchor], reading: _Reading) -> None:
        self._stream = stream
        self._reading = reading
        self._next: StoredAnchor | None = None
        self._ended = False

    async def pass_up_to(self, head: Head | None) -> None:
        """Hand over every time-stamp of at most this head's size, or for None all remaining ones.

        The head is handed over with it if it has the same size; otherwise the time-stamp has no head.
        """
        while not self._ended:
            if self._next is None:
                self._next = await anext(self._stream, None)
                self._ended = self._next is None
                continue
            anchor = self._next
            if not is_count(anchor.size):
                place = f"anchor of size {anchor.size!r}"
                self._reading.add(
                    [Finding(Code.ANCHOR_MALFORMED, place, "The size is not an integer of zero or more.")]
                )
            elif head is not None and anchor.size > head.size:
                return
            else:
                self._reading.anchor(anchor, head if head is not None and head.size == anchor.size else None)
            self._next = None
