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
    """A job, how often it is looked at (seconds), and what wakes it earlier."""

    name: str
    job: Job
    every_s: float
    wake: Waiting | None = None


async def run(tasks: tuple[Task, ...], stop: asyncio.Event) -> None:
    """Run all tasks until `stop` is set, then let what has begun finish."""
    async with asyncio.TaskGroup() as group:
        for task in tasks:
            group.create_task(_repeat(task, stop))


async def _repeat(task: Task, stop: asyncio.Event) -> None:
    while not stop.is_set():
        busy = await _once(task)
        if not busy:
            await _rest(task, stop)


async def _once(task: Task) -> bool:
    """Run the job once; True when there may be more to do at once."""
    try:
        return await task.job() > 0
    except Refused as refused:
        log.warning("job refused", job=task.name, kind=refused.refusal.kind.value)
    except Exception as error:  # noqa: BLE001 - the worker's home for the unexpected: the job is tried again, the others go on
        log.error("job failed", job=task.name, error=type(error).__name__)  # noqa: TRY400 - values stay out of logs
    return False


async def _stopped(stop: asyncio.Event) -> bool:
    return await stop.wait()


async def _rest(task: Task, stop: asyncio.Event) -> None:
    """Wait until the job is due, woken, or the worker stops."""
    waiting: list[asyncio.Task[bool]] = [asyncio.create_task(_stopped(stop))]
    if task.wake is not None:
        waiting.append(asyncio.create_task(task.wake(task.every_s)))
    _, pending = await asyncio.wait(waiting, timeout=task.every_s, return_when=asyncio.FIRST_COMPLETED)
    for one in pending:
        one.cancel()
    await asyncio.gather(*pending, return_exceptions=True)
