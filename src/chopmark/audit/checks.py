"""The checks of the verifier, which it calls *parts*: each reads the same records and looks for one kind of damage.

The verifier hands each part, in this order: the records in tree order, each signed tree head right after the last
record that it covers, and the time-stamp of a head (called *anchor* in names) right after that head; then the records
without a place in the tree; then the rows of the stream table; then the rows of the tables beside the records. A part
keeps no record, so its memory grows with the number of streams and not with the number of records.
"""

import hmac
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Protocol

from chopmark.audit.events import Event
from chopmark.audit.findings import Code, Finding, Level
from chopmark.audit.head import FIRST_HEAD, Head, HeadPublicKey, encode_head, head_hash, verify_head
from chopmark.audit.headlines import HeadLines
from chopmark.audit.ports import StoredAnchor, TableRow
from chopmark.audit.record import GENESIS, AuditKeys, StoredRecord, Tip, is_count, new_stream, parse_stamp
from chopmark.audit.tree import Frontier, hash_leaf
from chopmark.core.counted import counted


@dataclass(frozen=True, slots=True)
class Seen:
    """A well-formed record with the bytes that its MAC covers, and with its hash in the Merkle tree."""

    record: StoredRecord
    canonical: bytes
    leaf_hash: bytes


@dataclass(frozen=True, slots=True)
class SeenHead:
    """A readable tree head of the ledger with the frontier that is stored beside it, if any."""

    head: Head
    frontier: bytes | None


class Part:
    """One kind of check; every method returns its findings."""

    def record(self, _seen: Seen, /) -> Iterable[Finding]:
        """Look at a well-formed record."""
        return ()

    def head(self, _seen: SeenHead, /) -> Iterable[Finding]:
        """Look at a tree head of the ledger and at the frontier stored beside it."""
        return ()

    def anchor(self, _anchor: StoredAnchor, _head: Head | None, /) -> Iterable[Finding]:
        """Look at a time-stamp and at the ledger's head of its size, right after `head` was called for that head."""
        return ()

    def stream(self, _tip: Tip, /) -> Iterable[Finding]:
        """Look at a row of the table of streams."""
        return ()

    def row(self, _row: TableRow, /) -> Iterable[Finding]:
        """Look at a row of the tables beside the records; called after all records were handed over."""
        return ()

    def finish(self) -> Iterable[Finding]:
        """Return what can be known only after everything was read."""
        return ()


class Losses(Protocol):
    """What was lost in restores, as the ledger's successor heads say."""

    @property
    def given_up(self) -> Mapping[bytes, Head]:
        """The heads of the heads file, by hash, that belong to a lost tree; known after all heads were handed over."""
        ...

    @property
    def kept(self) -> int:
        """How many records the last restore kept; 0 if there was no restore."""
        ...


def see(record: StoredRecord) -> Seen:
    """Return the record with its canonical bytes and its hash; raises ValueError when a column is malformed."""
    if record.index is not None and not is_count(record.index):
        raise ValueError("the index is not an integer of zero or more")
    canonical = record.canonical()
    return Seen(record, canonical, hash_leaf(canonical + record.mac))


def place_of(record: StoredRecord) -> str:
    """Return the text that names a record in a finding: its index in the tree if it has one, and its id."""
    return record.leaf_id if record.index is None else f"index {record.index} ({record.leaf_id})"


class MacCheck(Part):
    """Check that every record has a MAC under a key that we know, so that none was edited or invented."""

    def __init__(self, keys: AuditKeys) -> None:
        self._keys = keys

    def record(self, seen: Seen, /) -> Iterator[Finding]:
        """Check the MAC."""
        record = seen.record
        key = self._keys.get(record.kid)
        if key is None:
            yield Finding(
                Code.KEY_UNKNOWN, place_of(record), f"The leaf names the audit key {record.kid!r}, unknown here."
            )
        elif not hmac.compare_digest(key.mac(seen.canonical), record.mac):
            yield Finding(
                Code.MAC_WRONG, place_of(record), "The leaf does not match its MAC: it was edited or invented."
            )


