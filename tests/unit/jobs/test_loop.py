"""When the worker runs a job: at once while there is more, else when it is due or woken, and never too often.

What fails waits longer each time, is told with its message and its place, and is an alarm when it goes on.
"""

import asyncio
import itertools
import selectors
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field
from random import Random
from typing import Any

import pytest
import structlog.testing

from chopmark.app.logs import LOGGED
from chopmark.core.refusal import Kind, Refusal, Refused
from chopmark.core.types import text
from chopmark.jobs.loop import FAILING_AT, Task, run

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
async def test_a_job_that_fails_is_not_tried_again_at_once_however_often_it_is_woken(failure: Exception) -> None:
    assert await runs(lambda c: Task("t", c.job, HOUR, c.woken), failure) == 1


class Leap(selectors.SelectSelector):
    """Waits for nothing; adds up how long it was to wait."""

    leapt = 0.0

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        found = super().select(0)
        if not found and timeout is not None and timeout > 0:
            self.leapt += timeout
        return found


class Leaping(asyncio.SelectorEventLoop):
    """An event loop without waiting: where nothing else is to do its time leaps to what comes next."""

    def __init__(self) -> None:
        self.leap = Leap()
        super().__init__(self.leap)

    def time(self) -> float:
        return self.leap.leapt


@dataclass
class Kept:
    """Alarms in memory; `broken` cannot keep any."""

    said: list[tuple[str, int, str]] = field(default_factory=list)
    broken: bool = False

    async def failing(self, job: str, failures: int, error: str) -> None:
        if self.broken:
            raise Refused(AWAY)
        self.said.append((job, failures, error))

    async def well(self, job: str) -> None:
        self.said.append((job, 0, "well"))


AWAY = Refusal(Kind.UNAVAILABLE, text("Please try again."))


class OwnFault(Exception):
    """An exception of ours, as far as the loop can tell."""


OwnFault.__module__ = "chopmark.audit.sequencer"


def moments(failures: list[Exception], until_s: float, alarms: Kept | None = None) -> list[float]:
    """Return when a job was run that fails so often and is well then, is due every hour and woken all the time."""
    began: list[float] = []

    async def job() -> int:
        began.append(asyncio.get_running_loop().time())
        if len(began) <= len(failures):
            raise failures[len(began) - 1]
        return 0

    async def woken(timeout_s: float) -> bool:
        await asyncio.sleep(0.25)
        return True

    async def working() -> None:
        stop = asyncio.Event()
        asyncio.get_running_loop().call_later(until_s, stop.set)
        await run((Task("sequence", job, HOUR, woken),), stop, alarms)

    with asyncio.Runner(loop_factory=Leaping) as runner:
        runner.run(working())
    return began


def waits(began: list[float]) -> list[float]:
    return [round(later - earlier, 3) for earlier, later in itertools.pairwise(began)]


def test_a_job_that_goes_on_failing_waits_twice_as_long_each_time_and_a_minute_at_most() -> None:
    began = moments([ValueError("x")] * 20, 304)
    assert waits(began) == [1, 2, 4, 8, 16, 32, 60, 60, 60, 60]


def test_a_job_that_is_refused_is_back_within_seconds() -> None:
    assert waits(moments([Refused(AWAY)] * 6, 26))[:6] == [1, 2, 4, 5, 5, 5]


def test_a_job_that_works_again_begins_to_count_anew() -> None:
    began = moments([ValueError("x"), ValueError("x")], 4)
    assert waits(began)[:4] == [1, 2, 0.25, 0.25]


def test_the_seventh_failure_in_a_row_is_an_alarm_and_the_first_success_ends_it() -> None:
    kept = Kept()
    with structlog.testing.capture_logs() as lines:
        moments([KeyError("secret")] * 8, 200, kept)
    assert kept.said == [("sequence", 7, "KeyError"), ("sequence", 8, "KeyError"), ("sequence", 0, "well")]
    codes = [line["code"] for line in lines if "code" in line]
    assert codes == ["job.failing", "job.failing", "job.works_again"]
    alarm = next(line for line in lines if line.get("code") == "job.failing")
    assert (alarm["log_level"], alarm["failures"], alarm["job"]) == ("error", 7, "sequence")


