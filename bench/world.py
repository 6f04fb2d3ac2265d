"""What a run measures in: PostgreSQL with fsync in a temporary directory, a filled installation, processes as in
production, the yardstick beside it, and the options of the run."""

import asyncio
import socket
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import asyncpg

from bench import clients, machine, yardstick
from bench.clients import Clients
from bench.fill import Job, fill, job_of
from bench.site import CLIENT, Site, ended, founded, free_port, started
from bench.template import played
from tests.postgres import Started
from tests.postgres import running as postgres_running

ENGINES = ("PostgreSQL", "SQLite")


@dataclass(frozen=True, slots=True)
class Options:
    """How long and how large."""

    quick: bool = False
    rounds: int = 5
    seconds: float = 6.0
    warm: float = 2.0
    customers: int = 100_000
    concurrency: int = 32
    engines: tuple[str, ...] = ENGINES
    """The engines that S asks."""
    sizes: tuple[int, ...] = (10_000, 100_000, 1_000_000)
    sqlite_sizes: tuple[int, ...] = (10_000, 100_000)
    """A firm with more customers uses PostgreSQL; more are measured here when `--sizes` asks for them."""
    out: Path = Path("bench/out")
    profile: bool = False


QUICK = Options(
    quick=True, rounds=4, seconds=2.0, warm=1.0, customers=4_000, sizes=(1_000, 10_000), sqlite_sizes=(1_000, 10_000)
)


def say(line: str) -> None:
    """Tell what is going on; the table goes to stdout, this does not."""
    sys.stderr.write(f"{time.strftime('%H:%M:%S')} {line}\n")
    sys.stderr.flush()


@dataclass
class BenchSite:
    """The PostgreSQL installation that J, I, O and M share."""

    options: Options
    cluster: Started
    site: Site
    job: Job
    dsn: str
    groups: dict[str, list[int]] = field(default_factory=dict)
    next_customer: int = 1

    def take(self, share: float) -> tuple[int, int]:
        """Return a range of customers who have not renewed: that share of all; RuntimeError when none are left."""
        first = self.next_customer
        self.next_customer += int(self.options.customers * share)
        if self.next_customer > self.options.customers + 1:
            raise RuntimeError("too few customers are loaded for this run: raise --customers")
        return first, self.next_customer

    def measured(self) -> dict[str, list[int]]:
        """The processes by group: whose CPU time is told apart."""
        postgres = {"postgres": [self.cluster.process.pid]}
        return {**self.site.pids(), **postgres, **self.groups}

    def conditions(self, **more: object) -> dict[str, object]:
        """What every figure of this world was measured under."""
        return {
            "cores": machine.CORES,
            "database": "PostgreSQL, fsync and synchronous_commit on, Unix socket",
            "server": f"chopmark serve --workers {self.site.workers}, worker, audit on, policy tw-broker",
            "customers": self.options.customers,
            "rounds": self.options.rounds,
            "seconds_a_round": self.options.seconds,
            **more,
        }


@contextmanager
def opened(options: Options, settings: tuple[str, ...] = ()) -> Iterator[BenchSite]:
    """Give the world: PostgreSQL, a filled installation, server, worker, gateway sink, yardstick."""
    with ExitStack() as stack:
        say("PostgreSQL starts")
        cluster = stack.enter_context(postgres_running(settings))
        dsn = asyncio.run(cluster.fresh_database())
        jobs = asyncio.run(_second_role(dsn))
        site = stack.enter_context(founded(dsn, jobs))
        say("customer 0 is certified through the ordinary verbs")
        job = job_of(site.settings, asyncio.run(played(site.settings, datetime.now(UTC))))
        say(f"{options.customers:,} customers filled in, {fill(job, site.data, 1, options.customers + 1)}")
        site.start()
        world = BenchSite(options, cluster, site, job, dsn)
        yield world


async def _second_role(dsn: str) -> str:
    """Return the same database for the worker under a name of its own, so that its statements are counted apart."""
    connection = await asyncpg.connect(dsn)
    try:
        await connection.execute("CREATE ROLE jobs SUPERUSER LOGIN")
    finally:
        await connection.close()
    return dsn.replace("postgresql://chopmark@", "postgresql://jobs@")


@contextmanager
def measuring(world: BenchSite, share: float) -> Iterator[Clients]:
    """Give load clients for the product, with a share of all customers, who have not renewed yet."""
    site = world.site
    first, last = world.take(share)
    start: dict[str, Any] = {
        "client": CLIENT,
        "secret": site.secret.reveal(),
        "sink": str(site.codes),
        "customers": (first, last),
    }
    with clients.running(site.port, site.data / "clients.log", **start) as group:
        yield group


@contextmanager
def yardstick_running(world: BenchSite) -> Iterator[Clients]:
    """Give load clients for the yardstick, which runs on a database of its own in the same PostgreSQL."""
    dsn = asyncio.run(world.cluster.fresh_database())
    asyncio.run(yardstick.prepare(dsn, world.options.customers))
    port = free_port()
    log = world.site.data / "yardstick.log"
    process = started(["-m", "bench.yardstick", str(port), dsn], world.site.environment(), log, ready=0)
    try:
        awaited(port)
        world.groups["yardstick"] = [process.pid]
        with clients.running(port, log) as group:
            yield group
    finally:
        world.groups.pop("yardstick", None)
        ended(process)


def awaited(port: int) -> None:
    """Return when something answers at a port; RuntimeError after half a minute."""
    for _ in range(300):
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.1)
    raise RuntimeError(f"nobody answers at port {port}")
