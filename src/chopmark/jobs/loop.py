"""The worker's loop: it runs each job when it is due or woken; a failing job never stops the others.

After each failure in a row a job waits longer before it is tried again, even if it is woken. After `FAILING_AT`
failures in a row an alarm is logged, and stored where `chopmark check` finds it.
"""

import asyncio
import traceback
from collections.abc import Awaitable, Callable, Coroutine
from dataclasses import dataclass
from pathlib import PurePath
from typing import Any, Final, Protocol

import structlog

from chopmark.core.refusal import Refused

Job = Callable[[], Awaitable[int]]
Waiting = Callable[[float], Coroutine[Any, Any, bool]]

FAILING_AT: Final = 7
"""So many failures in a row raise an alarm: about a minute of failures, or a quarter of one if the database is away."""
LONGEST_WAIT_S: Final = 60.0
LONGEST_REFUSED_S: Final = 5.0
"""The longest wait after a refusal: mostly the database is away, and codes must be sent soon after it is back."""
FRAMES: Final = 4
MOST_WORDS: Final = 300
_OURS: Final = __name__.partition(".")[0]

log = structlog.get_logger()


class Alarms(Protocol):
    """Stores which jobs keep failing, so that other processes can read it."""

    async def failing(self, job: str, failures: int, error: str) -> None:
        """Store that a job has failed so often in a row; `error` is an exception's type name or a refusal's kind."""
        ...

    async def well(self, job: str) -> None:
        """Remove a job's stored alarm, if there is one."""
        ...


@dataclass(frozen=True, slots=True)
class Task:
    """A job, how often it runs (`every_s`), and what wakes it earlier.

    A run that returns `full` or more is repeated at once; with None no run is. The next run begins `pause_s` seconds
    after the last one at the earliest, even if the job is woken: so what arrives within that time is done in one run.
    """

    name: str
    job: Job
    every_s: float
    wake: Waiting | None = None
    full: int | None = 1
    pause_s: float = 0.0


async def run(tasks: tuple[Task, ...], stop: asyncio.Event, alarms: Alarms | None = None) -> None:
    """Run all tasks until `stop` is set, then wait until the running jobs have finished."""
    async with asyncio.TaskGroup() as group:
        for task in tasks:
            group.create_task(_repeat(task, stop, _Streak(task.name, alarms)))


async def _repeat(task: Task, stop: asyncio.Event, streak: "_Streak") -> None:
    stopped = asyncio.create_task(stop.wait())
    try:
        while not stop.is_set():
            more = await _once(task, streak)
            if streak.wait_s:
                await asyncio.wait((stopped,), timeout=streak.wait_s)
            elif not more:
                await _rest(task, stopped)
    finally:
        stopped.cancel()


async def _once(task: Task, streak: "_Streak") -> bool:
    """Run the job once; True when there may be more to do at once."""
    try:
        done = await task.job()
    except Refused as refused:
        await streak.refused(refused)
    except Exception as error:  # noqa: BLE001 - any error of a job ends up here: the job is tried again, and the others go on
        await streak.failed(error)
    else:
        await streak.worked()
        return task.full is not None and done >= task.full
    return False


def back_off(failures: int, longest_s: float) -> float:
    """Return the seconds to wait after so many failures in a row: 1, 2, 4 ..., at most `longest_s`."""
    return float(min(longest_s, 2 ** min(failures - 1, 16)))


class _Streak:
    """How often one job has failed in a row, and how long it waits because of that: 0 s after a run without failure."""

    def __init__(self, job: str, alarms: Alarms | None) -> None:
        self.wait_s = 0.0
        self._job = job
        self._alarms = alarms
        self._failures = 0
        self._on_record = True
        """Whether an alarm may be stored: at the start yes, because an earlier process may have left one."""

    async def refused(self, refused: Refused) -> None:
        """Count a refusal: something that the job needs is not available."""
        self._count(LONGEST_REFUSED_S)
        said = {"kind": refused.refusal.kind.value, "failures": self._failures, "frames": frames(refused)}
        log.warning("job refused", job=self._job, code=refused.refusal.code, **said)
        await self._alarm(refused.refusal.kind.value)

    async def failed(self, error: Exception) -> None:
        """Count a failure and log it: with its message only for our own exceptions, because others may hold values."""
        self._count(LONGEST_WAIT_S)
        log.error("job failed", job=self._job, failures=self._failures, **_described(error))
        await self._alarm(type(error).__name__)

    async def worked(self) -> None:
        """Count from 0 again after a run without failure, and remove a stored alarm."""
        if self._failures >= FAILING_AT:
            log.warning("job works again", code="job.works_again", job=self._job, failures=self._failures)
        self.wait_s, self._failures = 0.0, 0
        if self._on_record and self._alarms is not None:
            self._on_record = not await self._kept(self._alarms.well(self._job))

    def _count(self, longest_s: float) -> None:
        self._failures += 1
        self.wait_s = back_off(self._failures, longest_s)

    async def _alarm(self, error: str) -> None:
        if self._failures < FAILING_AT:
            return
        log.error("job keeps failing", code="job.failing", job=self._job, failures=self._failures, error=error)
        self._on_record = True
        if self._alarms is not None:
            await self._kept(self._alarms.failing(self._job, self._failures, error))

    async def _kept(self, keeping: Coroutine[Any, Any, None]) -> bool:
        """Return whether the alarm was stored or removed; if that fails, the log has the alarm anyway."""
        try:
            await keeping
        except Exception as error:  # noqa: BLE001 - a failure to store an alarm must not stop a job
            log.warning("alarm not on record", job=self._job, error=type(error).__name__)
            return False
        return True


def frames(error: BaseException) -> list[str]:
    """Return the innermost frames of an error, each as `file:line function`, without values; the innermost is last."""
    walked = [(frame.f_code, line) for frame, line in traceback.walk_tb(error.__traceback__)]
    return [
        f"{'/'.join(PurePath(code.co_filename).parts[-2:])}:{line} {code.co_name}" for code, line in walked[-FRAMES:]
    ]


def _described(error: Exception) -> dict[str, Any]:
    """Return what the log may say of an error: its message only for our own exceptions, which carry no secrets."""
    cause = error.__cause__
    own = type(error).__module__.partition(".")[0] == _OURS
    return {
        "error": type(error).__name__,
        "frames": frames(error),
        **({"message": str(error)[:MOST_WORDS]} if own else {}),
        **({} if cause is None else {"cause": type(cause).__name__}),
    }


async def _rest(task: Task, stopped: "asyncio.Task[bool]") -> None:
    """Wait until the job is due or woken, or until the worker stops."""
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