def test_fewer_failures_are_no_alarm_and_what_a_process_before_left_is_taken_off_the_record() -> None:
    kept = Kept()
    moments([ValueError("x")] * (FAILING_AT - 1), 100, kept)
    assert kept.said == [("sequence", 0, "well")]


def test_an_alarm_that_cannot_be_kept_stops_no_job() -> None:
    assert len(moments([ValueError("x")] * 8, 200, Kept(broken=True))) > 8


@pytest.mark.soak
def test_drill_of_ten_thousand_runs_every_alarm_is_told_and_ended_and_none_is_told_too_early() -> None:
    random, kept, expected = Random(14), Kept(), []
    outcomes: list[Exception | None] = []
    while len(outcomes) < 10_000:
        failure = random.choice([ValueError("x"), KeyError("x"), Refused(AWAY)])
        outcomes += [failure] * random.randrange(12) + [None] * random.randrange(1, 4)
    row, on_record = 0, True
    for outcome in outcomes:
        row = 0 if outcome is None else row + 1
        if outcome is None and on_record:
            expected.append(("sequence", 0, "well"))
            on_record = False
        elif outcome is not None and row >= FAILING_AT:
            name = "unavailable" if isinstance(outcome, Refused) else type(outcome).__name__
            expected.append(("sequence", row, name))
            on_record = True
    left = iter(outcomes)

    async def working() -> None:
        stop = asyncio.Event()

        async def job() -> int:
            outcome = next(left, stop)
            if isinstance(outcome, Exception):
                raise outcome
            if outcome is stop:
                stop.set()
            return 0

        await run((Task("sequence", job, 1.0),), stop, kept)

    with asyncio.Runner(loop_factory=Leaping) as runner, structlog.testing.capture_logs():
        runner.run(working())
    assert kept.said == expected


def innermost() -> None:
    secret = "a password"
    raise OwnFault("the stored frontier does not belong to the latest head"[: max(99, len(secret))])


def deeper(times: int) -> None:
    if times:
        deeper(times - 1)
    else:
        innermost()


def lines_of(failure: Callable[[], None]) -> Any:
    with pytest.raises(Exception) as raised:
        failure()
    with structlog.testing.capture_logs() as lines:
        moments([raised.value], 0.5)
    return next(line for line in lines if line["event"] == "job failed")


def test_a_failure_is_logged_with_its_message_and_its_four_innermost_frames_and_no_value() -> None:
    line = lines_of(lambda: deeper(5))
    assert (line["error"], line["message"]) == (
        "OwnFault",
        "the stored frontier does not belong to the latest head",
    )
    named = [frame.split(" ") for frame in line["frames"]]
    assert [function for _, function in named] == ["deeper", "deeper", "deeper", "innermost"]
    assert all(place.startswith("jobs/test_loop.py:") for place, _ in named)
    assert "a password" not in repr(line)


def test_the_words_of_other_peoples_exceptions_stay_out_of_the_log() -> None:
    def of_a_driver() -> None:
        try:
            raise ValueError("DETAIL: Key (email)=(zhang.san@example.com) exists")
        except ValueError as error:
            raise RuntimeError("zhang.san@example.com") from error

    line = lines_of(of_a_driver)
    assert (line["error"], line["cause"]) == ("RuntimeError", "ValueError")
    assert "zhang" not in repr(line)


def test_all_that_the_loop_says_of_a_failure_reaches_the_log(capsys: pytest.CaptureFixture[str]) -> None:
    line = {name: value for name, value in lines_of(lambda: deeper(1)).items() if name != "log_level"}
    assert set(line) <= LOGGED
