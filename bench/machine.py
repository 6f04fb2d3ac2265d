"""What the machine does while something is measured: CPU seconds by group of processes, and how busy all cores were."""

import os
import platform
import subprocess
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

TICKS = os.sysconf("SC_CLK_TCK")
CORES = len(os.sched_getaffinity(0))


def children(pid: int) -> list[int]:
    """Return the processes below a process, all generations, and itself."""
    found, waiting = [], [pid]
    while waiting:
        one = waiting.pop()
        found.append(one)
        for task in Path(f"/proc/{one}/task").glob("*/children"):
            try:
                waiting += [int(child) for child in task.read_text().split()]
            except OSError:
                continue
    return found


def cpu_s(pids: Iterable[int]) -> float:
    """Return the CPU seconds, user and system, of processes and of their ended children."""
    total = 0
    for pid in pids:
        try:
            fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        except OSError:
            continue
        total += sum(int(field) for field in fields[11:15])
    return total / TICKS


def machine_s() -> tuple[float, float]:
    """Return busy and all CPU seconds of the machine since it started; other people's work and stolen time are busy."""
    fields = [int(field) for field in Path("/proc/stat").read_text().split("\n", 1)[0].split()[1:9]]
    idle = fields[3] + fields[4]
    return (sum(fields) - idle) / TICKS, sum(fields) / TICKS


@dataclass(frozen=True, slots=True)
class Sample:
    """CPU seconds at one moment."""

    groups: Mapping[str, float]
    busy: float
    total: float


@dataclass(frozen=True, slots=True)
class Use:
    """What happened between two samples: CPU seconds by group, and the share of the machine that was busy."""

    groups: Mapping[str, float]
    busy: float
    total: float

    @property
    def busy_share(self) -> float:
        """0 to 1, over all cores."""
        return self.busy / self.total if self.total else 0.0

    def share(self, group: str) -> float:
        """Return a group's part of all CPU time that was there."""
        return self.groups.get(group, 0.0) / self.total if self.total else 0.0

    @property
    def strangers(self) -> float:
        """The part of all CPU time that went to processes that are not the bench's."""
        return max(0.0, self.busy - sum(self.groups.values())) / self.total if self.total else 0.0

    def sentence(self) -> str:
        """Say what limited the round."""
        parts = ", ".join(
            f"{name} {self.share(name):.0%}"
            for name in sorted(self.groups, key=self.share, reverse=True)
            if self.share(name) >= 0.005
        )
        what = "CPU" if self.busy_share > 0.9 else "waiting (commits, latency)"
        return f"{what}: machine {self.busy_share:.0%} busy; {parts}, others {self.strangers:.0%}"


def sample(groups: Mapping[str, Iterable[int]]) -> Sample:
    """Take a sample; a group is the processes at its roots and everything below them."""
    seconds = {name: cpu_s(pid for root in roots for pid in children(root)) for name, roots in groups.items()}
    busy, total = machine_s()
    return Sample(seconds, busy, total)


def between(before: Sample, after: Sample) -> Use:
    """Return what happened between two samples."""
    groups = {name: max(0.0, after.groups[name] - value) for name, value in before.groups.items()}
    return Use(groups, after.busy - before.busy, after.total - before.total)


def added(uses: Iterable[Use]) -> Use:
    """Return several uses as one."""
    groups: dict[str, float] = {}
    busy = total = 0.0
    for use in uses:
        busy, total = busy + use.busy, total + use.total
        for name, value in use.groups.items():
            groups[name] = groups.get(name, 0.0) + value
    return Use(groups, busy, total)


def memory_kib(pid: int) -> dict[str, int]:
    """Return Rss and Pss of a process in KiB."""
    rows = (line.split() for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()[1:])
    return {row[0].rstrip(":"): int(row[1]) for row in rows if row[0] in {"Rss:", "Pss:"}}


def described() -> dict[str, str | int]:
    """Return what a reader has to know of the machine."""
    model = next(
        (
            line.partition(":")[2].strip()
            for line in Path("/proc/cpuinfo").read_text().splitlines()
            if line.startswith("model name")
        ),
        platform.machine(),
    )
    openssl = subprocess.run(["openssl", "version"], capture_output=True, text=True, check=False).stdout.strip()
    return {
        "cores": CORES,
        "cpu": model,
        "system": platform.platform(),
        "python": platform.python_version(),
        "litestar": version("litestar"),
        "uvicorn": version("uvicorn"),
        "asyncpg": version("asyncpg"),
        "openssl": openssl,
        "load_average_before": f"{os.getloadavg()[0]:.1f}",
    }