class VocabularyCheck(Part):
    """Check that every event is one that this release knows."""

    def record(self, seen: Seen, /) -> Iterator[Finding]:
        """Look the event up."""
        record = seen.record
        if record.event not in Event._value2member_map_:
            sentence = f"The event {record.event!r} is unknown to this release."
            yield Finding(Code.EVENT_UNKNOWN, place_of(record), sentence, Level.WARNING)


class ChainCheck(Part):
    """Check the streams: versions run from 1 to n, each record names the one before, the stream's row the last."""

    def __init__(self) -> None:
        self._tips: dict[str, tuple[int, bytes]] = {}

    def record(self, seen: Seen, /) -> Iterator[Finding]:
        """Check that the record continues its stream."""
        record = seen.record
        version, tip_hash = self._tips.get(record.stream, (0, GENESIS))
        if record.version > version + 1:
            missing = f"{version + 1}" if record.version == version + 2 else f"{version + 1} to {record.version - 1}"
            yield Finding(Code.CHAIN_GAP, place_of(record), f"Before this leaf, its chain lacks version {missing}.")
        elif record.version <= version:
            yield Finding(
                Code.CHAIN_REPEATED, place_of(record), "The chain already has this version, or is out of order."
            )
        elif record.previous != tip_hash:
            yield Finding(Code.CHAIN_LINK_WRONG, place_of(record), "The leaf does not name the leaf before it.")
        self._tips[record.stream] = (record.version, seen.leaf_hash)

    def stream(self, tip: Tip, /) -> Iterator[Finding]:
        """Check that the row names the last record of its stream."""
        seen = self._tips.pop(tip.stream, None)
        place = f"{tip.stream}@{tip.version}"
        if seen is None:
            if tip != new_stream(tip.stream):
                yield Finding(Code.CHAIN_WITHOUT_LEAVES, place, "The chain row names a leaf, and the chain has none.")
        elif seen != (tip.version, tip.leaf_hash):
            sentence = f"The chain row does not name the chain's last leaf, which is version {seen[0]}."
            yield Finding(Code.CHAIN_TIP_WRONG, place, sentence)

    def finish(self) -> Iterator[Finding]:
        """Report streams that have no row."""
        for stream, (version, _) in self._tips.items():
            yield Finding(Code.CHAIN_ROW_MISSING, f"{stream}@{version}", "The chain has leaves and no chain row.")


class TreeCheck(Part):
    """Check that every index from 0 to size - 1 exists once, and that every head has the root of its records."""

    def __init__(self) -> None:
        self.frontier = Frontier()
        self.size = 0
        self.whole = True
        self._head_size = 0
        self._root_reported = False

    def record(self, seen: Seen, /) -> Iterator[Finding]:
        """Check the index and add the record to the tree."""
        record = seen.record
        if record.index is None:
            return
        if record.index > self.size:
            gap = f"{self.size}" if record.index == self.size + 1 else f"{self.size} to {record.index - 1}"
            yield Finding(Code.INDEX_MISSING, f"index {gap}", "There is no leaf at this place of the tree.")
        elif record.index < self.size:
            yield Finding(Code.INDEX_REPEATED, place_of(record), "Another leaf has this place of the tree.")
        self.whole = self.whole and record.index == self.size
        self.size = max(self.size, record.index + 1)
        if self.whole:
            self.frontier = self.frontier.append(seen.leaf_hash)

    def head(self, seen: SeenHead, /) -> Iterator[Finding]:
        """Compare the head's root with the tree's."""
        head = seen.head
        self._head_size = max(self._head_size, head.size)
        if not self.whole or head.size != self.size or self._root_reported:
            return
        place = f"head of size {head.size}"
        if head.root != self.frontier.root():
            self._root_reported = True  # every later root differs, too
            sentence = "The leaves do not give this head's root: one was edited, moved or exchanged before it."
            yield Finding(Code.ROOT_WRONG, place, sentence)
        elif seen.frontier is not None and seen.frontier != self.frontier.to_bytes():
            yield Finding(Code.FRONTIER_WRONG, place, "The frontier stored beside the head is not the tree's.")

    def finish(self) -> Iterator[Finding]:
        """Compare the newest head with the number of records."""
        if self._head_size > self.size:
            sentence = (
                f"The newest head counts {counted(self._head_size, 'leaf', 'leaves')}, and the tree has {self.size}."
            )
            yield Finding(Code.TREE_CUT, f"index {self.size}", sentence)
        elif self._head_size < self.size:
            sentence = f"The leaves from here to index {self.size - 1} have places in the tree and no head over them."
            yield Finding(Code.TREE_WITHOUT_HEAD, f"index {self._head_size}", sentence)


