"""S: what a request costs with ever more customers and certificates on record, on both engines; sizes take turns.

No reminders are planned and sent here: all loaded customers have one due, which no firm's night has, and planning three
million would take longer than all the rest. J, I and O have them.
"""

import asyncio
import tempfile
import time
from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import AbstractContextManager, ExitStack
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from bench import chart, clients, machine, people
from bench.bulk import octets
from bench.clients import Clients
from bench.figures import Result, median, percentile
from bench.fill import fill, job_of
from bench.footprint import IMPORTED_FROM, imported, sheet
from bench.journeys import sound
from bench.site import CLIENT, Site, founded
from bench.sqlite import ON
from bench.template import played
from bench.world import Options, say
from chopmark.app.foundation import SystemClock, SystemEntropy
from chopmark.app.issuing_cas import ISSUER
from chopmark.app.services import Services, build
from chopmark.core.types import CustomerId, FactorClass, LoginId
from chopmark.ra.context import Caller
from chopmark.store.engine.script import Query, Script
from tests.postgres import Cluster
from tests.postgres import running as postgres_running

CALLS = 200
CONCURRENCY = 2
REVOKED_EACH = 50
"""One certificate in so many is revoked."""
IMPORTED = 2_000
REVOKED_AT_ONCE = 2_000
"""A statement of the product's has some seconds: so many customers' certificates are revoked by one."""
_REVOKE = """
UPDATE {table} SET state = 'revoked', reason = 'superseded', ended_at = {moment}
WHERE serial IN (SELECT serial FROM holdings WHERE customer >= '{first}' AND customer < '{last}')
"""


@dataclass
class Sized:
    """An installation of a size, and what was seen of it: seconds by path, round by round."""

    size: int
    site: Site
    filled: str
    """How long what of it took."""
    octets: dict[str, tuple[int, int]] = field(default_factory=dict)
    """What the largest tables take up once filled, and what of that is indexes."""
    seen: dict[str, list[float]] = field(default_factory=dict)

    @property
    def first_revoked(self) -> int:
        """The first of the customers, the last ones, whose certificate is revoked; the others renew."""
        return self.size - self.size // REVOKED_EACH + 1

    def saw(self, path: str, cost: float) -> None:
        self.seen.setdefault(path, []).append(cost)


def measure(options: Options) -> Iterator[Result]:
    """Give S's rows, engine by engine, and draw the charts."""
    with postgres_running() as cluster:
        for engine in options.engines:
            yield from _engine(options, engine, cluster)


def _engine(options: Options, engine: str, cluster: Cluster) -> list[Result]:
    with ExitStack() as stack:
        sized = []
        for size in options.sizes if engine == "PostgreSQL" else options.sqlite_sizes:
            database = asyncio.run(cluster.fresh_database()) if engine == "PostgreSQL" else ON
            site = stack.enter_context(founded(database))
            site.workers, site.reminders = 1, False
            job = job_of(site.settings, asyncio.run(played(site.settings, datetime.now(UTC))))
            one = Sized(size, site, fill(job, site.data, 1, size + 1))
            say(f"{engine}: {size:,} customers filled in, {one.filled}")
            one.octets = asyncio.run(octets(site.settings.database_url))
            asyncio.run(_crl(one))
            site.start()
            sized.append((one, stack.enter_context(_load(one))))
        for number in range(options.rounds + 1):  # the first warms up
            for one, group in sized:
                _round(options, one, group, counts=number > 0)
            say(f"S {engine} round {number} of {options.rounds}")
        for one, group in sized:
            group.all({"do": "finish"})
            one.saw("import a customer", _import_s(one))
    return _rows(options, engine, [one for one, _ in sized])


def _load(one: Sized) -> AbstractContextManager[Clients]:
    site = one.site
    start: dict[str, Any] = {"client": CLIENT, "secret": site.secret.reveal(), "sink": str(site.codes)}
    return clients.running(site.port, site.data / "clients.log", 1, customers=(1, one.first_revoked), **start)


async def _crl(one: Sized) -> None:
    """Revoke a fiftieth of all certificates, as rows, and have the list built and published."""
    services = await build(one.site.settings, SystemClock(), SystemEntropy())
    try:
        moment = int((datetime.now(UTC) - timedelta(hours=1)).timestamp() * 1000)
        for begin in range(one.first_revoked, one.size + 1, REVOKED_AT_ONCE):
            first, last = people.number(begin), people.number(min(begin + REVOKED_AT_ONCE, one.size + 1))
            for table in ("certificates", "holdings"):
                text = _REVOKE.format(table=table, moment=moment, first=first, last=last)

                def revoke(text: str = text) -> Script[None]:
                    yield Query(text, {})

                await services.foundation.engine.run(revoke)
        begun = time.perf_counter()
        await services.ca.publisher.publish_due()
        one.saw("crl", time.perf_counter() - begun)
    finally:
        await services.close()


