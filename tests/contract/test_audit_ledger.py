"""The audit's ledger on both engines: writers, sequencers and verifier at once, and every crash between two steps."""

import asyncio
from dataclasses import replace
from datetime import timedelta

import pytest

from chopmark.audit.events import Event
from chopmark.audit.headfile import HeadFile, read_heads
from chopmark.audit.log import StaleStream
from chopmark.audit.ports import Batch, Lease
from chopmark.audit.record import GENESIS, StreamId, leaf_hash, make_record
from chopmark.audit.sequencer import TreeBroken, plan
from chopmark.core.refusal import Refused
from chopmark.store.db import create, open_engine
from chopmark.store.engine.script import Script, query
from chopmark.store.repositories.records import append
from tests.contract.audit_world import KEY, AuditTrail
from tests.unit.audit.ledger import START, KeySigner

A, B = StreamId("ORDERA"), StreamId("ORDERB")
TTL = timedelta(seconds=10)


@pytest.fixture
async def world(engine):
    await create(engine)
    return AuditTrail(engine)


@pytest.fixture
async def elsewhere(world, engine_url):
    """The same ledger as another process sees it: an engine and a audit log of its own."""
    engine = await open_engine(engine_url)
    yield AuditTrail(engine, world.clock, world.heads, world.signer)
    await engine.close()


async def planned(world, lease: Lease) -> Batch:
    """What a sequencer would write now."""
    waiting = await world.ledger.unsequenced(1000)
    made = plan(await world.ledger.latest_head(), waiting, lease.fencing, world.clock.now())
    return made.signed(world.signer.sign(made.draft.message()))


async def write_whatever_it_takes(world, chain: StreamId) -> None:
    """Try again as a customer would when it says that too much is happening."""
    while True:
        try:
            return await world.write(chain)
        except Refused as refused:
            if refused.refusal.code != "busy":
                raise


async def assert_one_contiguous_story(world, count: int) -> None:
    waiting = (await world.ledger.unsequenced(1000)).records
    assert [record.version for record in waiting] == list(range(1, count + 1))
    assert await world.ledger.tip(A) == (await world.rows()).tips[0]
    assert (await world.verify()).findings == ()


async def test_a_chain_begins_at_genesis_and_its_tip_is_its_newest_leaf(world):
    assert (await world.ledger.tip(A)).leaf_hash == GENESIS
    first = make_record(await world.ledger.tip(A), Event.RA_ORDER_OPENED, {}, START, KEY)
    await world.engine.run(append, first)
    tip = await world.ledger.tip(A)
    assert (tip.version, tip.leaf_hash) == (1, leaf_hash(first))


@pytest.mark.parametrize("before", [0, 3])
async def test_a_leaf_on_an_old_tip_is_stale_and_takes_its_transaction_along(world, before):
    for _ in range(before):
        await world.write(A)
    record = make_record(await world.ledger.tip(A), Event.RA_ORDER_OPENED, {}, START, KEY)
    await world.write(A)

    def change_and_leaf() -> Script[None]:
        yield query("INSERT INTO installation (name, value) VALUES ('change', 'made')")
        yield from append(record)

    with pytest.raises(StaleStream):
        await world.engine.run(change_and_leaf)
    assert await world.engine.read(lambda: (yield query("SELECT name FROM installation"))) == []
    await assert_one_contiguous_story(world, before + 1)


async def test_fifty_writers_of_one_process_on_one_chain_all_get_their_leaf(world):
    await asyncio.gather(*(world.write(A, count=number) for number in range(50)))

    await assert_one_contiguous_story(world, 50)


async def test_fifty_writers_of_two_processes_on_one_chain_leave_one_contiguous_story(world, elsewhere):
    writers = [write_whatever_it_takes(place, A) for place in [world, elsewhere] * 25]
    await asyncio.gather(*writers)

    await assert_one_contiguous_story(world, 50)


