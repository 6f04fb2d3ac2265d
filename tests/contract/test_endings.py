"""What the worker tells the CA: all that waits, marked together, and none held back by a neighbour's failure."""

from dataclasses import dataclass, field
from typing import cast

import pytest

from chopmark.core.refusal import Kind, Refusal, Refused
from chopmark.core.types import Operation, Reason, Serial, text
from chopmark.jobs.revoke import Endings
from chopmark.messaging.ports import OutboxJob, OutboxJobKind
from chopmark.ra.revocation import Revocation
from tests.contract.world import ANN, BEN, CEO, World, world_fixture

world = world_fixture()


@dataclass
class Telling:
    """A way to the CA that fails for one certificate."""

    real: Revocation
    failing: Serial
    failure: Exception
    told: list[Serial] = field(default_factory=list)

    async def at_ca(self, serial: Serial, reason: str) -> None:
        if serial == self.failing:
            raise self.failure
        self.told.append(serial)
        await self.real.at_ca(serial, reason)


async def superseded(world: World) -> list[Serial]:
    """Three customers replace their certificates; the old ones, which are to be revoked."""
    old = []
    for customer in (ANN, BEN, CEO):
        await world.to_active(customer)
        old.append(world.held[customer].certificate.serial)
        world.clock.later(minutes=2)
        await world.to_active(customer, Operation.REPLACE, reason=Reason.NEW_DEVICE)
    return old


def endings(world: World, telling: Telling, holder: str = "one") -> Endings:
    services = world.services
    return Endings(services.messaging.outbox, cast("Revocation", telling), services.ra.suspension, world.clock, holder)


async def open_rows(world: World) -> list[str]:
    rows = await world.rows("SELECT facts FROM work WHERE kind = 'revoke' AND done_at IS NULL")
    return [row["facts"] for row in rows]


async def test_all_that_waits_is_told_and_marked(world: World) -> None:
    old = await superseded(world)
    assert await world.once("revoke") == 3
    assert [await world.ca_state(serial) for serial in old] == [("revoked", "superseded")] * 3
    assert await world.count("work", "kind = 'revoke' AND outcome = 'told'") == 3
    assert await world.once("revoke") == 0


@pytest.mark.parametrize(
    "failure", [Refused(Refusal(Kind.UNAVAILABLE, text("Please try again."), code="x")), ZeroDivisionError()]
)
async def test_one_that_fails_is_told_again_later_and_those_before_it_are_not(world: World, failure: Exception) -> None:
    old = await superseded(world)
    telling = Telling(world.services.ra.revocation, old[2], failure)
    failed = False
    try:
        await endings(world, telling).once()
    except ZeroDivisionError:
        failed = True
    assert failed is isinstance(failure, ZeroDivisionError)
    assert telling.told == old[:2]
    (left,) = await open_rows(world)
    assert old[2] in left
    world.clock.later(minutes=1)
    assert await world.once("revoke") == 1
    assert await open_rows(world) == []
    assert await world.ca_state(old[2]) == ("revoked", "superseded")


async def test_one_that_fails_keeps_none_behind_it_from_being_told(world: World) -> None:
    old = await superseded(world)
    telling = Telling(world.services.ra.revocation, old[0], ZeroDivisionError())
    for _ in range(2):
        with pytest.raises(ZeroDivisionError):
            await endings(world, telling).once()
        assert telling.told == old[1:]
        world.clock.later(seconds=3)  # longer than the lease
    assert await endings(world, telling).once() == 0, "it waits longer each time, so that the job works meanwhile"
    world.clock.later(minutes=1)
    assert await world.once("revoke") == 1
    assert await world.ca_state(old[0]) == ("revoked", "superseded")


async def claimed(world: World, holder: str) -> list[OutboxJob]:
    return await world.services.messaging.outbox.claim((OutboxJobKind.REVOKE,), 10, holder, world.clock.now(), 2)


async def test_who_lost_the_lease_marks_nothing(world: World) -> None:
    await superseded(world)
    works, mine = world.services.messaging.outbox, await claimed(world, "slow")
    assert len(mine) == 3
    world.clock.later(seconds=3)
    theirs = await claimed(world, "quick")
    assert await works.done_all(mine, "slow", world.clock.now(), "told") == 0
    assert await works.done_all(theirs[:2], "quick", world.clock.now(), "told") == 2
    assert await works.done_all(theirs, "quick", world.clock.now(), "told") == 1
