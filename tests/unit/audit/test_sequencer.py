"""The sequencer: places in order, a signed head over them, and no way past lease, guard or file."""

from datetime import timedelta
from typing import Any

import pytest

from chopmark.audit.events import Event
from chopmark.audit.head import FIRST_HEAD, decode_head, head_hash, verify_head
from chopmark.audit.record import AuditKey, StreamId
from chopmark.audit.sequencer import TreeBehind, TreeBroken, sequence_once
from chopmark.audit.tree import Frontier, root_of
from chopmark.audit.verify import verify
from tests.unit.audit.ledger import START, KeySigner, MemoryHeads, MemoryTree

SIGNER = KeySigner()
A, B = StreamId("ORDERA"), StreamId("ORDERB")


@pytest.fixture
def ledger():
    return MemoryTree(AuditKey("a1", bytes(range(32))))


def write(ledger, *streams):
    return [ledger.append(stream, Event.RA_ORDER_OPENED, START) for stream in streams]


async def run(ledger, heads, *, seconds=0, holder="one", signer=SIGNER, **more):
    now = START + timedelta(seconds=seconds)
    return await sequence_once(ledger, signer, heads, now=now, holder=holder, **more)


def head_lines(ledger):
    return [decode_head(stored.line) for stored in ledger.rows.stored_heads]


async def test_waiting_leaves_get_their_places_and_a_signed_head(ledger):
    heads = MemoryHeads()
    write(ledger, A, B, A)
    assert await run(ledger, heads) == 3
    assert [record.index for record in ledger.rows.records] == [0, 1, 2]
    (head,) = head_lines(ledger)
    assert head.root == root_of(record.leaf_hash() for record in ledger.rows.records)
    assert head.draft.previous == FIRST_HEAD
    assert verify_head(head, [SIGNER.public_key])
    assert heads.heads == [head]


async def test_each_head_names_the_one_before(ledger):
    heads = MemoryHeads()
    for second in range(3):
        write(ledger, A, B)
        assert await run(ledger, heads, seconds=second) == 2
    first, second, third = head_lines(ledger)
    assert second.draft.previous == head_hash(first)
    assert third.draft.previous == head_hash(second)
    assert [head.size for head in heads.heads] == [2, 4, 6]


async def test_nothing_waiting_writes_no_head(ledger):
    assert await run(ledger, MemoryHeads()) == 0
    assert ledger.rows.stored_heads == []


async def test_a_batch_is_bounded_and_the_rest_comes_next(ledger):
    heads = MemoryHeads()
    write(ledger, *[A] * 5)
    assert [await run(ledger, heads, limit=2) for _ in range(4)] == [2, 2, 1, 0]


async def test_only_the_holder_of_the_lease_sequences(ledger):
    heads = MemoryHeads()
    write(ledger, A)
    assert await run(ledger, heads, holder="one") == 1
    write(ledger, A)
    assert await run(ledger, heads, holder="two", seconds=1) == 0
    assert await run(ledger, heads, holder="two", seconds=11) == 1
    assert [head.draft.fencing for head in head_lines(ledger)] == [1, 2]


async def test_a_holder_that_slept_past_its_lease_writes_nothing(ledger):
    heads = MemoryHeads()
    write(ledger, A)

    class Slow(MemoryTree):
        """Lets a second holder finish between planning and writing."""

        async def sequence(self, batch, lease):
            itself: Any = self
            itself.__class__ = MemoryTree
            assert await run(self, heads, holder="two", seconds=11) == 1
            return await self.sequence(batch, lease)

    ledger.__class__ = Slow
    assert await run(ledger, heads, holder="one") == 0
    assert len(ledger.rows.stored_heads) == 1
    assert [head.draft.fencing for head in heads.heads] == [2]


async def test_a_head_that_a_full_disk_kept_out_of_the_file_gets_there_before_the_next(ledger):
    heads = MemoryHeads()
    heads.full = True
    write(ledger, A)
    with pytest.raises(OSError, match="no space"):
        await run(ledger, heads)
    write(ledger, A)
    with pytest.raises(OSError, match="no space"):
        await run(ledger, heads)
    assert [record.index for record in ledger.rows.records] == [0, None]
    heads.full = False
    assert await run(ledger, heads) == 1
    assert heads.heads == head_lines(ledger)
    report = await verify(ledger.rows, None, [SIGNER.public_key], heads.lines(), START)
    assert report.findings == ()


async def test_a_ledger_behind_the_heads_file_is_not_continued(ledger):
    heads = MemoryHeads()
    write(ledger, A)
    await run(ledger, heads)
    write(ledger, A)
    before = ledger.rows.copy()
    await run(ledger, heads)
    ledger.rows = before
    with pytest.raises(TreeBehind, match=r"ahead of the ledger.*knows 2 leaves, the ledger has 1.*db restored"):
        await run(ledger, heads)
    ledger.rows.stored_heads.clear()
    with pytest.raises(TreeBroken, match="ahead of the ledger"):
        await run(ledger, heads)


async def test_another_head_of_the_same_size_stops_the_sequencer(ledger):
    heads, others = MemoryHeads(), MemoryHeads()
    write(ledger, A)
    before = ledger.rows.copy()
    await run(ledger, heads)
    ledger.rows = before
    await run(ledger, others, seconds=5)
    with pytest.raises(TreeBehind, match="has another head"):
        await run(ledger, heads)


async def test_a_head_by_another_key_is_continued_only_after_a_declared_rotation(ledger):
    heads = MemoryHeads()
    write(ledger, A)
    await run(ledger, heads)
    write(ledger, A)
    renewed = KeySigner()
    with pytest.raises(TreeBroken, match="not signed by our key"):
        await run(ledger, heads, signer=renewed)
    assert await run(ledger, heads, signer=renewed, former_keys=[SIGNER.public_key]) == 1


async def test_a_tampered_frontier_or_waiting_leaf_stops_the_sequencer(ledger):
    heads = MemoryHeads()
    write(ledger, A)
    await run(ledger, heads)
    write(ledger, A)
    good = ledger.rows.copy()
    ledger.rows.stored_heads[0] = type(good.stored_heads[0])(
        1, good.stored_heads[0].line, Frontier().append(bytes(32)).to_bytes()
    )
    with pytest.raises(TreeBroken, match="frontier"):
        await run(ledger, heads)
    ledger.rows = good
    ledger.rows.records[1] = type(good.records[1])("ORDERA", 2, b"", "", "", "", "", b"")
    with pytest.raises(TreeBroken, match="ORDERA@2"):
        await run(ledger, heads)


async def test_a_longer_ledger_that_lacks_the_files_last_head_is_not_continued(ledger):
    """A standby that lost seconds and went on: longer by now, and not the ledger that wrote the file."""
    heads, others = MemoryHeads(), MemoryHeads()
    write(ledger, A)
    await run(ledger, heads)
    write(ledger, A, A)
    before = ledger.rows.copy()
    await run(ledger, heads, seconds=1)
    ledger.rows = before
    others.heads = heads.heads[:1]
    write(ledger, B)
    await run(ledger, others, seconds=2)
    write(ledger, B)
    await run(ledger, others, seconds=3)
    with pytest.raises(TreeBehind, match="has another head than the ledger"):
        await run(ledger, heads, seconds=4)
