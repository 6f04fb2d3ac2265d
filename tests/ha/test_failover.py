"""The leading host of the recipe fails under customers: nothing that they were told is lost or done twice (F7, F9)."""

import asyncio
from collections.abc import Iterator

import pytest

from tests.ha import cluster, counter
from tests.ha.drill import FAULTS, MOST_WAIT_S, Scene, drill, judged, told

pytestmark = pytest.mark.postgres
ALL = tuple(FAULTS)


def scene(names: tuple[str, ...], customers: int, small_disks: bool) -> Iterator[Scene]:
    with cluster.running(small_disks) as members, counter.opened(members, customers) as run:
        try:
            seen = asyncio.run(drill(members, run, names))
            print(told(seen))
            yield seen
        except AssertionError as failure:
            raise AssertionError(f"{failure}\n{members.logs()}\n{run.logs()[-6000:]}") from failure


def hold(seen: Scene, names: tuple[str, ...]) -> None:
    """Judge what is left, and what it cost."""
    assert asyncio.run(judged(seen)) == []
    assert [figures.fault for figures in seen.figures] == list(names)
    assert [figures.line() for figures in seen.figures if figures.nobody_s > MOST_WAIT_S] == []
    assert {one.what for one in seen.record.told} == {"issued", "active", "revoked"}


@pytest.fixture
def killed() -> Iterator[Scene]:
    yield from scene(("killed",), 200, small_disks=False)


@pytest.fixture
def everything() -> Iterator[Scene]:
    yield from scene(ALL, 1500, small_disks=True)


def test_i5_i25_the_leader_is_killed_and_what_customers_were_told_holds(killed: Scene) -> None:
    hold(killed, ("killed",))


@pytest.mark.soak
def test_i3_i5_i25_every_fault_of_the_leader_and_what_customers_were_told_holds(everything: Scene) -> None:
    hold(everything, ALL)
