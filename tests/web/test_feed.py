"""What a relying firm's program follows: which certificate an account has, as soon as it changes."""

import asyncio
import base64
from datetime import timedelta
from typing import Any

from chopmark.app.worker import tasks
from chopmark.core.types import Serial
from chopmark.demo.history import CLIENT
from chopmark.identity.scope import Scope
from tests.web.counter import PERSON, Answer, World

FEED = "/backoffice/v1/changes"


async def ask(world: World, after: int, wait: int = 0, secret: str = "") -> Answer:
    given = secret or (world.services.foundation.settings.data / "secrets" / "demo_client").read_text()
    basic = base64.b64encode(f"{CLIENT}:{given}".encode()).decode()
    return await world.browser().get(f"{FEED}?after={after}&wait={wait}", Authorization=f"Basic {basic}")


class Sequencer:
    """The worker's sequencer, one process: it has the lease."""

    def __init__(self, world: World) -> None:
        (self._job,) = [task.job for task in tasks(world.services) if task.name == "sequence"]

    async def run(self) -> None:
        while await self._job():
            pass


async def sequence(world: World) -> Sequencer:
    world.clock.at += timedelta(minutes=5)  # the lease of whoever played the demo's past is over
    made = Sequencer(world)
    await made.run()
    return made


async def to_the_end(world: World) -> tuple[int, list[dict[str, Any]]]:
    """Read on until nothing more comes: the present cursor, and all that was told."""
    after, told = 0, []
    while True:
        body = (await ask(world, after)).json()
        told += body["changes"]
        if body["next"] == after:
            return after, told
        after = body["next"]


async def test_a_place_that_no_database_can_count_is_refused_and_the_highest_one_is_not(world: World) -> None:
    assert (await ask(world, 2**63 - 1)).status_code == 200
    refused = await ask(world, 2**63)
    assert (refused.status_code, refused.json()["field"]) == (400, "after")


async def test_whoever_reads_on_has_every_certificate_as_it_stands(world: World) -> None:
    await sequence(world)
    _, told = await to_the_end(world)
    last = {one["serial"]: one["state"] for one in told}
    for person in PERSON:
        for certificate in await world.services.ra.context.certificates.all(person):  # type: ignore[arg-type]
            # One of a former issuer is known to the order host from that CA: its supersession alone is a change here.
            if certificate.activated_at is not None and certificate.former is None:
                assert last[certificate.serial] == certificate.state.value, (person, certificate.state)
    assert len(last) > 10


async def test_a_waiting_program_is_told_when_the_change_has_its_place(world: World) -> None:
    sequencer = await sequence(world)
    after, told = await to_the_end(world)
    serial = next(one["serial"] for one in told if one["state"] == "active")
    waiting = asyncio.create_task(ask(world, after, wait=25))
    await world.services.ra.suspension.hold(Serial(serial), "alice", "bob")
    await sequencer.run()
    answer = await asyncio.wait_for(waiting, 20)
    (change,) = answer.json()["changes"]
    assert (change["serial"], change["state"]) == (serial, "held")
    assert set(change) == {"account", "serial", "state", "from", "to"}
    assert answer.json()["next"] > after
    assert answer.headers["cache-control"] == "no-store"


async def test_a_stranger_is_told_nothing_and_a_client_only_of_its_accounts(world: World) -> None:
    assert (await ask(world, 0, secret="guessed")).status_code == 401
    assert (await world.browser().get(FEED)).status_code == 401
    await sequence(world)
    account = PERSON["C10002"].account
    await world.services.identity.launches.limit(CLIENT, Scope(accounts=(account,)), "alice")
    _, told = await to_the_end(world)
    assert {one["account"] for one in told} == {account}
