"""What both engines promise about one script, one read, one stream and one wake-up."""

import asyncio
import contextlib
import threading

import pytest

from chopmark.core.refusal import Kind, Refusal
from chopmark.core.types import text
from chopmark.store.db import open_engine
from chopmark.store.engine.port import Clash, Engine
from chopmark.store.engine.script import Batch, Notify, Row, Script, query, whole

NO = Refusal(Kind.CONFLICT, text("No."))


class Oops(Exception):
    pass


def make_tables() -> Script[None]:
    yield query("CREATE TABLE things (id BIGINT PRIMARY KEY, name TEXT, made BYTEA, UNIQUE (name, made))")


def add(thing: int, name: str | None = None, made: bytes | None = None) -> Script[None]:
    yield query("INSERT INTO things (id, name, made) VALUES (:id, :name, :made)", id=thing, name=name, made=made)


def ids() -> Script[list[int]]:
    rows = yield query("SELECT id FROM things ORDER BY id")
    return [row["id"] for row in rows]


@pytest.fixture(autouse=True)
async def tables(engine: Engine) -> None:
    await engine.run(make_tables)


async def test_what_a_script_returned_is_committed(engine):
    def script() -> Script[str]:
        yield from add(1)
        yield from add(2)
        return "both"

    assert await engine.run(script) == "both"
    assert await engine.read(ids) == [1, 2]


async def test_nothing_stays_of_a_script_that_raises(engine):
    def script() -> Script[None]:
        yield from add(1)
        raise Oops

    with pytest.raises(Oops):
        await engine.run(script)
    assert await engine.read(ids) == []


async def test_a_refusal_is_a_write(engine):
    def script() -> Script[Refusal]:
        yield from add(1)
        return NO

    assert await engine.run(script) == NO
    assert await engine.read(ids) == [1]


async def test_a_script_without_a_statement_answers(engine):
    def script() -> Script[Refusal]:
        yield Notify("work")
        return NO

    assert await engine.run(script) == NO
    assert await engine.read(script) == NO


async def test_every_kind_of_value_comes_back_as_it_went(engine):
    await engine.run(add, 2**63 - 1, "陳小明 '; --", b"\x00\xff")
    await engine.run(add, -(2**63), None, None)

    def rows() -> Script[list[Row]]:
        return (yield query("SELECT id, name, made FROM things ORDER BY id"))

    assert [dict(row) for row in await engine.read(rows)] == [
        {"id": -(2**63), "name": None, "made": None},
        {"id": 2**63 - 1, "name": "陳小明 '; --", "made": b"\x00\xff"},
    ]


async def test_a_unique_value_that_exists_is_a_clash_that_names_the_key_and_not_the_value(engine):
    await engine.run(add, 1, "secret", b"x")

    def script() -> Script[None]:
        yield from add(2)
        yield from add(3, "secret", b"x")

    with pytest.raises(Clash) as clash:
        await engine.run(script)

    assert (clash.value.table, clash.value.columns) == ("things", ("name", "made"))
    assert "secret" not in str(clash.value)
    assert clash.value.__cause__ is None
    assert clash.value.__suppress_context__ or clash.value.__context__ is None, "the driver's text has the value"
    assert await engine.read(ids) == [1]
    with pytest.raises(Clash) as clash:
        await engine.run(add, 1)
    assert clash.value.columns == ("id",)


async def test_an_error_in_the_sql_is_a_bug_and_leaves_the_engine_working(engine):
    def script() -> Script[None]:
        yield from add(1)
        yield query("SELECT id FROM nowhere")

    with pytest.raises(Exception, match="nowhere"):
        await engine.run(script)
    await engine.run(add, 2)
    assert await engine.read(ids) == [2]


async def test_a_batch_takes_many_rows_in_one_transaction(engine):
    def script(count: int, last: int) -> Script[None]:
        rows = [{"id": n} for n in [*range(count), last]]
        yield Batch("INSERT INTO things (id) VALUES (:id)", rows)

    await engine.run(script, 1000, 1000)
    assert len(await engine.read(ids)) == 1001
    with pytest.raises(Clash):
        await engine.run(script, 0, 5)


