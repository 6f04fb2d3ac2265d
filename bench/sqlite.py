"""Q: journeys on SQLite, every commit synced (FULL), with group commit and with a commit a call, in turns."""

import asyncio
from contextlib import AbstractContextManager, ExitStack
from datetime import UTC, datetime
from typing import Any

from bench import clients, machine
from bench.clients import Clients, Round
from bench.figures import Result, median, percentile, ratios
from bench.fill import fill, job_of
from bench.journeys import KEYS_A_SECOND, sound
from bench.machine import Use
from bench.site import CLIENT, Site, copied, founded
from bench.template import played
from bench.world import Options, say

ON = "sqlite:///{data}/chopmark.sqlite"
OFF = f"{ON}?group=off"


def measure(options: Options) -> list[Result]:
    """Return Q's rows."""
    with ExitStack() as stack:
        on = stack.enter_context(founded(ON))
        on.workers = 1
        job = job_of(on.settings, asyncio.run(played(on.settings, datetime.now(UTC))))
        say(f"{options.customers:,} customers filled into SQLite, {fill(job, on.data, 1, options.customers + 1)}")
        off = stack.enter_context(copied(on, OFF))
        groups = {name: stack.enter_context(_load(options, site)) for name, site in (("on", on), ("off", off))}
        return _rounds(options, {"on": on, "off": off}, groups)


def _load(options: Options, site: Site) -> AbstractContextManager[Clients]:
    site.start()
    start: dict[str, Any] = {"client": CLIENT, "secret": site.secret.reveal(), "sink": str(site.codes)}
    return clients.running(site.port, site.data / "clients.log", customers=(1, options.customers + 1), **start)


def _rounds(options: Options, sites: dict[str, Site], groups: dict[str, Clients]) -> list[Result]:
    seen: dict[str, list[Round]] = {"on": [], "off": []}
    uses: dict[str, list[Use]] = {"on": [], "off": []}
    for number in range(options.rounds + 1):  # the first warms up and does not count
        for name, group in groups.items():
            group.all({"do": "prepare", "keys": int((options.warm + options.seconds) * KEYS_A_SECOND)})
            pids = {**sites[name].pids(), "clients": group.pids}
            before = machine.sample(pids)
            command = {
                "do": "journeys",
                "c": options.concurrency,
                "warm": options.warm,
                "seconds": options.seconds,
            }
            done = sound(group.round(command))
            if number:
                seen[name].append(done)
                uses[name].append(machine.between(before, machine.sample(pids)))
        if number:
            told = ", ".join(f"{name} {rounds[-1].requests_a_second:.0f} requests/s" for name, rounds in seen.items())
            say(f"Q round {number}: group commit {told}")
    for group in groups.values():
        group.all({"do": "finish"})
    return _rows(options, seen, uses)


def _rows(options: Options, seen: dict[str, list[Round]], uses: dict[str, list[Use]]) -> list[Result]:
    rates = {name: [one.requests_a_second for one in rounds] for name, rounds in seen.items()}
    conditions = {
        "cores": machine.CORES,
        "database": "SQLite, WAL, synchronous=FULL",
        "server": "chopmark serve --workers 1, worker, audit on, policy tw-broker",
        "customers": options.customers,
        "concurrency": options.concurrency,
        "rounds": options.rounds,
        "seconds_a_round": options.seconds,
    }
    rows = [
        Result(
            "Q",
            "journeys/s",
            tuple(one.journeys_a_second for one in seen["on"]),
            "requests/s with group commit off",
            median(ratios(rates["on"], rates["off"])),
            "1.5",
            machine.added(uses["on"]).sentence(),
            conditions,
        )
    ]
    for name, rounds in seen.items():
        limited = machine.added(uses[name]).sentence()
        rows.append(Result(f"Q.{name}", "requests/s", tuple(rates[name]), limited_by=limited, conditions=conditions))
        each = tuple(percentile([s for took in one.steps.values() for s in took], 0.99) * 1000 for one in rounds)
        rows.append(Result(f"Q.{name}.p99", "ms a request", each, conditions=conditions))
    return rows
