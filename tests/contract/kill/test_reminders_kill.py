"""Kill -9 in the middle of a wave of reminders, with two workers at it: nothing is sent twice, and nothing is lost."""

import asyncio
import sys
from collections import Counter
from datetime import time, timedelta
from pathlib import Path

import pytest

from chopmark.jobs.remind import BATCH
from chopmark.ra.reminders.policy import Hours
from tests.architecture.rules import REPOSITORY
from tests.contract.reminded import Reminded, taipei, with_policy
from tests.contract.world import World, world_fixture

world = world_fixture()
DUE = taipei(2026, 7, 28, 18, 30)
"""All are due, and the sending hours of the workers have not ended."""


async def worker(world: World, number: int, path: Path, messages: int = 0) -> asyncio.subprocess.Process:
    """Start a worker whose clock is so many minutes on, so that the leases of dead ones have run out.

    After so many messages its gateways answer no more; with 0 they always do.
    """
    at = (DUE + timedelta(minutes=2 * number)).isoformat()
    command = (sys.executable, "-m", "tests.contract.kill.reminding_child", world.url, at, str(path), str(messages))
    return await asyncio.create_subprocess_exec(*command, cwd=REPOSITORY, stdout=asyncio.subprocess.PIPE)


async def killed(process: asyncio.subprocess.Process) -> None:
    """Kill the worker when it has handed over its messages and waits for an answer."""
    assert process.stdout is not None
    assert await process.stdout.readline() == b"handed\n"
    process.kill()
    await process.wait()


def read(path: Path) -> list[str]:
    return path.read_text().split()


async def wave(world: World, people: int, kills: tuple[int, ...], path: Path) -> None:
    reminded = with_policy(Reminded(world), capacity=10**6, sending=Hours(time(13, 40), time(18)))
    await reminded.crowd(people, taipei(2026, 7, 31, 23, 59, 59))
    await reminded.at(2026, 7, 28, 3)
    await reminded.plan()
    assert await world.count("reminders", "day = '2026-07-28' AND state = 'planned'") == people
    for number, messages in enumerate(kills):
        both = [await worker(world, number, path, messages) for _ in range(2)]
        await asyncio.gather(*map(killed, both))
    last = await worker(world, len(kills), path)
    assert last.stdout is not None
    await last.communicate()
    assert last.returncode == 0
    handed = Counter(read(path))
    assert max(handed.values()) == 1
    rows = await world.rows("SELECT id, state FROM reminders WHERE day = '2026-07-28'")
    states = Counter(row["state"] for row in rows)
    assert set(states) <= {"sent", "unknown"}
    assert sum(states.values()) == people
    assert 2 * len(kills) <= states["unknown"] <= 2 * BATCH * len(kills)
    assert {row["id"] for row in rows if row["state"] == "sent"} <= set(handed)
    assert set(handed) <= {row["id"] for row in rows}


async def test_a_wave_whose_workers_are_killed_is_sent_once_and_what_may_have_been_sent_is_shown(
    world: World, tmp_path: Path
) -> None:
    await wave(world, 300, (40,), tmp_path / "handed")


@pytest.mark.soak
async def test_a_wave_of_fifty_thousand_whose_workers_are_killed_is_sent_once(world: World, tmp_path: Path) -> None:
    await wave(world, 50_000, (900, 4000, 1, 7000, 333, 2500), tmp_path / "handed")
