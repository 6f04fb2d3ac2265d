"""What was acknowledged is there afterwards, whatever died; what was not acknowledged was refused."""

import asyncio
import contextlib
import os
import signal
import sqlite3
import stat
import subprocess
import sys
from collections.abc import Awaitable, Callable
from contextlib import closing
from pathlib import Path

import asyncpg
import pytest

import chopmark
from chopmark.core.refusal import Kind, Refused
from chopmark.store.db import open_engine
from chopmark.store.engine.port import Engine, NotDurable
from chopmark.store.engine.script import Script, query
from chopmark.store.engine.sqlite import WAITING
from tests import postgres

SOURCE = Path(chopmark.__file__).parents[1]

CHILD = """
import asyncio, os, resource, sqlite3, sys
from chopmark.core.refusal import Refused
from chopmark.store.db import open_engine
from chopmark.store.engine.script import query

def add(n, size):
    yield query("INSERT INTO things VALUES (:n, :filler)", n=n, filler="x" * size)
"""

ACKNOWLEDGING = (
    CHILD
    + """
async def main():
    engine = await open_engine(sys.argv[1])
    async def worker(first):
        for n in range(first, first + 1_000_000):
            await engine.run(add, n, 300)
            os.write(1, b"%d\\n" % n)
    await asyncio.gather(*(worker(k * 1_000_000) for k in range(16)))
asyncio.run(main())
"""
)

# A file that may not grow any more fails in write(2), at the commit: the page cache holds the statements until then.
STUCK = (
    CHILD
    + """
def limit(size):
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, resource.RLIM_INFINITY))

async def main():
    path = sys.argv[1].removeprefix("sqlite:///")
    engine = await open_engine(sys.argv[1])
    await engine.run(add, 0, 300)
    limit(os.stat(path + "-wal").st_size + 30_000)
    answers = await asyncio.gather(*(engine.run(add, n, 3000) for n in range(1, 101)), return_exceptions=True)
    limit(resource.RLIM_INFINITY)
    for n, answer in enumerate(answers, 1):
        if answer is None:
            print(n)
        elif not isinstance(answer, Refused):
            raise answer
    await engine.run(add, 1000, 300)
    print(1000)
    await engine.close()
asyncio.run(main())
"""
)


def make_things() -> Script[None]:
    yield query("CREATE TABLE things (n BIGINT PRIMARY KEY, filler TEXT)")


def add(n: int, size: int = 1) -> Script[None]:
    yield query("INSERT INTO things VALUES (:n, :filler)", n=n, filler="x" * size)


def ns() -> Script[set[int]]:
    rows = yield query("SELECT n FROM things")
    return {row["n"] for row in rows}


async def prepared(url: str) -> Engine:
    engine = await open_engine(url)
    await engine.run(make_things)
    return engine


def child(program: str, url: str) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [sys.executable, "-c", program, url], env={"PYTHONPATH": str(SOURCE)}, stdout=subprocess.PIPE
    )


async def test_kill_9_of_the_process_keeps_every_acknowledged_row(engine_url):
    await (await prepared(engine_url)).close()
    with child(ACKNOWLEDGING, engine_url) as process:
        assert process.stdout
        lines = [process.stdout.readline() for _ in range(1000)]
        process.send_signal(signal.SIGKILL)
        lines += process.stdout.readlines()
    acknowledged = {int(line) for line in lines if line.endswith(b"\n")}

    engine = await open_engine(engine_url)
    stored = await engine.read(ns)
    await engine.close()

    assert len(acknowledged) >= 1000
    assert acknowledged <= stored


async def test_kill_of_the_postgresql_server_keeps_every_acknowledged_row():
    with postgres.running() as cluster:
        url = await cluster.fresh_database()
        engine = await prepared(url)
        acknowledged: set[int] = set()
        enough = asyncio.Event()

        async def worker(first: int) -> Refused:
            for n in range(first, first + 1_000_000):
                try:
                    await engine.run(add, n)
                except Refused as refused:
                    return refused
                acknowledged.add(n)
                if len(acknowledged) >= 300:
                    enough.set()
            raise AssertionError

        workers = [asyncio.create_task(worker(k * 1_000_000)) for k in range(8)]
        await enough.wait()
        server = cluster.process
        server.send_signal(signal.SIGQUIT)  # immediate: no checkpoint, recovery at the next start
        server.wait()
        refusals = await asyncio.gather(*workers)
        assert {refused.refusal.kind for refused in refusals} == {Kind.UNAVAILABLE}
        with pytest.raises(Refused):
            await engine.read(ns)

        data = cluster.directory / "data"
        command: list[str | Path] = [
            cluster.programs / "postgres",
            "-D",
            data,
            "-k",
            cluster.directory,
            "-c",
            "listen_addresses=",
        ]
        user = data.stat().st_uid if os.geteuid() == 0 else None
        again = subprocess.Popen(command, user=user, cwd=cluster.directory, stderr=subprocess.DEVNULL)  # noqa: ASYNC220
        try:
            postgres.await_answer(cluster.programs, cluster.directory, again)
            assert acknowledged <= await engine.read(ns), "the same engine finds the server again"
            await engine.close()
        finally:
            again.send_signal(signal.SIGINT)
            again.wait()