class HeadCheck(Part):
    """Check that our key signed every head, that each names the one before, and the order of sizes and fencing.

    The size must rise from head to head, and the fencing number must never fall.
    """

    def __init__(self, public_keys: Sequence[HeadPublicKey]) -> None:
        self._keys = public_keys
        self._previous: Head | None = None

    def head(self, seen: SeenHead, /) -> Iterator[Finding]:
        """Check the signature, the hash of the head before, and the order."""
        head = seen.head
        place = f"head of size {head.size}"
        if not verify_head(head, self._keys):
            yield Finding(Code.HEAD_SIGNATURE_WRONG, place, "The head was not signed by our key, or was edited.")
        previous, self._previous = self._previous, head
        if head.draft.continues != (head_hash(previous) if previous else FIRST_HEAD):
            yield Finding(Code.HEAD_LINK_WRONG, place, "The head does not name the head before it.")
        if previous and (head.size <= previous.size or head.draft.fencing < previous.draft.fencing):
            yield Finding(
                Code.HEAD_ORDER_WRONG, place, "The head's size or fencing number falls behind the one before."
            )


class FileCheck(Part):
    """Check that every head of the heads file is signed, is in the ledger and has the root of the tree.

    Heads that a restore gave up are excepted: `losses` tells which, after everything was read. The verifier must hand
    each record to `tree` before it hands it to this part.
    """

    def __init__(self, lines: HeadLines, public_keys: Sequence[HeadPublicKey], tree: TreeCheck, losses: Losses) -> None:
        self._lines = lines
        self._keys = public_keys
        self._tree = tree
        self._losses = losses
        self._missing = {encode_head(head): head for head in lines.heads}
        self._by_size: dict[int, list[Head]] = {}
        for head in self._missing.values():
            self._by_size.setdefault(head.size, []).append(head)
        self._differing: list[Head] = []

    def record(self, seen: Seen, /) -> Iterable[Finding]:
        """Compare the file's roots of this size with the tree's."""
        record = seen.record
        tree = self._tree
        if record.index is not None and tree.whole:
            heads = self._by_size.get(tree.size, ())
            self._differing += [head for head in heads if head.root != tree.frontier.root()]
        return ()

    def head(self, seen: SeenHead, /) -> Iterable[Finding]:
        """Note that the ledger has this head of the heads file."""
        self._missing.pop(encode_head(seen.head), None)
        return ()

    def finish(self) -> Iterator[Finding]:
        """Report what the heads file has and the ledger lacks."""
        given_up = self._losses.given_up
        for head in self._differing:
            if head_hash(head) not in given_up:
                sentence = "The heads file has another root for this size: the tree before it was rewritten."
                yield Finding(Code.FILE_ROOT_WRONG, f"head of size {head.size}", sentence)
                break  # every later root differs, too
        for number in self._lines.unreadable:
            yield Finding(Code.FILE_UNREADABLE, f"line {number} of the heads file", "This line is no head.")
        for head in self._lines.heads:
            if not verify_head(head, self._keys):
                sentence = "This head of the heads file was not signed by our key, or was edited."
                yield Finding(Code.FILE_SIGNATURE_WRONG, f"head of size {head.size}", sentence)
        greatest = max((head.size for head in self._lines.heads if head_hash(head) not in given_up), default=0)
        if greatest > self._tree.size:
            sentence = f"The heads file knows {counted(greatest, 'leaf', 'leaves')}: "
            sentence += "those from here on were cut, or an old copy is in use."
            yield Finding(Code.FILE_AHEAD, f"index {self._tree.size}", sentence)
        missing = [head for head in self._missing.values() if head_hash(head) not in given_up]
        if missing:
            first = min(head.size for head in missing)
            sentence = f"{len(missing)} head(s) of the heads file, from this one on, are not in the ledger."
            yield Finding(Code.FILE_HEAD_MISSING, f"head of size {first}", sentence)


