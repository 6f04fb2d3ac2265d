"""Wake-ups between the processes of a SQLite file: whoever is killed, deleted, copied or in the way."""

import asyncio
import contextlib
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

import chopmark
from chopmark.store.db import open_engine
from chopmark.store.engine.opening import sqlite_path
from chopmark.store.engine.port import UNHEARD_S, Engine
from chopmark.store.engine.sqlite_notifier import beside

SOURCE = Path(chopmark.__file__).parents[1]
LONG_S = 30
"""Longer than any wake-up takes: who waits so long and is woken was not lucky."""
LISTENER = """
import asyncio, sys
from chopmark.store.db import open_engine
async def main():
    engine = await open_engine(sys.argv[1])
    while await engine.wait("work", 60):
        print("woken", flush=True)
asyncio.run(main())
"""


async def listening(url: str) -> Engine:
    """An engine as another process has it, which has waited before and would now wait long."""
    engine = await open_engine(url)
    assert await engine.wait("work", LONG_S)
    assert not await engine.wait("work", 0.01)
    return engine


def gone(folder: Path, to: Path | None) -> None:
    """Delete the folder, or move it away."""
    if to is None:
        shutil.rmtree(folder)
    else:
        folder.rename(to)


async def wakes(engine: Engine, *others: Engine) -> bool:
    """Whether all others that wait are woken from here."""
    waiting = [asyncio.create_task(other.wait("work", LONG_S)) for other in others]
    await asyncio.sleep(0)
    await engine.wake("work")
    return all(await asyncio.gather(*waiting))


async def test_all_workers_are_woken_and_a_channel_wakes_nobody_who_waits_on_another(sqlite_url: str) -> None:
    async with contextlib.AsyncExitStack() as stack:
        engine, *workers = [await listening(sqlite_url) for _ in range(3)]
        for each in (engine, *workers):
            stack.push_async_callback(each.close)
        assert await wakes(engine, *workers)
        for worker in workers:
            assert await worker.wait("other", LONG_S), "the first wait returns at once"
        waiting = asyncio.create_task(workers[0].wait("other", 0.05))
        await engine.wake("work")
        assert not await waiting
        assert await workers[0].wait("work", LONG_S)


async def test_who_is_woken_here_is_not_woken_a_second_time_by_the_own_announcement(sqlite_url: str) -> None:
    engine = await listening(sqlite_url)
    assert await wakes(engine, engine)
    assert not await engine.wait("work", 0.05)
    await engine.close()


async def test_nobody_needs_to_listen_and_a_killed_listener_is_in_nobody_s_way(sqlite_url: str) -> None:
    engine = await open_engine(sqlite_url)
    await engine.wake("work")
    with subprocess.Popen(  # noqa: ASYNC220
        [sys.executable, "-c", LISTENER, sqlite_url], env={"PYTHONPATH": str(SOURCE)}, stdout=subprocess.PIPE
    ) as other:
        assert other.stdout
        assert other.stdout.readline() == b"woken\n"  # the first wait
        await engine.wake("work")
        assert await asyncio.to_thread(other.stdout.readline) == b"woken\n"
        other.send_signal(signal.SIGKILL)
    await engine.wake("work")
    later = await listening(sqlite_url)
    assert await wakes(engine, later)
    await engine.close()
    await later.close()


@pytest.mark.parametrize("how", ["deleted", "moved away"])
async def test_a_folder_that_is_gone_is_made_and_watched_again(sqlite_url: str, tmp_path: Path, how: str) -> None:
    """A database is put back from a copy: what lay beside it is moved away or deleted."""
    engine, other = await listening(sqlite_url), await listening(sqlite_url)
    gone(beside(sqlite_path(sqlite_url)), tmp_path / "replaced" if how == "moved away" else None)
    for each in (engine, other):
        assert await each.wait("work", LONG_S), "who waits is woken, to look for what it may have missed"
        await each.wait("work", 0.01)
    assert await wakes(engine, other)
    await engine.close()
    await other.close()


async def test_a_path_that_is_too_long_for_a_socket_is_none_too_long_here(tmp_path: Path) -> None:
    engine, other = [await listening(f"sqlite:///{tmp_path / ('long' * 40)}") for _ in range(2)]
    assert await wakes(engine, other)
    await engine.close()
    await other.close()


async def test_where_the_folder_cannot_be_made_everybody_looks_twice_a_second(sqlite_url: str) -> None:
    blocked = beside(sqlite_path(sqlite_url))
    blocked.write_bytes(b"")
    engine = await listening(sqlite_url)
    await engine.wake("elsewhere")
    loop = asyncio.get_running_loop()
    begun = loop.time()
    assert not await engine.wait("work", LONG_S)
    assert loop.time() - begun < UNHEARD_S + LONG_S / 2
    blocked.unlink()
    assert await engine.wait("work", LONG_S), "heard again: something may have been announced meanwhile"
    await engine.close()


def laid(folder: Path) -> set[tuple[str, int, int]]:
    """Name, mode and size of the folder and of all that lies in it."""
    return {(one.name, one.stat().st_mode & 0o777, one.stat().st_size * one.is_file()) for one in folder.iterdir()}


async def test_what_lies_beside_the_database_is_its_owner_s_alone_and_can_be_copied(
    sqlite_url: str, tmp_path: Path
) -> None:
    engine = await listening(sqlite_url)
    await engine.wake("work")
    assert (".store.db-wake", 0o700, 0) in laid(tmp_path)
    assert laid(beside(sqlite_path(sqlite_url))) == {("work", 0o600, 0)}
    shutil.copytree(beside(sqlite_path(sqlite_url)), tmp_path / "copy")
    await engine.close()
