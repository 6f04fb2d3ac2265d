"""The verifier's check of restores: the successor heads, their records, and the tree heads that they give up.

After a restore there are two trees: the tree of the restored ledger, and the lost tree, whose newest records the older
copy did not have. The heads file still has the heads of the lost tree. These are no error if a successor in the ledger
names the last of them, and each names the one before it, back to a head of the ledger. Every other head that is in the
heads file but not in the ledger is an error. (`chopmark.audit.head` says what a successor is.)
"""

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property

from chopmark.audit.checks import Part, Seen, SeenHead
from chopmark.audit.events import Event
from chopmark.audit.findings import Code, Finding, Level
from chopmark.audit.head import FIRST_HEAD, Head, Lost, head_hash
from chopmark.audit.headlines import HeadLines
from chopmark.audit.record import stamp, system_stream

RESTORED_STREAM = system_stream("restored")


@dataclass(frozen=True, slots=True)
class _Successor:
    """A successor in the ledger, the size of the head before it, and the facts of its record, if it has one."""

    head: Head
    lost: Lost
    kept: int
    facts: Mapping[str, object] | None

    @property
    def place(self) -> str:
        return f"head of size {self.head.size}"


class LossCheck(Part):
    """Check that every successor gives up one lost tree, and that a record which it placed says who restored.

    The heads file must have the heads of that tree, as far back as the two trees part.
    """

    def __init__(self, lines: HeadLines | None) -> None:
        self._filed = {head_hash(head): head for head in (lines.heads if lines is not None else ())}
        self._named = {head.draft.previous for head in self._filed.values()}
        self._held: dict[bytes, int] = {}
        self._successors: list[_Successor] = []
        self._seconds: list[tuple[Head, Mapping[str, object]]] = []
        """Heads that placed the record of a restore in which no signed head was lost, only records after the last."""
        self._told: Mapping[str, object] | None = None
        self._size = 0

    def record(self, seen: Seen, /) -> Iterable[Finding]:
        """Remember the newest record of a restore until the head that placed it is handed over."""
        record = seen.record
        if record.stream == RESTORED_STREAM and record.event == Event.AUDIT_LEDGER_RESTORED:
            facts = json.loads(record.facts)
            self._told = facts if isinstance(facts, dict) else {}
        return ()

    def head(self, seen: SeenHead, /) -> Iterable[Finding]:
        """Remember the head if it is a successor, or if the heads file has it or names it as the one before."""
        told, self._told = self._told, None
        kept, self._size = self._size, seen.head.size
        digest = head_hash(seen.head)
        if digest in self._filed or digest in self._named:
            self._held[digest] = seen.head.size
        if seen.head.draft.lost is not None:
            self._successors.append(_Successor(seen.head, seen.head.draft.lost, kept, told))
        elif told is not None:
            self._seconds.append((seen.head, told))
        return ()

    @property
    def kept(self) -> int:
        """How many records the last restore kept; 0 if there was no restore."""
        return max((one.kept for one in self._successors), default=0)

    @cached_property
    def given_up(self) -> Mapping[bytes, Head]:
        """The heads of the heads file, by hash, that belong to a lost tree; known after all heads were handed over."""
        ends = (one.head.draft.previous for one in self._successors)
        return {digest: head for end in ends for digest, head in self._back_from(end)}

    def finish(self) -> Iterator[Finding]:
        """Report for each successor what is wrong with it, or else how many records were lost."""
        ends: set[bytes] = set()
        reached = max((size for digest, size in self._held.items() if digest in self._filed), default=0)
        for one in self._successors:
            wrong = list(self._wrong(one, ends, reached))
            ends.add(one.head.draft.previous)
            yield from wrong or [self._notice(one)]
        for head, facts in self._seconds:
            sentence = (
                f"Records that no head had signed yet were lost with the restore of {stamp(head.draft.at)}; "
                f"certificates and changes of status that were entered again: {facts.get('count')}. "
                f"By {facts.get('by')}: {facts.get('reason')}"
            )
            yield Finding(Code.RECORDS_LOST, f"head of size {head.size}", sentence, Level.NOTICE)

    def _wrong(self, one: _Successor, ends: set[bytes], reached: int) -> Iterator[Finding]:
        end, filed = one.head.draft.previous, self._filed.get(one.head.draft.previous)
        if end in ends:
            yield Finding(Code.SUCCESSOR_REPEATED, one.place, "An earlier successor has given up the same tree.")
        if end in {one.lost.base, FIRST_HEAD} or end in self._held:
            yield Finding(Code.SUCCESSOR_WRONG, one.place, "The tree that this successor gives up is not lost.")
        elif filed is not None and (filed.size, filed.root) != (one.lost.size, one.lost.root):
            yield Finding(
                Code.SUCCESSOR_WRONG, one.place, "The successor says other things of the tree that it gives up."
            )
        elif filed is None and reached >= one.head.size:
            sentence = (
                "The heads file goes as far as this successor and lacks the last head of the tree that it gives up."
            )
            yield Finding(Code.SUCCESSOR_WRONG, one.place, sentence)
        elif filed is not None and self._parted(one) is None:
            sentence = "The heads file lacks a head of the tree that this successor gives up."
            yield Finding(Code.SUCCESSOR_WRONG, one.place, sentence)
        if one.facts is None or (one.facts.get("kept"), one.facts.get("lost")) != (one.kept, one.lost.size):
            sentence = "No record under this successor tells of the restore that it is for."
            yield Finding(Code.SUCCESSOR_UNTOLD, one.place, sentence)

    def _notice(self, one: _Successor) -> Finding:
        """Report how many records were lost, counted from where the two trees part, if the heads file shows that."""
        parted = self._parted(one)
        parted = one.kept if parted is None else parted
        lost = max(one.lost.size - parted, 0)
        facts = one.facts or {}
        sentence = (
            f"{lost} {'record was' if lost == 1 else 'records were'} lost with the restore of "
            f"{stamp(one.head.draft.at)}: the tree had {one.lost.size}, and {parted} of them were kept. "
            f"By {facts.get('by')}: {facts.get('reason')}"
        )
        return Finding(Code.RECORDS_LOST, one.place, sentence, Level.NOTICE)

    def _parted(self, one: _Successor) -> int | None:
        """Return how many records the two trees share, or None if the heads file does not go so far back."""
        end = one.head.draft.previous
        for _, head in self._back_from(end):
            end = head.draft.previous
        return 0 if end == FIRST_HEAD else self._held.get(end)

    def _back_from(self, digest: bytes) -> Iterator[tuple[bytes, Head]]:
        """Yield the heads of a lost tree, from its last head back to the first one that the ledger lacks."""
        while digest in self._filed and digest not in self._held:
            head = self._filed[digest]
            yield digest, head
            digest = head.draft.previous