async def test_the_lease_is_one_holders_until_it_runs_out_and_its_fencing_rises_with_the_holder(world):
    ledger = world.ledger
    assert await ledger.take_lease("one", START, TTL) == Lease("one", 1, START + TTL)
    assert await ledger.take_lease("two", START + TTL / 2, TTL) is None
    assert await ledger.take_lease("one", START + TTL / 2, TTL) == Lease("one", 1, START + TTL * 1.5)
    assert await ledger.take_lease("two", START + TTL, TTL) is None
    assert await ledger.take_lease("two", START + TTL * 1.5, TTL) == Lease("two", 2, START + TTL * 2.5)
    assert await ledger.take_lease("one", START + TTL * 2, TTL) is None


async def test_of_twenty_who_want_a_free_lease_one_gets_it(world):
    wanted = (world.ledger.take_lease(f"holder-{number}", START, TTL) for number in range(20))
    leases = await asyncio.gather(*wanted)

    (lease,) = [lease for lease in leases if lease]
    assert lease.fencing == 1


async def test_a_holder_that_slept_past_its_lease_writes_nothing(world):
    await world.write_many(A, 3)
    old = await world.ledger.take_lease("one", START, TTL)
    batch = await planned(world, old)
    assert await world.ledger.take_lease("two", START + TTL, TTL)

    assert not await world.ledger.sequence(batch, old)

    rows = await world.rows()
    assert [record.index for record in rows.records] == [None] * 3
    assert rows.stored_heads == []


async def test_a_batch_over_an_old_tree_writes_nothing(world):
    await world.write_many(A, 3)
    lease = await world.ledger.take_lease("one", START, TTL)
    batch = await planned(world, lease)
    assert await world.sequence("one") == 3
    before = await world.rows()

    assert not await world.ledger.sequence(batch, lease)
    assert await world.rows() == before


async def test_a_batch_that_places_a_leaf_twice_writes_nothing(world):
    await world.write_many(A, 3)
    lease = await world.ledger.take_lease("one", START, TTL)
    batch = await planned(world, lease)
    twice = replace(batch, entries=(*batch.entries[:2], batch.entries[1]))

    with pytest.raises(TreeBroken):
        await world.ledger.sequence(twice, lease)
    assert {record.index for record in (await world.rows()).records} == {None}


async def test_a_place_that_somebody_invented_stops_the_sequencer(world):
    await world.write_many(A, 3)
    await world.engine.run(lambda: (yield query("INSERT INTO places SELECT 0, entry FROM leaves WHERE version = 3")))

    with pytest.raises(TreeBroken):
        await world.sequence()
    assert [record.index for record in (await world.rows()).records] == [0, None, None]


@pytest.mark.parametrize("column", ["line = 'x'", "frontier = NULL", "size = 4"])
async def test_a_latest_head_that_cannot_be_read_stops_the_sequencer(world, column):
    await world.write_many(A, 3)
    await world.sequence()
    await world.write(A)
    await world.engine.run(lambda: (yield query(f"UPDATE heads SET {column}")))

    with pytest.raises(TreeBroken, match="cannot be read"):
        await world.sequence()


async def test_two_thousand_and_one_leaves_take_three_batches_under_three_heads(world):
    await world.write_many(A, 1500)
    await world.write_many(B, 501)

    assert await world.sequence() == 2001
    assert await world.sequence() == 0

    rows = await world.rows()
    assert [record.index for record in rows.records] == list(range(2001))
    assert [record.stream for record in rows.records] == [A] * 1500 + [B] * 501
    assert [head.size for head in rows.stored_heads] == [1000, 2000, 2001]
    assert (await world.verify()).findings == ()


async def test_two_sequencers_at_once_give_every_leaf_one_place(world, elsewhere):
    for _ in range(10):
        await world.write_many(A, 5)
        await world.write_many(B, 5)
        placed = await asyncio.gather(world.sequence("one", limit=4), elsewhere.sequence("two", limit=4))
        assert sum(placed) == 10
        world.clock.later(seconds=11)

    report = await world.verify()
    assert report.findings == ()
    assert (report.size, report.records) == (100, 100)


