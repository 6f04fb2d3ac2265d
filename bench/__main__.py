"""`make bench ARGS="..."`: measures Chopmark beside its limits and prints a table. See docs/performance.md."""

import argparse
import signal
import sys
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from bench import csr, following, footprint, issuance, journeys, machine, profiling, sizes, sqlite, status
from bench.figures import Result, as_json, table
from bench.world import ENGINES, QUICK, BenchSite, Options, opened, say

Measure = Callable[[BenchSite], list[Result]]
SHARED: dict[str, Measure] = {"J": journeys.measure, "I": issuance.measure, "O": status.measure, "M": footprint.measure}
"""Measured in one world, PostgreSQL with one filled installation, in this order."""
OWN: dict[str, Callable[[Options], Iterable[Result]]] = {
    "C": csr.measure,
    "Q": sqlite.measure,
    "S": sizes.measure,
    "F": following.measure,
}
"""Measured in installations of their own."""


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="make bench ARGS=...", description="Chopmark beside its limits")
    parser.add_argument("--quick", action="store_true", help="small and short: to see that it runs, not to quote")
    parser.add_argument("--only", default="", help="figures to measure, by comma: " + ",".join((*SHARED, *OWN)))
    parser.add_argument("--json", type=Path, help="write the results as JSON")
    parser.add_argument("--rounds", type=int, help="alternating rounds")
    parser.add_argument("--seconds", type=float, help="seconds a round")
    parser.add_argument("--engine", choices=[one.lower() for one in ENGINES], help="S on this engine only")
    parser.add_argument("--sizes", help="customers loaded for S, by comma, on both engines")
    parser.add_argument("--customers", type=int, help="customers loaded for J, I, O and M")
    parser.add_argument("--out", type=Path, default=Path("bench/out"), help="where charts and profiles go")
    parser.add_argument("--profile", action="store_true", help="also: CPU by layer (py-spy), statements a request")
    return parser.parse_args()


def _changes(given: argparse.Namespace) -> dict[str, Any]:
    named = {"rounds": given.rounds, "seconds": given.seconds, "customers": given.customers}
    changes = {name: value for name, value in named.items() if value is not None}
    if given.sizes:
        changes["sizes"] = changes["sqlite_sizes"] = tuple(int(size) for size in given.sizes.split(","))
    if given.engine:
        changes["engines"] = tuple(one for one in ENGINES if one.lower() == given.engine)
    return changes


def main() -> int:
    """Measure what was asked for; told to stop, end every process that was started."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    given = _arguments()
    options = QUICK if given.quick else Options()
    options = replace(options, out=given.out, profile=given.profile, **_changes(given))
    wanted = [name.strip().upper() for name in given.only.split(",") if name.strip()] or [*SHARED, *OWN]
    unknown = set(wanted) - {*SHARED, *OWN}
    if unknown:
        sys.stderr.write(f"unknown: {', '.join(sorted(unknown))}\n")
        return 2
    told = Told(machine.described(), given.json)
    try:
        _measure(options, wanted, told)
    finally:  # what was measured before something broke is worth reading
        sys.stdout.write(", ".join(f"{name}: {value}" for name, value in told.machine.items()) + "\n\n")
        sys.stdout.write(table(told.results) + "\n")
    return 0


@dataclass
class Told:
    """The results so far; the file of `--json` has each as soon as it is there."""

    machine: dict[str, str | int]
    file: Path | None
    results: list[Result] = field(default_factory=list)

    def add(self, results: Iterable[Result]) -> None:
        for result in results:
            self.results.append(result)
            if self.file is not None:
                self.file.write_text(as_json(self.results, self.machine), encoding="utf-8")


def _measure(options: Options, wanted: list[str], told: Told) -> None:
    if any(name in SHARED for name in wanted):
        with opened(options, profiling.SETTINGS if options.profile else ()) as world:
            if options.profile:
                profiling.measure(world)
            for name, measure in SHARED.items():
                if name in wanted:
                    say(f"{name} begins")
                    told.add(measure(world))
    for name, measure_alone in OWN.items():
        if name in wanted:
            say(f"{name} begins")
            told.add(measure_alone(options))


if __name__ == "__main__":
    sys.exit(main())
