"""A bundle is the whole transaction: all of its parts, or nothing and a script that goes on."""

from typing import Any

import pytest

from chopmark.store.engine.port import Engine
from chopmark.store.engine.script import Notify, Script, at_once, guard, query, whole

_INSERT = "INSERT INTO things (id, n) VALUES (:id, :n) ON CONFLICT (id) DO NOTHING RETURNING id, n"


@pytest.fixture
async def things(engine: Engine) -> Engine:
    def made() -> Script[None]:
        yield query("CREATE TABLE things (id TEXT PRIMARY KEY, n BIGINT, b TEXT UNIQUE)")
        yield query("INSERT INTO things (id, n) VALUES ('old', 7)")

    await engine.run(made)
    return engine


async def count(engine: Engine) -> int:
    def script() -> Script[int]:
        return int((yield whole("SELECT COUNT(*) AS n FROM things"))[0]["n"])

    return await engine.read(script)


def put(name: str, condition: int, unique: str | None = None) -> Script[Any]:
    done = yield from at_once(
        guard(_INSERT, id=name, n=1),
        query("SELECT id, n FROM things WHERE id IN ('old', 'older') ORDER BY id"),
        guard("SELECT 1 AS held WHERE CAST(:condition AS BIGINT) = 1", condition=condition),
        query("INSERT INTO things (id, n, b) VALUES (:id, 2, :b)", id=f"{name}-2", b=unique),
    )
    if done is None:
        return (yield query("SELECT COUNT(*) AS n FROM things"))[0]["n"]
    return [[dict(row) for row in rows] for rows in done]


async def test_every_part_gives_its_rows(things: Engine) -> None:
    told = await things.run(put, "new", 1)
    assert told == [[{"id": "new", "n": 1}], [{"id": "old", "n": 7}], [{"held": 1}], []]
    assert await count(things) == 3


@pytest.mark.parametrize(("name", "condition"), [("old", 1), ("new", 0)])
async def test_a_guard_without_a_row_takes_all_parts_back(things: Engine, name: str, condition: int) -> None:
    assert await things.run(put, name, condition) == 1
    assert await count(things) == 1


async def test_a_unique_value_that_exists_is_a_guard_that_failed(things: Engine) -> None:
    await things.run(put, "first", 1, "b")
    assert await things.run(put, "second", 1, "b") == 3
    assert await count(things) == 3


async def test_what_a_script_does_after_a_failed_guard_is_kept(things: Engine) -> None:
    def script() -> Script[None]:
        assert (yield from at_once(guard("SELECT 1 AS one WHERE 1 = 0"))) is None
        yield query("INSERT INTO things (id, n) VALUES ('after', 1)")

    await things.run(script)
    assert await count(things) == 2


async def test_a_mistake_of_ours_is_no_failed_guard(things: Engine) -> None:
    def script() -> Script[None]:
        yield from at_once(query("SELECT CAST(:word AS TEXT) AS word, nothing FROM things", word="x"))

    with pytest.raises(Exception, match="nothing"):
        await things.run(script)


@pytest.mark.parametrize("after", ["again", "query"])
async def test_a_bundle_that_succeeded_is_the_whole_script(things: Engine, after: str) -> None:
    def script() -> Script[None]:
        yield from at_once(query("SELECT id FROM things"))
        yield Notify("things")
        if after == "again":
            yield from at_once(query("SELECT id FROM things"))
        else:
            yield query("SELECT id FROM things")

    with pytest.raises(RuntimeError, match="whole"):
        await things.run(script)


async def test_a_bundle_comes_first(things: Engine) -> None:
    def script() -> Script[None]:
        yield query("INSERT INTO things (id, n) VALUES ('kept?', 1)")
        yield from at_once(query("SELECT id FROM things"))

    with pytest.raises(RuntimeError, match="whole"):
        await things.run(script)
    assert await count(things) == 1
