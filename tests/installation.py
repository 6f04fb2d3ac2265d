"""The world of tests: one installation in this process, with a clock and random numbers that the test controls.

It is used through the two interfaces that the product has. `tests.contract.world` calls the verbs of `ra`: results are
the verbs' own values, refusals are raised, a test can stop between two transactions, and it runs once on each database
engine. `tests.web.counter` sends HTTP requests: results are answers with a status, headers and cookies. What a rule
decides is tested with the first, how it is asked for and answered over HTTP with the second.

Founding a CA takes a second, and the demo's past twenty, so an installation is prepared once and copied for every test.
"""

import fcntl
import shutil
from collections import deque
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from random import Random
from typing import Any, Self

import pytest

from chopmark.app.founding import found_ca
from chopmark.app.services import Services, build
from chopmark.app.settings import Settings
from chopmark.app.worker import tasks
from chopmark.audit.events import Event
from chopmark.core.clock import Clock as AnyClock
from chopmark.core.clock import Entropy
from chopmark.core.types import OrderId
from chopmark.store import db
from chopmark.store.engine.port import Engine
from chopmark.store.engine.script import Value
from tests.tables import Clock, Tables

UNTIL_NOTHING_WAITS = frozenset({"deliver-0", "revoke", "publish", "sequence"})
"""The worker's jobs that `work` runs."""


@dataclass
class Dice:
    """Repeatable random numbers; what a test has put into `loaded` comes first."""

    random: Random
    loaded: deque[bytes] = field(default_factory=deque)

    def token(self, size: int) -> bytes:
        if self.loaded and len(self.loaded[0]) == size:
            return self.loaded.popleft()
        return self.random.randbytes(size)


@dataclass
class Installation(Tables):
    """An installation: its services, its worker, and what it leaves behind."""

    services: Services
    clock: Clock
    dice: Dice
    nodes: list[Services] = field(default_factory=list, kw_only=True)
    """The services of its other processes."""

    @classmethod
    async def opened(cls, settings: Settings, clock: Clock, dice: Dice) -> Self:
        """Open the installation that these settings name."""
        return cls(await build(settings, clock, dice), clock, dice)

    @property
    def settings(self) -> Settings:
        return self.services.foundation.settings

    @property
    def engine(self) -> Engine:
        return self.services.foundation.engine

    @property
    def url(self) -> str:
        """The address of the database."""
        return self.settings.database_url

    @property
    def data(self) -> Path:
        """The data directory."""
        return self.settings.data

    def with_services(self, services: Services, dice: Dice | None = None) -> Self:
        """Return the same installation with other services, as another process has them."""
        return replace(self, services=services, dice=dice or self.dice, nodes=[])

    async def code_of(self, order: OrderId) -> str:
        """Return an order's newest code, as it is sent."""
        found = await self.services.ra.verifier.latest(order)
        code = None if found is None else self.services.ra.verifier.code_of(found[0])
        assert code is not None
        return code.reveal()

    async def once(self, name: str) -> int:
        """Run one of the worker's jobs once."""
        (job,) = [task.job for task in tasks(self.services) if task.name == name]
        return await job()

    async def work(self) -> None:
        """Run the worker's jobs until nothing waits any more."""
        for task in tasks(self.services):
            if task.name in UNTIL_NOTHING_WAITS:
                while await task.job():
                    pass

    async def count(self, table: str, where: str = "1 = 1", **values: Value) -> int:
        return int((await self.rows(f"SELECT COUNT(*) AS n FROM {table} WHERE {where}", **values))[0]["n"])

    async def records(self, event: Event) -> list[dict[str, Any]]:
        return await self.rows("SELECT * FROM leaves WHERE event = :event ORDER BY entry", event=event.value)

    async def close(self) -> None:
        for services in [*self.nodes, self.services]:
            await services.close()


async def found_installation(settings: Settings, clock: AnyClock, entropy: Entropy, *algorithm: Any) -> None:
    """Found an installation with a CA of its own."""
    await db.upgrade(settings.database_url)
    assert await found_ca(settings, clock, entropy, *algorithm)


def shared_folder(factory: pytest.TempPathFactory) -> Path:
    """Return the folder that all processes of this run share."""
    base = factory.getbasetemp()
    return base.parent if base.name.startswith("popen-") else base


async def prepared(shared: Path, name: str, make: Callable[[Path], Awaitable[None]]) -> Path:
    """Return the directory of an installation that tests copy. The first process that wants it makes it for all."""
    ready = shared / name
    with (shared / f"{name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not ready.exists():
            making = shared / f"{name}.making"
            shutil.rmtree(making, ignore_errors=True)
            making.mkdir()
            await make(making)
            making.rename(ready)
    return ready
