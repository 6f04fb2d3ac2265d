"""Kill -9 at every commit and every signature of a renewal (F1): afterwards the order is whole, on both engines."""

from collections.abc import Iterator

import pytest

from tests.contract.kill.drill import Drill, Forker, drill, forker
from tests.contract.world import World, world_fixture

world = world_fixture()


@pytest.fixture(scope="module")
def children() -> Iterator[Forker]:
    with forker() as made:
        yield made


@pytest.fixture
async def prepared(world: World, children: Forker, request: pytest.FixtureRequest) -> Drill:
    on_postgres = world.services.foundation.engine.dialect == "postgresql"
    return await drill(world, children, request.getfixturevalue("postgres_cluster") if on_postgres else None)


async def test_i1_i2_i4_i5_a_renewal_killed_anywhere_is_whole_again_within_sixty_seconds(prepared: Drill) -> None:
    points = await prepared.points()
    assert len([1 for moment, _ in points if moment == "after signature"]) == 2  # the certificate and the list
    assert len([1 for moment, _ in points if moment == "before commit"]) >= 8
    # reserved, issued, proved, and the old one's revocation
    assert len([1 for moment, _ in points if moment == "before a line"]) == 4
    for moment, number in points:
        await prepared.kill(moment, number)


@pytest.mark.soak
@pytest.mark.parametrize("again", range(20))
async def test_i1_i2_i4_i5_a_renewal_killed_anywhere_twenty_times(prepared: Drill, again: int) -> None:
    for moment, number in await prepared.points():
        await prepared.kill(moment, number)