async def test_a_database_whose_disk_is_gone_is_not_made_anew_and_is_used_again_when_it_is_back(sqlite_url):
    engine = await prepared(sqlite_url)
    path = Path(sqlite_url.removeprefix("sqlite:///"))
    away = path.with_name("away.db")

    def fails() -> Script[None]:
        yield from add(1)
        fault = sqlite3.OperationalError("disk I/O error")
        fault.sqlite_errorcode = sqlite3.SQLITE_IOERR
        raise fault

    await asyncio.to_thread(path.rename, away)
    async with asyncio.timeout(30):
        for script in (fails, ns):  # the second one finds no file: the writer has dropped its connection
            with pytest.raises(Refused):
                await engine.run(script)
        with pytest.raises(Refused):
            await anext(engine.stream("SELECT n FROM things", {}))
        assert not await asyncio.to_thread(path.exists)
        await asyncio.to_thread(away.rename, path)
        await engine.run(add, 2)
        assert await engine.run(ns) == {2}
        await engine.close()


async def test_a_commit_that_cannot_be_written_acknowledges_nobody(sqlite_url):
    await (await prepared(sqlite_url)).close()
    with child(STUCK, sqlite_url) as process:
        assert process.stdout
        acknowledged = {int(line) for line in process.stdout.readlines()}
    assert process.returncode == 0

    engine = await open_engine(sqlite_url)
    stored = await engine.read(ns)
    await engine.close()

    assert stored == acknowledged | {0}
    assert 1000 in stored, "it works again when there is room"
    assert len(stored) < 102, "some were refused"


@pytest.mark.parametrize("where", ["file", "memory"])
async def test_a_full_database_refuses_what_it_did_not_keep_and_recovers(sqlite_url, where):
    engine = await prepared(sqlite_url if where == "file" else "sqlite://:memory:")

    def pages(count: int) -> Script[None]:
        yield query(f"PRAGMA max_page_count = {count}")

    await engine.run(pages, 30)
    answers = await asyncio.gather(*(engine.run(add, n, 3000) for n in range(100)), return_exceptions=True)
    kept = {n for n, answer in enumerate(answers) if answer is None}
    refusals = [answer for answer in answers if answer is not None]

    assert all(isinstance(no, Refused) and no.refusal.kind is Kind.UNAVAILABLE for no in refusals)
    assert all(isinstance(no.__cause__, sqlite3.OperationalError) for no in refusals if isinstance(no, Refused))
    assert 0 < len(kept) < 100
    assert await engine.read(ns) == kept

    await engine.run(pages, 1000)
    await engine.run(add, 1000, 3000)
    assert await engine.read(ns) == kept | {1000}
    await engine.close()


async def test_one_call_too_big_for_the_disk_does_not_take_its_neighbours_with_it(sqlite_url):
    engine = await prepared(sqlite_url)

    def pages() -> Script[None]:
        yield query("PRAGMA max_page_count = 100")

    await engine.run(pages)
    sizes = [10, 10, 10, 5_000_000, 10, 10, 10]
    answers = await asyncio.gather(*(engine.run(add, n, size) for n, size in enumerate(sizes)), return_exceptions=True)

    assert [answer is None for answer in answers] == [size == 10 for size in sizes]
    assert await engine.read(ns) == {0, 1, 2, 4, 5, 6}
    await engine.close()


async def test_a_script_that_raises_does_not_take_its_group_with_it(sqlite_url):
    engine = await prepared(sqlite_url)

    def add_unless_odd(n: int) -> Script[None]:
        yield from add(n)
        if n % 2:
            raise ArithmeticError

    answers = await asyncio.gather(*(engine.run(add_unless_odd, n) for n in range(64)), return_exceptions=True)

    assert [isinstance(answer, ArithmeticError) for answer in answers] == [bool(n % 2) for n in range(64)]
    assert await engine.read(ns) == set(range(0, 64, 2))
    await engine.close()


