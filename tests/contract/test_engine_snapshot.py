"""A snapshot: several streams, by turns, over the one moment at which it was opened."""

import contextlib

import pytest

from chopmark.core.refusal import Refused
from chopmark.store.engine.script import Script, query


def make_tables() -> Script[None]:
    yield query("CREATE TABLE things (id BIGINT PRIMARY KEY, name TEXT)")
    yield query("CREATE TABLE others (id BIGINT PRIMARY KEY, name TEXT)")
    yield query("CREATE TABLE nothings (id BIGINT PRIMARY KEY)")
    for table in ("things", "others"):
        for number in range(7):
            yield query(f"INSERT INTO {table} VALUES (:id, 'old')", id=number)


def change_everything() -> Script[None]:
    for table in ("things", "others"):
        yield query(f"UPDATE {table} SET name = 'new'")
        yield query(f"INSERT INTO {table} VALUES (99, 'new')")


def names() -> Script[set[str]]:
    rows = yield query("SELECT name FROM things UNION ALL SELECT name FROM others")
    return {row["name"] for row in rows}


@pytest.fixture(params=["sqlite_url", "memory", pytest.param("postgres_dsn", marks=pytest.mark.postgres)])
def engine_url(request):
    return "sqlite://:memory:" if request.param == "memory" else request.getfixturevalue(request.param)


@pytest.fixture(autouse=True)
async def tables(engine):
    await engine.run(make_tables)


async def test_streams_read_by_turns_all_show_the_moment_of_the_opening(engine):
    seen: list[tuple[str, int, str]] = []
    async with engine.snapshot() as snapshot:
        await engine.run(change_everything)
        things = snapshot.stream("SELECT id, name FROM things ORDER BY id", {}, batch=2)
        others = snapshot.stream("SELECT id, name FROM others WHERE id >= :least ORDER BY id", {"least": 3}, batch=3)
        async for rows in things:
            seen += [("things", row["id"], row["name"]) for row in rows]
            seen += [("others", row["id"], row["name"]) for row in await anext(others, [])]

    expected = [("things", number, "old") for number in range(7)] + [
        ("others", number, "old") for number in range(3, 7)
    ]
    assert sorted(seen) == sorted(expected)
    assert seen[2][0] == "others"
    assert await engine.read(names) == {"new"}


async def test_a_table_without_rows_gives_an_empty_stream(engine):
    async with engine.snapshot() as snapshot:
        assert [rows async for rows in snapshot.stream("SELECT id FROM nothings", {})] == []


async def test_two_snapshots_show_two_moments(engine):
    async with engine.snapshot() as before:
        await engine.run(change_everything)
        async with engine.snapshot() as after:
            counts = [
                [row["n"] async for rows in view.stream("SELECT COUNT(*) AS n FROM things", {}) for row in rows]
                for view in (before, after)
            ]
    assert counts == [[7], [8]]


async def test_a_snapshot_may_be_left_in_the_middle_of_a_stream(engine):
    async with engine.snapshot() as snapshot:
        async with contextlib.aclosing(snapshot.stream("SELECT id FROM things", {}, batch=1)) as stream:
            assert await anext(stream)
    await engine.run(change_everything)
    assert await engine.read(names) == {"new"}


async def test_what_the_reader_itself_raises_comes_out_as_it_is(engine):
    """An export onto a full disk is not a database that cannot be reached."""
    with pytest.raises(OSError, match="full"):
        async with engine.snapshot():
            raise OSError("full")


async def test_nothing_can_be_written_through_a_snapshot(engine):
    async with engine.snapshot() as snapshot:
        stream = snapshot.stream("INSERT INTO things VALUES (50, 'x') RETURNING id", {})
        with pytest.raises(Exception, match=r"(?i)read-?only") as caught:
            await anext(stream)
    assert not isinstance(caught.value, Refused)
    assert await engine.read(names) == {"old"}