class DelayCheck(Part):
    """Warn about records that have waited for a place in the tree longer than the merge delay."""

    def __init__(self, now: datetime, longest: timedelta) -> None:
        self._before = now - longest
        self._late = 0
        self._first = ""

    def record(self, seen: Seen, /) -> Iterable[Finding]:
        """Count the record if it has waited too long."""
        record = seen.record
        if record.index is None and parse_stamp(record.at) < self._before:
            self._first = self._first or place_of(record)
            self._late += 1
        return ()

    def finish(self) -> Iterator[Finding]:
        """Report how many records have waited too long."""
        if self._late:
            late = counted(self._late, "leaf, this one first, has", "leaves, this one first, have")
            sentence = f"{late} waited too long for a place: is a sequencer running?"
            yield Finding(Code.UNSEQUENCED_LATE, self._first, sentence, Level.WARNING)


class PlaceCheck(Part):
    """Check that each record got its place in the tree soon after its own time.

    If not, no sequencer was running, or somebody's clock was wrong or was changed.
    """

    def __init__(self, longest: timedelta) -> None:
        self._longest = longest
        self._waiting: list[tuple[datetime, str]] = []
        self._restored = False
        self._late: list[str] = []
        self._early: list[str] = []

    def record(self, seen: Seen, /) -> Iterable[Finding]:
        """Remember the record until the head that placed it is handed over."""
        if seen.record.index is not None:
            self._waiting.append((parse_stamp(seen.record.at), place_of(seen.record)))
            self._restored = self._restored or seen.record.event == Event.AUDIT_LEDGER_RESTORED
        return ()

    def head(self, seen: SeenHead, /) -> Iterable[Finding]:
        """Compare the times of the records that this head placed with the time of the head."""
        placed, self._waiting = self._waiting, []
        # After a restore, records wait until a person has declared the restore; they are not late.
        restored, self._restored = self._restored or seen.head.draft.lost is not None, False
        if seen.head.draft.previous == FIRST_HEAD:
            return ()  # the first records are written at installation, before the first worker runs
        for at, place in placed:
            if seen.head.draft.at - at > self._longest and not restored:
                self._late.append(place)
            elif at - seen.head.draft.at > self._longest:
                self._early.append(place)
        return ()

    def finish(self) -> Iterator[Finding]:
        """Report how many records were placed long after their time, or long before it."""
        span = counted(int(self._longest.total_seconds()), "second")
        if self._late:
            late = counted(len(self._late), "record, this one first, was", "records, this one first, were")
            sentence = f"{late} placed more than {span} after their time: "
            sentence += "no sequencer ran, or a clock was put forward or was behind."
            yield Finding(Code.PLACED_LATE, self._late[0], sentence)
        if self._early:
            early = counted(len(self._early), "record, this one first, has", "records, this one first, have")
            sentence = f"{early} a time more than {span} after that of the head that placed them: "
            sentence += "a clock was ahead when they were written."
            yield Finding(Code.PLACED_EARLY, self._early[0], sentence)