async def test_a_script_that_ends_the_transaction_itself_is_refused_and_the_writer_lives(sqlite_url):
    engine = await prepared(sqlite_url)

    def ends() -> Script[None]:
        yield query("ROLLBACK")
        raise ArithmeticError

    with pytest.raises(Refused):
        await engine.run(ends)
    await engine.run(add, 1)
    assert await engine.read(ns) == {1}
    await engine.close()


async def test_too_many_waiting_calls_are_refused_at_once(sqlite_url):
    engine = await prepared(sqlite_url)

    answers = await asyncio.gather(*(engine.run(add, n) for n in range(WAITING + 10)), return_exceptions=True)

    assert sum(isinstance(answer, Refused) for answer in answers) == 10
    assert len(await engine.read(ns)) == WAITING
    await engine.close()


async def test_a_new_sqlite_file_is_its_owners_alone_and_holds_wal(sqlite_url):
    engine = await prepared(sqlite_url)
    path = Path(sqlite_url.removeprefix("sqlite:///"))

    assert {stat.S_IMODE(file.stat().st_mode) for file in path.parent.glob(path.name + "*")} == {0o600}
    await engine.close()
    with closing(sqlite3.connect(path)) as db:
        assert db.execute("PRAGMA journal_mode").fetchone() == ("wal",)
        assert db.execute("PRAGMA integrity_check").fetchone() == ("ok",)


async def test_the_writer_syncs_every_commit_and_holds_foreign_keys(sqlite_url):
    engine = await open_engine(sqlite_url)

    def setting(name: str) -> Script[int]:
        rows = yield query(f"PRAGMA {name}")
        return int(dict(rows[0])[name])

    assert await engine.run(setting, "synchronous") == 2
    assert await engine.run(setting, "foreign_keys") == 1
    assert await engine.read(setting, "query_only") == 1
    await engine.close()


@pytest.mark.parametrize("address", ["sqlite:///", "mysql://x/y", "file.db", "sqlite:///x.db?group=maybe"])
async def test_an_address_that_is_none_is_refused_in_words(address):
    with pytest.raises(ValueError, match=r"address|group"):
        await open_engine(address)


async def test_a_database_that_cannot_be_reached_is_unavailable(tmp_path):
    for url in (f"sqlite:///{tmp_path}", f"postgresql://nobody@/nothing?host={tmp_path}"):
        with pytest.raises(Refused) as refused:
            await open_engine(url)
        assert refused.value.refusal.kind is Kind.UNAVAILABLE
        assert refused.value.__cause__ is not None


async def test_a_postgresql_that_could_lose_commits_is_not_opened(postgres_dsn):
    connection = await asyncpg.connect(postgres_dsn)
    await connection.execute(
        "DO $$ BEGIN EXECUTE format('ALTER DATABASE %I SET synchronous_commit = off', current_database()); END $$"
    )
    await connection.close()

    with pytest.raises(NotDurable, match="synchronous_commit"):
        await open_engine(postgres_dsn)
    engine = await open_engine(postgres_dsn, durable=False)
    await engine.close()


SLOW = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 3000000) SELECT MAX(i) AS most FROM n"
"""Its thread is busy with it for a while after whoever asked has gone."""


async def of_the_engine(engine: Engine) -> None:
    async for _ in engine.stream(SLOW, {}):
        pass


async def of_a_snapshot(engine: Engine) -> None:
    async with engine.snapshot() as snapshot:
        async for _ in snapshot.stream(SLOW, {}):
            pass


@pytest.mark.parametrize("turns", [0, 50, 5_000])
@pytest.mark.parametrize("reading", [of_the_engine, of_a_snapshot])
async def test_a_closed_database_can_be_replaced_though_a_stream_was_left_in_the_middle(
    sqlite_url: str, reading: Callable[[Engine], Awaitable[None]], turns: int
) -> None:
    path = Path(sqlite_url.removeprefix("sqlite:///"))
    engine = await open_engine(sqlite_url)
    asked = asyncio.ensure_future(reading(engine))
    for _ in range(turns):
        await asyncio.sleep(0)
    asked.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await asked
    await engine.close()
    assert opened(path) == 0
    assert [one.name for one in path.parent.iterdir() if one.is_file()] == [path.name]


def opened(path: Path) -> int:
    """How many descriptors of this process lead to the file."""
    leading = 0
    for descriptor in Path("/proc/self/fd").iterdir():
        with contextlib.suppress(FileNotFoundError):  # the one that lists them
            leading += descriptor.readlink() == path
    return leading