async def test_two_sequencers_that_share_a_lease_by_mistake_still_give_every_leaf_one_place(world, elsewhere):
    for _ in range(5):
        await world.write_many(A, 10)
        await asyncio.gather(world.sequence("same", limit=3), elsewhere.sequence("same", limit=3))
        while await world.sequence("same"):
            pass

    rows = await world.rows()
    assert [record.index for record in rows.records] == list(range(50))
    assert (await world.verify()).findings == ()


async def test_a_head_that_a_crash_kept_out_of_the_file_gets_there_before_the_next(world, tmp_path):
    heads = HeadFile(tmp_path / "heads")
    await world.write_many(A, 2)
    await world.sequence(heads=heads)
    await world.write_many(A, 2)
    lease = await world.ledger.take_lease("one", world.clock.now(), TTL)
    assert await world.ledger.sequence(await planned(world, lease), lease)
    # Here the process dies: the database has the head of size 4, the file has not.
    assert [head.size for head in read_heads(tmp_path / "heads").heads] == [2]
    assert (await world.verify(read_heads(tmp_path / "heads"))).findings == ()

    world.clock.later(seconds=11)
    await world.write(B)
    assert await world.sequence("after-the-crash", heads=heads) == 1

    lines = read_heads(tmp_path / "heads")
    assert [head.size for head in lines.heads] == [2, 4, 5]
    assert (await world.verify(lines)).findings == ()


async def test_a_database_behind_the_heads_file_is_not_continued(world):
    await world.write_many(A, 2)
    await world.sequence()
    old = await world.rows()
    await world.write_many(A, 2)
    await world.sequence()
    await world.put(old)
    await world.write(B)

    with pytest.raises(TreeBroken, match="ahead"):
        await world.sequence()


async def test_a_head_by_a_key_that_nobody_declared_is_not_continued(world):
    await world.write(A)
    await world.sequence()
    await world.write(A)
    renewed = AuditTrail(world.engine, world.clock, world.heads, KeySigner())

    with pytest.raises(TreeBroken, match="key"):
        await renewed.sequence()


async def test_verifying_a_ledger_that_others_write_and_sequence_finds_nothing(world, elsewhere, tmp_path):
    heads = HeadFile(tmp_path / "heads")
    await world.write_many(A, 1200)
    await world.sequence(heads=heads)
    written = 0
    done = asyncio.Event()

    async def keep_writing(chain: StreamId) -> None:
        nonlocal written
        while not done.is_set():
            await write_whatever_it_takes(elsewhere, chain)
            written += 1

    async def keep_sequencing() -> None:
        while not done.is_set():
            await elsewhere.sequence("two", heads=heads)

    world.clock.later(seconds=11)
    async with asyncio.TaskGroup() as group:
        group.create_task(keep_writing(A))
        group.create_task(keep_writing(B))
        group.create_task(keep_sequencing())
        reports = [await world.verify(read_heads(tmp_path / "heads")) for _ in range(5)]
        done.set()

    assert [report.findings for report in reports] == [()] * 5
    assert all(report.file_checked and report.macs_checked for report in reports)
    assert reports[-1].records > reports[0].records >= 1200
    await elsewhere.sequence("two", heads=heads)
    last = await world.verify(read_heads(tmp_path / "heads"))
    assert (last.records, last.size) == (1200 + written, 1200 + written)


async def test_an_export_is_verified_like_the_database(world):
    await world.write_many(A, 1100)
    await world.sequence()
    await world.write_many(B, 3)

    report = await world.verify()
    assert report.findings == ()
    assert (report.records, report.size, report.streams, report.heads) == (1103, 1100, 2, 2)
    assert await world.verify_export() == report


async def test_a_database_without_any_record_is_sound(world):
    assert await world.sequence() == 0
    assert (await world.verify()).findings == ()
