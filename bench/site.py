"""One installation as in production: its settings, its CA, its server of two workers, its worker, its mail gateway."""

import asyncio
import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from chopmark.app.foundation import SystemClock, SystemEntropy
from chopmark.app.founding import found_ca
from chopmark.app.services import build
from chopmark.app.settings import Settings, Smtp
from chopmark.core.types import Secret
from chopmark.demo.history import BEGINS, SteppingClock
from chopmark.identity.scope import MOST_PER_MINUTE, Scope
from chopmark.store.current import make_current
from chopmark.store.engine.opening import open_engine
from chopmark.store.repositories.reminders.plans import ReminderPlanRepository

PUBLIC_URL = "https://counter.example.com"
BRAND = Path(__file__).parents[1] / "deploy" / "brand.toml"
CLIENT = "bench"
ENDS_WITHIN_S = 30
START_LIMIT_S = 300
PLAN_LIMIT_S = 3_600


def free_port() -> int:
    """Return a port that nobody listens on at this moment."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def started(arguments: list[str], environment: dict[str, str], log: Path, ready: int = 1) -> subprocess.Popen[str]:
    """Start a process of this Python and wait until it has said `ready` so many times (0: do not wait)."""
    with log.open("a") as err:
        process = subprocess.Popen(
            [sys.executable, *arguments], env=environment, stdout=subprocess.PIPE, stderr=err, text=True
        )
    said = 0
    while said < ready:
        line = process.stdout.readline() if process.stdout else ""
        if not line:
            raise RuntimeError(f"{arguments} did not start:\n{log.read_text()[-2000:]}")
        said += line.startswith("ready")
    return process


def ended(process: subprocess.Popen[str]) -> None:
    """End a process of ours and wait for it."""
    process.send_signal(signal.SIGTERM)
    try:
        process.wait(ENDS_WITHIN_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
    if process.stdout is not None:
        process.stdout.close()


@dataclass
class Site:
    """An installation and its processes by name."""

    data: Path
    settings: Settings
    jobs_database: str
    secret: Secret = field(default_factory=lambda: Secret(""))
    workers: int = 2
    reminders: bool = True
    """Whether the worker plans and sends reminders."""
    processes: dict[str, subprocess.Popen[str]] = field(default_factory=dict)
    more: dict[str, str] = field(default_factory=dict)
    """Settings besides, as the environment has them."""

    @property
    def port(self) -> int:
        return self.settings.port

    @property
    def codes(self) -> Path:
        """The socket at which the gateway's other end hands out codes."""
        return self.data / "codes"

    def environment(self, **more: str) -> dict[str, str]:
        """The environment of a process of this installation, without any other CHOPMARK_ setting."""
        kept = {name: value for name, value in os.environ.items() if not name.startswith("CHOPMARK_")}
        settings = self.settings
        return {
            **kept,
            "CHOPMARK_MODE": "production",
            "CHOPMARK_CLOCK_KEPT_BY": "host",
            "CHOPMARK_DATA": str(self.data),
            "CHOPMARK_DATABASE": settings.database,
            "CHOPMARK_PORT": str(settings.port),
            "CHOPMARK_PUBLIC_URL": PUBLIC_URL,
            "CHOPMARK_BRAND": str(BRAND),
            "CHOPMARK_PROXY__IN_FRONT": "no",
            "CHOPMARK_STATUS_URL": settings.status_url,
            "CHOPMARK_SMTP__HOST": settings.smtp.host,
            "CHOPMARK_SMTP__PORT": str(settings.smtp.port),
            "CHOPMARK_SMTP__TLS": "none",
            "CHOPMARK_SECRETS_DIR": str(self.data / "secrets"),
            **({} if self.reminders else {"CHOPMARK_REMINDERS__SEND": "no"}),
            **({} if settings.journal_dir is None else {"CHOPMARK_JOURNAL_DIR": str(settings.journal_dir)}),
            **self.more,
            **more,
        }

    def start_sink(self) -> None:
        """Start the gateway's other end."""
        arguments = ["-m", "bench.sink", str(self.settings.smtp.port), str(self.codes)]
        self.processes["sink"] = started(arguments, self.environment(), self.data / "sink.log")

    def start(self) -> None:
        """Start server and worker; wait until every server process answers and the night's reminders are planned.

        A worker plans the reminders of all customers at night, and of a new installation at once. With 100,000
        customers that takes minutes, in which the other figures were those of a machine with less than two cores.
        """
        serve = ["-m", "chopmark", "serve", "--workers", str(self.workers)]
        log = self.data / "server.log"
        self.processes["server"] = started(serve, self.environment(), log, ready=1 if self.workers == 1 else 0)
        jobs = self.environment(CHOPMARK_DATABASE=self.jobs_database)
        self.processes["worker"] = started(["-m", "chopmark", "worker"], jobs, self.data / "worker.log", ready=0)
        asyncio.run(self._answering())
        if self.reminders:
            asyncio.run(self._planned())

    async def _planned(self) -> None:
        engine = await open_engine(self.settings.database_url)
        try:
            plans = ReminderPlanRepository(engine)
            for _ in range(PLAN_LIMIT_S):
                if await plans.done() is not None:
                    return
                await asyncio.sleep(1)
        finally:
            await engine.close()
        raise RuntimeError("the worker does not plan:\n" + (self.data / "worker.log").read_text()[-2000:])

    async def _answering(self) -> None:
        from bench.http import Connection, request  # noqa: PLC0415

        for _ in range(START_LIMIT_S * 10):
            try:
                connection = await Connection.open("127.0.0.1", self.port)
                answer = await connection.request(request("GET", "/health/live", {}))
                connection.close()
                if answer.status == 200:
                    return
            except OSError:
                pass
            await asyncio.sleep(0.1)
        raise RuntimeError("the server does not answer:\n" + (self.data / "server.log").read_text()[-2000:])

    def stop(self) -> None:
        """End server and worker; the gateway's other end stays."""
        for name in ("server", "worker"):
            if name in self.processes:
                ended(self.processes.pop(name))

    def kill(self) -> None:
        """Kill server and worker as a power cut would."""
        for name in ("server", "worker"):
            process = self.processes.pop(name)
            process.kill()
            process.wait()
            if process.stdout is not None:
                process.stdout.close()

    def pids(self) -> dict[str, list[int]]:
        """The roots of the processes by group."""
        return {name: [process.pid] for name, process in self.processes.items()}