def _round(options: Options, one: Sized, group: Clients, *, counts: bool) -> None:
    command = {"do": "journeys", "c": CONCURRENCY, "warm": 0.3, "seconds": options.seconds}
    done = sound(group.round(command))
    looked = asyncio.run(_look_ups(one))
    if not counts:
        return
    for step, took in done.steps.items():
        one.saw(f"request {step}", median(took))
    for name, cost in looked.items():
        one.saw(f"look-up {name}", cost)


def _import_s(one: Sized) -> float:
    """Return the seconds a customer of a sheet, the command's own start included."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "customers.csv"
        sheet(path, IMPORTED_FROM, IMPORTED)
        seconds, _ = imported(path, one.site.environment())
    return seconds / IMPORTED


async def _look_ups(one: Sized) -> dict[str, float]:
    """Return the median seconds of look-ups of customers all over the directory, and of the same ones once more.

    A directory larger than the machine's memory has most customers' pages on the disk only: the first look-up reads
    them, the one after it does not.
    """
    services = await build(one.site.settings, SystemClock(), SystemEntropy())
    try:
        took: dict[str, float] = {}
        for name, call in _calls(services).items():
            took[name] = await _timed(one.size, call)
            took[f"{name} again"] = await _timed(one.size, call)
        return took
    finally:
        await services.close()


def _calls(services: Services) -> Mapping[str, Callable[[int], Awaitable[object]]]:
    def caller(i: int) -> Caller:
        return Caller(CustomerId(people.number(i)), frozenset({FactorClass.PASSWORD}), "bench", LoginId("bench"))

    async def status(i: int) -> object:
        held = await services.ra.customer_queries.certificates(caller(i))
        return await services.va.status.status(ISSUER, held[0].serial)

    return {
        "by person id": lambda i: services.identity.people.find(people.person_id(i)),
        "by customer number": lambda i: services.identity.people.find(people.number(i)),
        "overview": lambda i: services.ra.customer_queries.overview(caller(i)),
        "certificates": lambda i: services.ra.customer_queries.certificates(caller(i)),
        "status": status,
    }


async def _timed(size: int, call: Callable[[int], Awaitable[object]]) -> float:
    took = []
    for turn in range(CALLS + CALLS // 10):
        i = 1 + turn * 7_919 * 127 % size
        begun = time.perf_counter()
        await call(i)
        took.append(time.perf_counter() - begun)
    return percentile(took[CALLS // 10 :], 0.5)


def _rows(options: Options, engine: str, sized: list[Sized]) -> list[Result]:
    """Compare the largest with the smallest."""
    small, large = sized[0], sized[-1]
    rows = []
    for path in small.seen:
        rounds = [one.seen.get(path, []) for one in sized]
        if not all(rounds):
            continue
        ms = tuple(seconds * 1000 for seconds in large.seen[path])
        grown = median(large.seen[path]) / median(small.seen[path])
        by_size = {f"{one.size:,}": round(median(one.seen[path]) * 1000, 3) for one in sized}
        entries = path == "crl"
        conditions = {
            "cores": machine.CORES,
            "database": engine,
            "concurrency": 1 if path.startswith("look-up") else CONCURRENCY,
            "ms_by_size": by_size,
            **({"entries": large.size // REVOKED_EACH} if entries else {}),
        }
        target = "linear: it lists them" if entries else "at most 1.3"
        against = f"the same with {small.size:,} customers"
        name = f"S.{engine.lower()}.{path.replace(' ', '-')}"
        rows.append(Result(name, f"ms at {large.size:,}", ms, against, grown, target, conditions=conditions))
    _draw(options, engine, sized)
    return [*rows, *_disk(engine, large)]


def _disk(engine: str, one: Sized) -> list[Result]:
    """Return what the filled database takes up, by table."""
    if not one.octets:
        return []
    tables = {
        name: {"GB": round(all_ / 1e9, 2), "indexes": round(ix / 1e9, 2)} for name, (all_, ix) in one.octets.items()
    }
    conditions = {"database": engine, "filled_in": one.filled, "tables": tables}
    total = sum(all_ for all_, _ in one.octets.values()) / 1e9
    return [Result(f"S.{engine.lower()}.disk", f"GB at {one.size:,}", (total,), conditions=conditions)]


def _draw(options: Options, engine: str, sized: list[Sized]) -> None:
    options.out.mkdir(parents=True, exist_ok=True)
    paths = [path for path in sized[0].seen if path != "crl" and all(path in one.seen for one in sized)]
    for kind in ("request", "look-up"):
        series = {
            path.removeprefix(f"{kind} "): [(float(one.size), median(one.seen[path]) * 1000) for one in sized]
            for path in paths
            if path.startswith(kind)
        }
        if not series:
            continue
        title = f"{engine}: median of each {kind} against customers on record"
        file = options.out / f"size-{engine.lower()}-{kind}s.svg"
        file.write_text(chart.lines(title, series, "customers, each with a certificate", "ms"), encoding="utf-8")
        say(f"chart: {file}")
