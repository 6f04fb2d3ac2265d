"""Many at a time: guards in one statement hold on both engines, and guards in two do not on PostgreSQL."""

import asyncio
import subprocess
import sys
from pathlib import Path

import asyncpg
import pytest

import chopmark
from chopmark.core.refusal import Kind, Refused
from chopmark.store.db import open_engine
from chopmark.store.engine.script import Script, at_once, guard, query

SOURCE = Path(chopmark.__file__).parents[1]
LIMIT = 5
GUESSES = 200
AT_THE_GATE = """
SELECT COUNT(*) FROM pg_locks JOIN pg_database d ON d.oid = database
WHERE locktype = 'advisory' AND NOT granted AND datname = current_database()
"""
"""How many have read and not written yet."""


SOMEBODY_WAITS = """
SELECT COUNT(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'
"""


def make_counter() -> Script[None]:
    yield query("CREATE TABLE counters (id BIGINT PRIMARY KEY, n BIGINT)")
    yield query("INSERT INTO counters VALUES (1, 0)")


def count() -> Script[int]:
    rows = yield query("SELECT n FROM counters WHERE id = 1")
    return int(rows[0]["n"])


def raised() -> Script[None]:
    yield query("UPDATE counters SET n = n + 1 WHERE id = 1")


def second_counter() -> Script[None]:
    yield query("INSERT INTO counters VALUES (2, 0)")


def counted() -> Script[list[int]]:
    return [int(row["n"]) for row in (yield query("SELECT n FROM counters ORDER BY id"))]


def charge_in_one_statement() -> Script[bool]:
    rows = yield query("UPDATE counters SET n = n + 1 WHERE id = 1 AND n < :limit RETURNING n", limit=LIMIT)
    return bool(rows)


def charge_after_reading(between: str) -> Script[bool]:
    n = yield from count()
    if n >= LIMIT:
        return False
    yield query(between)
    yield query("UPDATE counters SET n = :n WHERE id = 1", n=n + 1)
    return True


@pytest.fixture(autouse=True)
async def counter(engine):
    await engine.run(make_counter)


async def test_fifty_increments_at_a_time_are_fifty(engine):
    await asyncio.gather(*(engine.run(raised) for _ in range(50)))

    assert await engine.read(count) == 50


async def test_a_conditional_update_lets_exactly_five_of_two_hundred_through(engine):
    passed = await asyncio.gather(*(engine.run(charge_in_one_statement) for _ in range(GUESSES)))

    assert sum(passed) == LIMIT
    assert await engine.read(count) == LIMIT


async def test_reading_before_writing_lets_more_through_where_transactions_run_side_by_side(engine, engine_url):
    if engine.dialect == "sqlite":
        charges = [engine.run(charge_after_reading, "SELECT 1") for _ in range(GUESSES)]
        assert sum(await asyncio.gather(*charges)) == LIMIT
        return
    with_the_gate = await asyncpg.connect(engine_url)
    try:
        await with_the_gate.execute("SELECT pg_advisory_lock(1)")
        charges = [engine.run(charge_after_reading, "SELECT pg_advisory_xact_lock_shared(1)") for _ in range(GUESSES)]
        passed = asyncio.gather(*charges)
        while await with_the_gate.fetchval(AT_THE_GATE) <= LIMIT:
            pass
        await with_the_gate.execute("SELECT pg_advisory_unlock(1)")
        assert sum(await passed) > LIMIT
    finally:
        await with_the_gate.close()


