"""The load clients from the bench's side: several processes, started, told what to do all at once, and heard."""

import json
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from subprocess import PIPE, Popen
from typing import IO, Any

from bench.journey import STEPS
from bench.site import ended

PROCESSES = 2


@dataclass(frozen=True, slots=True)
class Round:
    """What all clients saw in one window of `seconds`."""

    seconds: float
    steps: dict[str, list[float]]
    failed: int
    faults: tuple[str, ...]
    cpu: tuple[float, ...] = field(default=())

    def a_second(self, step: str) -> float:
        """Return the answers a second of one step."""
        return len(self.steps.get(step, ())) / self.seconds

    @property
    def requests_a_second(self) -> float:
        """Answers a second of all steps."""
        return sum(map(len, self.steps.values())) / self.seconds

    @property
    def journeys_a_second(self) -> float:
        """Answers a second over the twelve of a journey: users stand at all steps, a window sees parts of many."""
        return self.requests_a_second / len(STEPS)

    @property
    def busiest(self) -> float:
        """The share of one core that the busiest client process used: near 1 means that it was the bottleneck."""
        return max(self.cpu, default=0.0) / self.seconds


class Clients:
    """A group of load clients for one server."""

    def __init__(self, processes: Sequence[Popen[str]]) -> None:
        self.processes = processes

    @property
    def pids(self) -> list[int]:
        return [process.pid for process in self.processes]

    def all(self, command: dict[str, Any]) -> list[dict[str, Any]]:
        """Tell all clients, then wait for all their answers."""
        for process in self.processes:
            _to(process).write(json.dumps(command) + "\n")
            _to(process).flush()
        return [_heard(process) for process in self.processes]

    def round(self, command: dict[str, Any]) -> Round:
        """Have a round done; `c` and `rate` are for all clients together."""
        shared = dict(command)
        if "c" in shared:
            shared["c"] = max(1, shared["c"] // len(self.processes))
        if "rate" in shared:
            shared["rate"] = shared["rate"] / len(self.processes)
        steps: dict[str, list[float]] = {}
        failed, faults, cpu = 0, [], []
        for answer in self.all(shared):
            for step, took in answer["steps"].items():
                steps.setdefault(step, []).extend(took)
            failed += answer["failed"]
            faults += answer["faults"]
            cpu.append(answer["cpu"])
        return Round(command["seconds"], steps, failed, tuple(faults), tuple(cpu))


def _to(process: Popen[str]) -> IO[str]:
    if process.stdin is None:
        raise RuntimeError("the client has no ear")
    return process.stdin


def _heard(process: Popen[str]) -> dict[str, Any]:
    line = process.stdout.readline() if process.stdout else ""
    if not line:
        raise RuntimeError("a load client has died")
    answer: dict[str, Any] = json.loads(line)
    return answer


@contextmanager
def running(port: int, log: Path, count: int = PROCESSES, **start: Any) -> Iterator[Clients]:
    """Give load clients for the server at a port; `start` may name client, secret, sink and customers."""
    with processes("bench.load", log, count, port=port, **start) as group:
        yield group


@contextmanager
def processes(
    module: str, log: Path, count: int = PROCESSES, environment: Mapping[str, str] | None = None, **start: Any
) -> Iterator[Clients]:
    """Give a group of processes of a module that understand commands; each is told its turn of `count`."""
    with log.open("a") as err:
        processes = [
            Popen([sys.executable, "-m", module], stdin=PIPE, stdout=PIPE, stderr=err, text=True, env=environment)
            for _ in range(count)
        ]
    try:
        for turn, process in enumerate(processes):
            _to(process).write(json.dumps({"turn": turn, "of": count, **start}) + "\n")
            _to(process).flush()
        for process in processes:
            _heard(process)
        yield Clients(processes)
    finally:
        for process in processes:
            _to(process).close()
            ended(process)