def settings_of(data: Path, database: str, journal_dir: Path | None = None) -> Settings:
    """Return production settings with fresh secrets, which are also written where the processes read them."""
    folder = data / "secrets"
    folder.mkdir(parents=True, mode=0o700)
    values: dict[str, Any] = {}
    for name in ("otp_key", "audit_key", "data_key", "lookup_key", "csrf_key", "ca_passphrase"):
        values[name] = secrets.token_hex(32)
        (folder / name).touch(mode=0o600)
        (folder / name).write_text(values[name])
    port = free_port()
    given: dict[str, Any] = {
        "mode": "production",
        "data": data,
        "database": database,
        "journal_dir": journal_dir,
        "port": port,
        "public_url": PUBLIC_URL,
        "brand": BRAND,
        "status_url": f"http://127.0.0.1:{port}",
        "smtp": Smtp(host="127.0.0.1", port=free_port(), tls="none"),
    }
    return Settings(**given, **values)


@contextmanager
def copied(original: Site, database: str) -> Iterator[Site]:
    """Give a second installation with the same content: nothing of the original may run."""
    data = Path(tempfile.mkdtemp(prefix="chopmark-bench-"))
    shutil.copytree(original.data, data, dirs_exist_ok=True, ignore=shutil.ignore_patterns("codes", "*.log"))
    smtp = original.settings.smtp.model_copy(update={"port": free_port()})
    database = database.replace("{data}", str(data))
    changes = {"data": data, "database": database, "port": free_port(), "smtp": smtp}
    site = Site(data, original.settings.model_copy(update=changes), database, original.secret, original.workers)
    with _gateway(site):
        yield site


@contextmanager
def _gateway(site: Site) -> Iterator[None]:
    try:
        site.start_sink()
        yield
    finally:
        for process in site.processes.values():
            ended(process)
        shutil.rmtree(site.data, ignore_errors=True)


@contextmanager
def founded(database: str = "", jobs_database: str = "", journal_dir: Path | None = None) -> Iterator[Site]:
    """Give a new installation: schema, CA, a client credential; only the gateway's other end runs yet.

    `{data}` in a database's address is the installation's directory. Heads and journal are in `journal_dir`, if there
    is one.
    """
    data = Path(tempfile.mkdtemp(prefix="chopmark-bench-"))
    database = database.replace("{data}", str(data))
    site = Site(data, settings_of(data, database, journal_dir), jobs_database or database)
    asyncio.run(_found(site))
    with _gateway(site):
        yield site


async def _found(site: Site) -> None:
    await make_current(site.settings.database_url)
    await found_ca(site.settings, SteppingClock(SystemClock().now() - BEGINS), SystemEntropy())
    services = await build(site.settings, SystemClock(), SystemEntropy())
    try:
        site.secret = (await services.identity.launches.put_client(CLIENT, "bench", "bench")).secret
        await services.identity.launches.limit(CLIENT, Scope(per_minute=MOST_PER_MINUTE), "bench")
    finally:
        await services.close()
