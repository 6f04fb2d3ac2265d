"""A world's house served by the real processes: server and worker of their own, over its files, at its time."""

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import httpx2

from chopmark.app.foundation import SystemClock
from chopmark.core.types import CustomerId, FactorClass
from tests.contract.world import LOGIN, World
from tests.journey.counter import free_port
from tests.machine import MEMORY, missing

ENDS_WITHIN_S = 60
LOOKS_AGAIN_S = 0.1
Answer = httpx2.Response


def faketime() -> Path:
    """Return the library that gives a process another time."""
    found = next(Path("/usr/lib").glob("*/faketime/libfaketimeMT.so.1"), None)
    if found is None:
        missing("The library libfaketime")
    return found


@dataclass
class Served:
    """The processes, and who calls them; `data` is where they run, a world's files or a copy."""

    data: Path
    database: str
    time_file: Path
    port: int = field(default_factory=free_port)
    preload: tuple[Path, ...] = ()
    more: Mapping[str, str] = field(default_factory=dict)
    processes: dict[str, subprocess.Popen[str]] = field(default_factory=dict)
    client: httpx2.AsyncClient = field(default_factory=lambda: httpx2.AsyncClient(timeout=30))

    def at(self, moment: datetime) -> None:
        """Set the processes' clock; it runs on from there."""
        fresh = self.time_file.with_suffix(".new")
        fresh.write_text(f"{(moment - SystemClock().now()).total_seconds():+.0f}\n")
        fresh.rename(self.time_file)

    def start(self, name: str) -> None:
        """Start the server or the worker."""
        arguments = {"server": ["serve", "--workers", "1"], "worker": ["worker"]}[name]
        with (self.data / f"{name}.log").open("a") as log:
            self.processes[name] = subprocess.Popen(
                [sys.executable, "-m", "chopmark", *arguments],
                env=self._environment(),
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
            )

    def _environment(self) -> dict[str, str]:
        return {
            **os.environ,
            "TZ": "UTC",
            "LD_PRELOAD": ":".join(map(str, (faketime(), *self.preload))),
            "FAKETIME_TIMESTAMP_FILE": str(self.time_file),
            "FAKETIME_CACHE_DURATION": "1",
            "FAKETIME_DONT_FAKE_MONOTONIC": "1",
            "CHOPMARK_MODE": "production",
            "CHOPMARK_CLOCK_KEPT_BY": "host",
            "CHOPMARK_DATA": str(self.data),
            "CHOPMARK_DATABASE": self.database,
            "CHOPMARK_SECRETS_DIR": str(self.data / "secrets"),
            "CHOPMARK_PORT": str(self.port),
            "CHOPMARK_PUBLIC_URL": "https://counter.example.com",
            "CHOPMARK_PROXY__IN_FRONT": "no",
            "CHOPMARK_STATUS_URL": "http://127.0.0.1:8080",
            **self.more,
        }

    async def ready(self) -> None:
        """Wait for the server's ready line."""
        stdout = self.processes["server"].stdout
        assert stdout is not None
        lines = await asyncio.to_thread(lambda: next((line for line in stdout if line.startswith("ready ")), None))
        assert lines is not None, self.logs()

    async def leave_alone(self, name: str) -> None:
        """Ask nothing for a moment: whoever asks without a pause takes the machine from the process it waits for.

        Ends at once when that process has ended, which fails the test.
        """
        try:
            status = await asyncio.to_thread(self.processes[name].wait, LOOKS_AGAIN_S)
        except subprocess.TimeoutExpired:
            return
        raise AssertionError(f"the {name} has ended with {status}: {self.logs()}")

    def kill(self, name: str) -> None:
        """Kill a process as a power cut would."""
        self._end(name, signal.SIGKILL)

    def stop(self, name: str) -> None:
        """Tell a process to end, and wait until it has."""
        self._end(name, signal.SIGTERM)

    def _end(self, name: str, how: signal.Signals) -> None:
        process = self.processes.pop(name)
        process.send_signal(how)
        process.wait(ENDS_WITHIN_S)
        if process.stdout is not None:
            process.stdout.close()
        for left in ("faketime_shm", "sem.faketime_sem"):  # the library removes them only when a process ends in order
            (MEMORY / f"{left}_{process.pid}").unlink(missing_ok=True)

    def logs(self) -> str:
        """Return all that the processes wrote."""
        return "".join(path.read_text() for path in sorted(self.data.glob("*.log")))

    async def close(self) -> None:
        """End what runs."""
        await self.client.aclose()
        for name in list(self.processes):
            self.kill(name)

    async def request(self, method: str, path: str, **extra: Any) -> Answer:
        """Ask the server."""
        return await self.client.request(method, f"http://127.0.0.1:{self.port}{path}", **extra)

    async def visit(self, token: str) -> "Visit":
        """Be the customer of a session."""
        first = await self.request("GET", "/api/v1/status")
        csrf = first.headers["set-cookie"].split("csrf=")[1].split(";")[0]
        return Visit(self, token, csrf)


@dataclass(frozen=True)
class Visit:
    """A signed-in customer's browser."""

    served: Served
    token: str
    csrf: str

    async def call(self, method: str, path: str, body: Mapping[str, Any] | None = None) -> Answer:
        """Call the JSON API as the pages do."""
        headers = {
            "Cookie": f"__Host-chopmark={self.token}; __Host-csrf={self.csrf}",
            "x-csrftoken": self.csrf,
            "Accept-Language": "en",
        }
        return await self.served.request(method, f"/api/v1{path}", json=body or {}, headers=headers)

    async def terms(self, order: str) -> str:
        """Return the terms that an order shows."""
        shown = await self.call("GET", f"/orders/{order}")
        assert shown.status_code == 200, shown.text
        return str(shown.json()["consent"]["sha256"])

    async def confirm(self, order: str, terms: str) -> Answer:
        """Confirm an order."""
        return await self.call("POST", f"/orders/{order}/confirm", {"consent": terms})


async def session(world: World, customer: str) -> str:
    """Open a session in the house itself, of the login in which the tests take their steps; return its token."""
    opened = await world.services.identity.sessions.open(
        CustomerId(customer), frozenset({FactorClass.PASSWORD}), None, "portal", None
    )
    await world.change("UPDATE sessions SET login = :login WHERE customer = :customer", login=LOGIN, customer=customer)
    return opened.token.reveal()


def serve(world: World, folder: Path, **how: Any) -> Served:
    """Give the processes of a closed world, not started; `folder` is the test's own."""
    made = Served(world.services.foundation.settings.data, world.url, folder / "time", **how)
    made.at(world.clock.at + timedelta(seconds=1))
    return made
