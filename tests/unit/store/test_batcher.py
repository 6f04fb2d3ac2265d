"""Who joins bundles of one shape, when all ends at once: nobody may be left waiting."""

import asyncio
from typing import Any

import pytest

from chopmark.store.engine.postgres_batcher import WORKERS, Batcher
from chopmark.store.engine.postgres_pool import Pool
from chopmark.store.engine.script import Bundle, query

BUNDLE = Bundle((query("SELECT 'what only these tests ask, since the process remembers its columns'"),), batchable=True)


class Prepared:
    def get_attributes(self) -> list[Any]:
        return []


class Connection:
    """A connection whose server answers all at the same moment, when the test says so."""

    def __init__(self, gate: asyncio.Event, failure: Exception | None = None) -> None:
        self.gate = gate
        self.failure = failure

    async def prepare(self, _sql: str) -> Prepared:
        return Prepared()

    async def fetch(self, _sql: str, *_values: object) -> list[tuple[int]]:
        await self.gate.wait()
        if self.failure is not None:
            raise self.failure
        return [(1,)]

    def is_closed(self) -> bool:
        return False

    def is_in_transaction(self) -> bool:
        return False


def batcher(gate: asyncio.Event, failure: Exception | None = None) -> Batcher:
    async def connect() -> Connection:
        return Connection(gate, failure)

    return Batcher(Pool(connect, WORKERS))


async def turns() -> None:
    """Let the loop run all that is ready, many times over."""
    for _ in range(100):
        await asyncio.sleep(0)


async def left_waiting(users: list[asyncio.Task[Any]], gate: asyncio.Event) -> list[asyncio.Task[Any]]:
    """Let the server answer; return who still waits when nothing is left to run."""
    gate.set()
    await turns()
    waiting = [user for user in users if not user.done()]
    for user in waiting:
        user.cancel()
    return waiting


async def test_who_comes_in_the_moment_when_all_lanes_have_ended_is_served() -> None:
    gate = asyncio.Event()
    together = batcher(gate)

    async def again_and_again(times: int) -> list[object]:
        return [await together.perform(BUNDLE) for _ in range(times)]

    users: list[asyncio.Task[Any]] = []
    for times in (2, *[1] * (WORKERS - 1)):  # one after the other: a worker for each
        users.append(asyncio.create_task(again_and_again(times)))
        await turns()
    assert not await left_waiting(users, gate)


async def test_who_waits_behind_a_lane_that_died_is_told_so() -> None:
    gate = asyncio.Event()
    together = batcher(gate, LookupError("nobody has thought of this"))
    users: list[asyncio.Task[Any]] = [asyncio.create_task(together.perform(BUNDLE)) for _ in range(WORKERS * 9)]
    await turns()
    assert not await left_waiting(users, gate)
    for user in users:
        with pytest.raises(ConnectionAbortedError):
            user.result()
