"""When the worker runs a job: at once while there is more, else when it is due or woken, and never too often."""

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

import pytest

from chopmark.errors import Kind, Refusal, Refused
from chopmark.jobs.loop import Task, run
from chopmark.words import text

HOUR = 3600.0
TURNS = 50
"""Rounds of the event loop: far more than a job needs that does not wait."""


class Counting:
    """A job that did so much each time, or fails; `woken` is always ready."""

    def __init__(self, *did: int | Exception) -> None:
        self.did = list(did)
        self.runs = 0

    async def job(self) -> int:
        self.runs += 1
        did = self.did.pop(0) if self.did else 0
        if isinstance(did, Exception):
            raise did
        return did

    async def woken(self, timeout_s: float) -> bool:
        return True

    async def never(self, timeout_s: float) -> bool:
        return await asyncio.Event().wait()


async def runs(task: Callable[[Counting], Task], *did: int | Exception) -> int:
    """Return how often the job was run when nothing more would happen without time passing."""
    counting, stop = Counting(*did), asyncio.Event()
    running: Coroutine[Any, Any, None] = run((task(counting),), stop)
    worker = asyncio.create_task(running)
    for _ in range(TURNS):
        await asyncio.sleep(0)
    stop.set()
    await worker
    return counting.runs


@pytest.mark.parametrize(("full", "expected"), [(1, 4), (3, 2), (None, 1)])
async def test_a_job_that_did_all_it_may_at_a_time_is_run_again_at_once(full: int | None, expected: int) -> None:
    assert await runs(lambda c: Task("t", c.job, HOUR, c.never, full=full), 3, 2, 1) == expected


async def test_a_job_that_is_woken_is_run_and_one_that_is_not_waits_until_it_is_due() -> None:
    assert await runs(lambda c: Task("t", c.job, HOUR, c.woken)) > 2
    assert await runs(lambda c: Task("t", c.job, HOUR, c.never)) == 1
    assert await runs(lambda c: Task("t", c.job, HOUR)) == 1


async def test_a_job_with_a_pause_is_not_run_again_within_it_however_often_it_is_woken() -> None:
    assert await runs(lambda c: Task("t", c.job, 2 * HOUR, c.woken, pause_s=HOUR)) == 1


@pytest.mark.parametrize(
    "failure", [ValueError("x"), Refused(Refusal(Kind.CONFLICT, text("Please try again."), code="busy"))]
)
async def test_a_job_that_fails_is_tried_again_when_it_is_woken(failure: Exception) -> None:
    assert await runs(lambda c: Task("t", c.job, HOUR, c.woken), failure) > 2
