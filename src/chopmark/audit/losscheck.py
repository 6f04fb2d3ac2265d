"""The verifier's part for restores: successors, the records that tell of them, and which heads they give up.

After a restore there are two trees: the ledger's own, and the one that the older copy lacked. What the heads file has
of the lost tree is no error where a successor in the ledger names the tree's last head and the chain of hashes leads
from there back to a head of the ledger. Every other head that the ledger lacks stays an error.
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

RESTORED_CHAIN = system_stream("restored")


@dataclass(frozen=True, slots=True)
class _Successor:
    """A successor of the ledger, the size of the head before it, and the facts of its record, if it has one."""

    head: Head
    lost: Lost
    kept: int
    facts: Mapping[str, object] | None

    @property
    def place(self) -> str:
        return f"head of size {self.head.size}"


class LossCheck(Part):
    """Every successor gives up one tree, which the heads file ends with, and a record of its batch says by whom."""

    def __init__(self, lines: HeadLines | None) -> None:
        self._filed = {head_hash(head): head for head in (lines.heads if lines is not None else ())}
        self._named = {head.draft.previous for head in self._filed.values()}
        self._held: dict[bytes, int] = {}
        self._successors: list[_Successor] = []
        self._seconds: list[tuple[Head, Mapping[str, object]]] = []
        """Heads that placed the record of a restore which lost no signed head, only what came after the last one."""
        self._told: Mapping[str, object] | None = None
        self._size = 0

    def record(self, seen: Seen, /) -> Iterable[Finding]:
        """Remember the newest record of a restore until the head comes that placed it."""
        record = seen.record
        if record.chain == RESTORED_CHAIN and record.event == Event.AUDIT_LEDGER_RESTORED:
            facts = json.loads(record.facts)
            self._told = facts if isinstance(facts, dict) else {}
        return ()

    def head(self, seen: SeenHead, /) -> Iterable[Finding]:
        """Remember the head where the heads file has or names it, and the successors."""
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
        """How many records the last restore has kept; 0 without one."""
        return max((one.kept for one in self._successors), default=0)

    @cached_property
    def given_up(self) -> Mapping[bytes, Head]:
        """The heads of the heads file, by hash, that lie on a lost tree; to be asked when all heads have passed."""
        ends = (one.head.draft.previous for one in self._successors)
        return {digest: head for end in ends for digest, head in self._back_from(end)}

    def finish(self) -> Iterator[Finding]:
        """Say of each successor what is wrong with it, or what was lost."""
        ends: set[bytes] = set()
        reached = max((size for digest, size in self._held.items() if digest in self._filed), default=0)
        for one in self._successors:
            wrong = list(self._wrong(one, ends, reached))
            ends.add(one.head.draft.previous)
            yield from wrong or [self._notice(one)]
        for head, facts in self._seconds:
            sentence = (
                f"Records that no head had signed yet were lost with the restore of {stamp(head.draft.at)}; "
                f"{facts.get('count')} certificates and changes of status were entered again. "
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
        """Say how many records were lost: from where the two trees part, as far as the heads file shows it."""
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
        """Return how many records the two trees share, by the heads file; None where it does not lead so far back."""
        end = one.head.draft.previous
        for _, head in self._back_from(end):
            end = head.draft.previous
        return 0 if end == FIRST_HEAD else self._held.get(end)

    def _back_from(self, digest: bytes) -> Iterator[tuple[bytes, Head]]:
        """Go back along the heads file from a lost tree's last head as long as the ledger lacks the head."""
        while digest in self._filed and digest not in self._held:
            head = self._filed[digest]
            yield digest, head
            digest = head.draft.previous