async def test_two_processes_write_at_the_same_time_and_lose_nothing(engine, engine_url):
    program = """
import asyncio, sys
from chopmark.store.db import open_engine
from chopmark.store.engine.script import query
def raised():
    yield query("UPDATE counters SET n = n + 1 WHERE id = 1")
async def main():
    engine = await open_engine(sys.argv[1])
    print("ready", flush=True)
    sys.stdin.readline()
    await asyncio.gather(*(engine.run(raised) for _ in range(200)))
    await engine.close()
asyncio.run(main())
"""
    with subprocess.Popen(  # noqa: ASYNC220
        [sys.executable, "-c", program, engine_url],
        env={"PYTHONPATH": str(SOURCE)},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    ) as other:
        assert other.stdin
        assert other.stdout
        assert other.stdout.readline() == b"ready\n"
        other.stdin.write(b"go\n")
        other.stdin.flush()
        await asyncio.gather(*(engine.run(raised) for _ in range(200)))
        assert await asyncio.to_thread(other.wait) == 0

    assert await engine.read(count) == 400


def second_after_first() -> Script[bool]:
    first = query("UPDATE counters SET n = n + 1 WHERE id = 1")
    second = guard("UPDATE counters SET n = n + 1 WHERE id = 2 RETURNING id")
    return (yield from at_once(first, second)) is not None


@pytest.mark.parametrize("engine_url", ["postgresql"], indirect=True)
async def test_a_bundle_locks_its_rows_in_the_order_of_its_parts(engine, engine_url):
    await engine.run(second_counter)
    holder, looker = await asyncpg.connect(engine_url), await asyncpg.connect(engine_url)
    try:
        async with holder.transaction():
            await holder.execute("UPDATE counters SET n = n WHERE id = 1")
            waits = asyncio.create_task(engine.run(second_after_first))
            while not await looker.fetchval(SOMEBODY_WAITS):
                pass
            # The bundle waits for the first row, so it does not have the second one yet: nobody can wait in a circle.
            await looker.execute("SELECT n FROM counters WHERE id = 2 FOR UPDATE NOWAIT")
        assert await waits
    finally:
        await holder.close()
        await looker.close()
    assert await engine.read(counted) == [1, 1]


@pytest.mark.parametrize("engine_url", ["postgresql"], indirect=True)
@pytest.mark.parametrize("sqlstate", ["40001", "40P01"])
async def test_a_script_runs_again_after_a_serialization_failure_or_a_deadlock_at_most_three_times(engine, sqlstate):
    runs: list[int] = []

    def script(failures: int) -> Script[str]:
        runs.append(1)
        yield from raised()
        if len(runs) <= failures:
            yield query(f"DO $$ BEGIN RAISE EXCEPTION 'test' USING ERRCODE = '{sqlstate}'; END $$")
        return "done"

    assert await engine.run(script, 3) == "done"
    assert await engine.read(count) == 1

    runs.clear()
    with pytest.raises(Refused) as refused:
        await engine.run(script, 4)
    assert refused.value.refusal.kind is Kind.UNAVAILABLE
    assert len(runs) == 4
    assert await engine.read(count) == 1


async def test_a_notice_is_heard_in_another_process_of_the_database(engine, engine_url):
    other = await open_engine(engine_url)
    await other.wait("work", 1)
    assert not await other.wait("work", 0.01)

    waiting = asyncio.create_task(other.wait("work", 10))
    await engine.wake("work")

    assert await waiting
    await other.close()


@pytest.mark.parametrize("engine_url", ["postgresql"], indirect=True)
async def test_connections_that_the_server_ended_are_replaced(engine, engine_url):
    await engine.wait("work", 1)
    await asyncio.gather(*(engine.run(raised) for _ in range(20)))
    administrator = await asyncpg.connect(engine_url)
    await administrator.execute(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
        " WHERE datname = current_database() AND pid <> pg_backend_pid()"
    )
    await administrator.close()

    answers = await asyncio.gather(*(engine.run(raised) for _ in range(20)), return_exceptions=True)

    refusals = [answer for answer in answers if answer is not None]
    assert {no.refusal.kind if isinstance(no, Refused) else repr(no) for no in refusals} <= {Kind.UNAVAILABLE}
    assert await engine.read(count) == 40 - len(refusals)
    assert await engine.wait("work", 10), "who waits is woken, to look for what it may have missed"
