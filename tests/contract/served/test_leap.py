"""A real server whose clock is put a day ahead gives no time-stamp until it is right again (F12)."""

from datetime import datetime, timedelta
from pathlib import Path

from chopmark.pki import tsp
from chopmark.pki.tsp import FailInfo
from tests.contract.served.serving import Served, serve
from tests.contract.world import World, world_fixture

world = world_fixture(("sqlite",))
LOOKS = 2_000
QUERY = {"Content-Type": "application/timestamp-query"}
REFUSED = tsp.rejection(FailInfo.TIME_NOT_AVAILABLE)


async def look(served: Served, at: datetime, *, refused: bool) -> None:
    """Put the clock there, and ask until the answer is that one: the process reads the new time within a second."""
    served.at(at)
    for _ in range(LOOKS):
        answer = await served.request("POST", "/tsa", content=tsp.build_request(bytes(32), 1), headers=QUERY)
        assert answer.status_code == 200, answer.text
        if (answer.content == REFUSED) is refused:
            return
    raise AssertionError(served.logs())


async def test_a_leap_forward_stops_time_stamps_and_the_way_back_lets_them_go_on(world: World, tmp_path: Path) -> None:
    await world.once("timestamp-key")
    await world.close()
    start = world.clock.at
    served = serve(world, tmp_path)
    try:
        served.start("server")
        await served.ready()
        await look(served, start + timedelta(seconds=5), refused=False)
        await look(served, start + timedelta(days=1), refused=True)
        await look(served, start + timedelta(seconds=30), refused=False)
    finally:
        await served.close()