async def test_a_whole_statement_is_committed_whatever_its_script_does_next(engine):
    def taken(thing: int) -> Script[int]:
        rows = yield whole("INSERT INTO things (id) VALUES (:id) RETURNING id", id=thing)
        yield Notify("work")
        return int(rows[0]["id"])

    def raises() -> Script[None]:
        yield whole("INSERT INTO things (id) VALUES (2)")
        raise Oops

    def goes_on() -> Script[None]:
        yield whole("INSERT INTO things (id) VALUES (3)")
        yield query("INSERT INTO things (id) VALUES (4)")

    assert await engine.run(taken, 1) == 1
    with pytest.raises(Oops):
        await engine.run(raises)
    with pytest.raises(RuntimeError, match="whole"):
        await engine.run(goes_on)
    with pytest.raises(Clash):
        await engine.run(taken, 1)
    assert await engine.read(ids) == [1, 2, 3]


async def test_a_reading_script_cannot_write(engine):
    with pytest.raises(Exception, match=r"read-?only"):
        await engine.read(add, 1)
    assert await engine.read(ids) == []


async def test_all_statements_of_a_read_see_the_same_moment(engine, engine_url):
    async def write_elsewhere() -> None:
        other = await open_engine(engine_url)
        await other.run(add, 2)
        await other.close()

    def script() -> Script[tuple[list[int], list[int]]]:
        before = yield from ids()
        thread = threading.Thread(target=lambda: asyncio.run(write_elsewhere()))
        thread.start()
        thread.join()
        return before, (yield from ids())

    await engine.run(add, 1)

    assert await engine.read(script) == ([1], [1])
    assert await engine.read(ids) == [1, 2]


async def test_a_stream_gives_all_rows_in_batches_as_they_were_when_it_began(engine):
    def many() -> Script[None]:
        yield Batch("INSERT INTO things (id) VALUES (:id)", [{"id": n} for n in range(25)])

    await engine.run(many)
    seen: list[list[int]] = []
    async for rows in engine.stream("SELECT id FROM things WHERE id >= :low ORDER BY id", {"low": 5}, batch=8):
        seen.append([row["id"] for row in rows])
        await engine.run(add, 100 + len(seen))

    assert [len(batch) for batch in seen] == [8, 8, 4]
    assert [n for batch in seen for n in batch] == list(range(5, 25))


async def test_a_stream_may_be_left_early(engine):
    await engine.run(add, 1)
    await engine.run(add, 2)
    async with contextlib.aclosing(engine.stream("SELECT id FROM things ORDER BY id", {}, batch=1)) as stream:
        assert [row["id"] for row in await anext(stream)] == [1]


async def test_a_committed_notice_wakes_and_a_rolled_back_one_does_not(engine):
    def tell(*, and_raise: bool) -> Script[None]:
        yield from add(1)
        yield Notify("work")
        if and_raise:
            raise Oops

    assert await engine.wait("work", 1), "the first wait returns at once"
    assert not await engine.wait("work", 0.01)
    with pytest.raises(Oops):
        await engine.run(tell, and_raise=True)
    assert not await engine.wait("work", 0.01)

    waiting = asyncio.create_task(engine.wait("work", 10))
    await engine.run(tell, and_raise=False)

    assert await waiting


async def test_a_notice_before_the_wait_is_not_lost(engine):
    await engine.wait("work", 1)
    await engine.wake("work")

    assert await engine.wait("work", 1)
    assert not await engine.wait("work", 0.01)


async def test_a_call_that_nobody_waits_for_any_more_harms_no_other(engine):
    calls = [asyncio.create_task(engine.run(add, n)) for n in range(40)]
    await asyncio.sleep(0)
    for call in calls[::2]:
        call.cancel()
    await asyncio.gather(*calls, return_exceptions=True)

    await asyncio.gather(*(engine.run(add, 100 + n) for n in range(20)))
    kept = set(await engine.read(ids))
    assert kept >= {*range(1, 40, 2), *range(100, 120)}


async def test_an_engine_that_is_closed_refuses(engine):
    await engine.close()
    for verb in (engine.run, engine.read):
        with pytest.raises(Exception, match="unavailable"):
            await verb(ids)
