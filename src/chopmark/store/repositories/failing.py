"""Which jobs fail again and again, by process and host, as rows of `installation`. Only `chopmark check` reads them.

When the database itself is what fails, these rows cannot be written. Then only the log tells of it.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final

from chopmark.core.clock import Clock
from chopmark.store.engine.columns import moment, ms
from chopmark.store.engine.port import Engine
from chopmark.store.engine.script import Script, query

SHOWN_FOR: Final = timedelta(days=1)
"""A failing job fails every few minutes. An older row was left by a process or a host that is gone."""
_PREFIX: Final = "job:"
_GET = "SELECT value FROM installation WHERE name = :name"
_PUT = """
INSERT INTO installation (name, value) VALUES (:name, :value) ON CONFLICT (name) DO UPDATE SET value = :value
"""
_FORGET = "DELETE FROM installation WHERE name = :name"
_ALL = "SELECT name, value FROM installation WHERE name LIKE 'job:%' ORDER BY name"


@dataclass(frozen=True, slots=True)
class FailingJob:
    """A job, where it runs, how often it has failed in a row, its last failure, and the times (aware, UTC)."""

    job: str
    place: str
    failures: int
    error: str
    since: datetime
    last: datetime


class FailingJobs:
    """Implements `jobs.loop.Alarms` for the processes of one place."""

    def __init__(self, engine: Engine, clock: Clock, place: str) -> None:
        self._engine = engine
        self._clock = clock
        self._place = place

    async def failing(self, job: str, failures: int, error: str) -> None:
        """Store how often a job has failed in a row. The time of the first failure is kept."""
        name, now = self._name(job), self._clock.now()

        def script() -> Script[None]:
            before = [_failing(name, json.loads(row["value"])) for row in (yield query(_GET, name=name))]
            since = next((one.since for one in before if one.last > now - SHOWN_FOR), now)
            value = {"failures": failures, "error": error, "since": ms(since), "last": ms(now)}
            yield query(_PUT, name=name, value=json.dumps(value, sort_keys=True))

        await self._engine.run(script)

    async def well(self, job: str) -> None:
        """Delete the row of a job, if it has one."""
        name = self._name(job)

        def look() -> Script[bool]:
            return bool((yield query(_GET, name=name)))

        def forget() -> Script[None]:
            yield query(_FORGET, name=name)

        if await self._engine.read(look):
            await self._engine.run(forget)

    async def all(self) -> list[FailingJob]:
        """Return the jobs that failed lately, of all processes and hosts."""

        def script() -> Script[list[FailingJob]]:
            return [_failing(row["name"], json.loads(row["value"])) for row in (yield query(_ALL))]

        after = self._clock.now() - SHOWN_FOR
        return [one for one in await self._engine.read(script) if one.last > after]

    def _name(self, job: str) -> str:
        return f"{_PREFIX}{job}@{self._place}"


def _failing(name: str, value: dict[str, Any]) -> FailingJob:
    job, _, place = name.removeprefix(_PREFIX).partition("@")
    since, last = moment(value["since"]), moment(value["last"])
    return FailingJob(job, place, int(value["failures"]), str(value["error"]), since, last)
