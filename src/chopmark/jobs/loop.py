"""The worker's loop: runs each job when it is due or woken; a failing job never stops the others."""

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from dataclasses import dataclass
from typing import Any

import structlog

from chopmark.errors import Refused

Job = Callable[[], Awaitable[int]]
Waiting = Callable[[float], Coroutine[Any, Any, bool]]

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Task:
    """A job, how often it is looked at (seconds), and what wakes it earlier.

    A job that did `full` or more is run again at once; None: never. `pause_s` seconds from the end of a run no other
    begins, however often the job is woken: what comes close together is done together.
    """

    name: str
    job: Job
    every_s: float
    wake: Waiting | None = None
    full: int | None = 1
    pause_s: float = 0.0


async def run(tasks: tuple[Task, ...], stop: asyncio.Event) -> None:
    """Run all tasks until `stop` is set, then let what has begun finish."""
    async with asyncio.TaskGroup() as group:
        for task in tasks:
            group.create_task(_repeat(task, stop))


async def _repeat(task: Task, stop: asyncio.Event) -> None:
    stopped = asyncio.create_task(stop.wait())
    try:
        while not stop.is_set():
            if not await _once(task):
                await _rest(task, stopped)
    finally:
        stopped.cancel()


async def _once(task: Task) -> bool:
    """Run the job once; True when there may be more to do at once."""
    try:
        done = await task.job()
    except Refused as refused:
        log.warning("job refused", job=task.name, kind=refused.refusal.kind.value)
    except Exception as error:  # noqa: BLE001 - the worker's home for the unexpected: the job is tried again, the others go on
        log.error("job failed", job=task.name, error=type(error).__name__)  # noqa: TRY400 - values stay out of logs
    else:
        return task.full is not None and done >= task.full
    return False


async def _rest(task: Task, stopped: "asyncio.Task[bool]") -> None:
    """Wait until the job is due, woken, or the worker stops."""
    if task.pause_s:
        await asyncio.wait((stopped,), timeout=task.pause_s)
    if stopped.done():
        return
    left_s = max(0.0, task.every_s - task.pause_s)
    if task.wake is None:
        await asyncio.wait((stopped,), timeout=left_s)
        return
    woken = asyncio.create_task(task.wake(left_s))
    await asyncio.wait((stopped, woken), timeout=left_s, return_when=asyncio.FIRST_COMPLETED)
    woken.cancel()
    await asyncio.gather(woken, return_exceptions=True)
