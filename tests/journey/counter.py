"""A running counter for journeys: server and worker as processes of their own over a prepared installation."""

import asyncio
import itertools
import os
import shutil
import socket
import subprocess
import sys
from collections.abc import Coroutine, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any, TypeVar

from chopmark.app.settings import Settings
from chopmark.demo.history import prepare
from chopmark.pki import pkcs12

T = TypeVar("T")
ENDS_WITHIN_S = 60
LOWEST, PORTS = 20_000, 10_000  # below the ports that outgoing connections use
_steps = itertools.count(os.getpid() * 7)


def apart(work: Coroutine[Any, Any, T]) -> T:
    """Run a coroutine on a thread of its own, whoever has the event loop of this one."""
    with ThreadPoolExecutor(1) as pool:
        return pool.submit(asyncio.run, work).result()


def free_port() -> int:
    """Return a port that nobody listens on, another one each time."""
    for step in itertools.islice(_steps, PORTS):
        port = LOWEST + step % PORTS
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) != 0:
                return port
    raise AssertionError("no free port")


@dataclass(frozen=True)
class Prepared:
    """A demo installation that is copied for each counter; its certificates name `port`."""

    folder: Path
    port: int

    @classmethod
    def make(cls, folder: Path, database: str = "", rounds: int = pkcs12.KDF_ROUNDS) -> "Prepared":
        """Play the demo's past once; `rounds` are what a guess at a customer's .p12 costs."""
        port = free_port()
        apart(prepare(Settings(mode="demo", data=folder, port=port, database=database), rounds))
        return cls(folder, port)


@dataclass
class Counter:
    """One running installation: where it answers, where its files are, its processes."""

    data: Path
    port: int
    environment: dict[str, str]
    processes: dict[str, subprocess.Popen[str]] = field(default_factory=dict)

    @property
    def url(self) -> str:
        """The portal's address."""
        return f"http://localhost:{self.port}"

    def start(self, name: str) -> None:
        """Start the server or the worker; `ready` waits for the server. `ahead` is both, with a clock of its own."""
        arguments = {
            "server": ["chopmark", "serve", "--workers", "1"],
            "worker": ["chopmark", "worker"],
            "ahead": ["tests.journey.ahead", str(self.seconds_ahead)],
        }[name]
        with (self.data / f"{name}.log").open("a") as log:
            self.processes[name] = subprocess.Popen(
                [sys.executable, "-m", *arguments],
                env=self.environment,
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
            )

    def ready(self) -> None:
        """Wait for the server's ready line."""
        stdout = (self.processes.get("server") or self.processes["ahead"]).stdout
        assert stdout is not None
        for line in stdout:
            if line.startswith("ready "):
                return
        raise AssertionError(self.logs())

    @property
    def seconds_ahead(self) -> Path:
        """The file that says how far the clock of `ahead` is ahead."""
        return self.data / "seconds_ahead"

    def put_clock_ahead(self, by: timedelta) -> None:
        """Let the process `ahead` have another time from now on."""
        written = self.data / "seconds_ahead.new"
        written.write_text(str(int(by.total_seconds())))
        written.replace(self.seconds_ahead)

    def kill(self, name: str) -> None:
        """Kill a process as a power cut would."""
        process = self.processes.pop(name)
        process.kill()
        process.wait(ENDS_WITHIN_S)
        if process.stdout is not None:
            process.stdout.close()

    def logs(self) -> str:
        """Return all that the processes wrote."""
        return "".join(path.read_text() for path in sorted(self.data.glob("*.log")))

    def passphrase(self, number: str) -> str:
        """Return the pass-phrase of a demo customer's certificate file."""
        return (self.data / "demo" / f"{number.lower()}.txt").read_text().strip()

    def p12(self, number: str) -> Path:
        """Return a demo customer's certificate file."""
        return self.data / "demo" / f"{number.lower()}.p12"


@contextmanager
def running(prepared: Prepared, folder: Path, **extra: str) -> Iterator[Counter]:
    """Give a copy of the prepared installation with server and worker running."""
    with _running(prepared, folder, ("server", "worker"), extra) as counter:
        yield counter


@contextmanager
def running_ahead(prepared: Prepared, folder: Path) -> Iterator[Counter]:
    """Give the same in one process, whose clock `put_clock_ahead` moves."""
    with _running(prepared, folder, ("ahead",), {}) as counter:
        yield counter


@contextmanager
def _running(prepared: Prepared, folder: Path, processes: Sequence[str], extra: Mapping[str, str]) -> Iterator[Counter]:
    data = folder / "data"
    shutil.copytree(prepared.folder, data)
    environment = {
        **os.environ,
        "CHOPMARK_MODE": "demo",
        "CHOPMARK_DATA": str(data),
        "CHOPMARK_PORT": str(prepared.port),
        **extra,
    }
    counter = Counter(data, prepared.port, environment)
    try:
        counter.put_clock_ahead(timedelta())
        for name in processes:
            counter.start(name)
        counter.ready()
        yield counter
    finally:
        for name in list(counter.processes):
            counter.kill(name)
