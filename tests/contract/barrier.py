"""A house that can be stopped between what it reads and what it writes, so that something else commits in between.

The house stands on a database of its own connections, behind a turnstile: the engine's port, and nothing patched. What
happens at the barrier is done by another process of the same installation, or by the clock.
"""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field, replace
from datetime import datetime
from random import Random
from typing import Any, cast

from chopmark.main import build
from chopmark.settings import Settings
from chopmark.store.engine import Engine
from chopmark.store.opening import open_engine
from chopmark.store.script import Script
from tests.contract.world import Clock, Dice, Errand, World

Meanwhile = Callable[[], Awaitable[None]]


@dataclass
class Turnstile:
    """An engine at which what comes first can be told to wait for something else."""

    engine: Engine
    _plans: dict[int, Meanwhile] = field(default_factory=dict)
    _written: int = 0
    passed: list[int] = field(default_factory=list)
    """At which barriers something has happened: a test that never came to its barrier shows nothing."""

    def before_write(self, number: int, meanwhile: Meanwhile) -> None:
        """Let this happen just before the `number`-th transaction from now on that may write."""
        self._plans, self._written = {number: meanwhile}, 0

    def __getattr__(self, name: str) -> Any:
        return getattr(self.engine, name)

    async def run(self, script: Callable[..., Script[Any]], *args: Any, **kwargs: Any) -> Any:
        self._written += 1
        meanwhile = self._plans.pop(self._written, None)
        if meanwhile is not None:
            number = self._written
            await meanwhile()
            self.passed.append(number)
        return await self.engine.run(script, *args, **kwargs)


@dataclass
class LeapingClock:
    """The test's clock, and between two looks at it a moment that takes long: a process that the machine forgot."""

    clock: Clock
    _left: int = -1
    _to: datetime | None = None
    leapt: bool = False

    def after_look(self, number: int, to: datetime) -> None:
        """Let it be this moment, for everybody, after the `number`-th look from now on."""
        self._left, self._to = number, to

    def now(self) -> datetime:
        seen = self.clock.at
        self._left -= 1
        if self._left == 0 and self._to is not None:
            self.clock.at, self.leapt = self._to, True
        return seen


async def stoppable(world: World, clock: LeapingClock | None = None) -> tuple[World, Turnstile]:
    """Another process of the same installation, whose database has a turnstile and whose clock may leap."""
    made: list[Turnstile] = []

    async def opening(settings: Settings) -> Engine:
        made.append(Turnstile(await open_engine(settings.database_url)))
        return cast(Engine, made[0])

    dice = Dice(Random(1009))
    settings = world.house.settings.model_copy(update={"node": 9})
    house = await build(settings, clock or world.clock, dice, opening)
    world.nodes.append(house)
    return World(house, world.clock, dice, world.url, world.held), made[0]


async def at_barrier(errand: Errand) -> tuple[Errand, Turnstile]:
    """The same order in the process with the turnstile."""
    other, turnstile = await stoppable(errand.world)
    return replace(errand, world=other), turnstile


async def that_leaps(errand: Errand) -> tuple[Errand, LeapingClock]:
    """The same order in a process whose clock may leap."""
    clock = LeapingClock(errand.world.clock)
    other, _ = await stoppable(errand.world, clock)
    return replace(errand, world=other), clock
