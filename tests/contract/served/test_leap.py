"""A real server whose clock is put a day ahead gives no time-stamp until it is right again (F12)."""

import sqlite3
from contextlib import closing
from datetime import datetime, timedelta
from pathlib import Path
from random import Random

import pytest

from chopmark.app.foundation import SystemClock
from chopmark.pki import tsp
from chopmark.pki.tsp import FailInfo
from tests.contract.served.serving import Served, serve
from tests.contract.world import ANN, BEN, World, world_fixture

world = world_fixture(("sqlite",))
LOOKS = 1_000  # at the address, with a pause after each
QUERY = {"Content-Type": "application/timestamp-query"}
REFUSED = tsp.rejection(FailInfo.TIME_NOT_AVAILABLE)


async def doubted(served: Served, at: datetime, *, doubt: bool) -> None:
    """Put the clock there, and ask for readiness until it says so; one time-stamp is refused then, or given."""
    served.at(at)
    for _ in range(LOOKS):
        answer = await served.request("GET", "/health/ready")
        if (answer.json()["checks"]["clock"] != "ok") is doubt:
            stamp = await served.request("POST", "/tsa", content=tsp.build_request(bytes(32), 1), headers=QUERY)
            assert (stamp.content == REFUSED) is doubt
            return
        await served.leave_alone("server")
    raise AssertionError(served.logs())


async def test_a_leap_forward_stops_time_stamps_and_the_way_back_lets_them_go_on(world: World, tmp_path: Path) -> None:
    await world.once("timestamp-key")
    await world.close()
    start = world.clock.at
    served = serve(world, tmp_path)
    try:
        served.start("server")
        await served.ready()
        await doubted(served, start + timedelta(seconds=5), doubt=False)
        await doubted(served, start + timedelta(days=1), doubt=True)
        await doubted(served, start + timedelta(seconds=30), doubt=False)
    finally:
        await served.close()


def left(world: World) -> tuple[list[str], list[str]]:
    """The states of orders and certificates."""
    with closing(sqlite3.connect(world.url.removeprefix("sqlite:///"))) as db:
        orders = [row[0] for row in db.execute("SELECT state FROM orders ORDER BY id")]
        return orders, [row[0] for row in db.execute("SELECT state FROM certificates ORDER BY serial")]


@pytest.mark.soak
async def test_drill_leaps_of_every_size_destroy_no_order_and_no_unproven_certificate(
    world: World, tmp_path: Path
) -> None:
    """Server and worker run while the clock is put forward and back, by two minutes up to forty days."""
    await world.once("timestamp-key")
    await world.to_issued(BEN)
    await world.to_review(ANN)
    await world.work()
    await world.close()
    before, random, began = left(world), Random(12), SystemClock().now()

    def right() -> datetime:
        return world.clock.at + (SystemClock().now() - began)

    served = serve(world, tmp_path)
    try:
        for name in ("server", "worker"):
            served.start(name)
        await served.ready()
        await doubted(served, right(), doubt=False)
        for _ in range(12):
            size = timedelta(seconds=random.choice((1, -1)) * 120 * 28_800 ** random.random())
            await doubted(served, right() + size, doubt=True)
            await doubted(served, right(), doubt=False)
        assert left(world) == before
    finally:
        await served.close()
