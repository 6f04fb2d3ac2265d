"""A house that can be stopped between what it reads and what it writes, so that something else commits in between.

The house stands on a database of its own connections, behind a turnstile: the engine's port, and nothing patched. What
happens at the barrier is done by another process of the same installation, or by the clock.
"""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field, replace
from datetime import datetime
from random import Random
from typing import Any, cast

from chopmark.app.services import build
from chopmark.app.settings import Settings
from chopmark.audit.events import Event
from chopmark.store.engine.opening import open_engine
from chopmark.store.engine.port import Engine
from chopmark.store.engine.script import Bundle, Script
from tests.contract.world import Clock, Dice, Errand, World

Meanwhile = Callable[[], Awaitable[None]]


@dataclass
class Turnstile:
    """An engine at which a transaction can be told to wait until something else has happened.

    A transaction is known by what it records, which is a promise of the house and no matter of how it is written.
    """

    engine: Engine
    _plans: dict[Event | None, Meanwhile] = field(default_factory=dict)
    passed: list[Event | None] = field(default_factory=list)
    """At which barriers something has happened: a test that never came to its barrier shows nothing."""

    def before(self, event: Event, meanwhile: Meanwhile) -> None:
        """Let this happen just before the transaction that is to record this event; once."""
        self._plans = {event: meanwhile}

    def before_any(self, meanwhile: Meanwhile) -> None:
        """Let this happen just before the next transaction that may write: where the event is not in its first step."""
        self._plans = {None: meanwhile}

    def __getattr__(self, name: str) -> Any:
        return getattr(self.engine, name)

    async def run(self, script: Callable[..., Script[Any]], *args: Any, **kwargs: Any) -> Any:
        recorded = _recorded(script(*args, **kwargs)) if self._plans else set()
        for event in self._plans.keys() & {*recorded, None}:
            await self._plans.pop(event)()
            self.passed.append(event)
        return await self.engine.run(script, *args, **kwargs)


def _recorded(script: Script[Any]) -> set[Event | None]:
    """Return the events of the records in a script's first step; the script is not run, as an engine may."""
    step = next(script)
    script.close()
    parts = step.parts if isinstance(step, Bundle) else ()
    return {Event(value) for part in parts if isinstance(value := part.values.get("event"), str)}


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
    settings = world.services.foundation.settings.model_copy(update={"node": 9})
    services = await build(settings, clock or world.clock, dice, opening)
    world.nodes.append(services)
    return world.with_services(services, dice), made[0]


async def at_barrier(errand: Errand) -> tuple[Errand, Turnstile]:
    """The same order in the process with the turnstile."""
    other, turnstile = await stoppable(errand.world)
    return replace(errand, world=other), turnstile


async def that_leaps(errand: Errand) -> tuple[Errand, LeapingClock]:
    """The same order in a process whose clock may leap."""
    clock = LeapingClock(errand.world.clock)
    other, _ = await stoppable(errand.world, clock)
    return replace(errand, world=other), clock
