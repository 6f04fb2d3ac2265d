"""What the firm's programs read of certificates that end: pages, by whom, and what a wrong call is answered with."""

import base64
from typing import Any

from chopmark.demo.history import CLIENT
from chopmark.identity.scope import Scope
from tests.web.counter import PERSON, Answer, World

EXPIRIES = "/backoffice/v1/expiries"


async def ask(world: World, query: str = "", secret: str = "") -> Answer:
    given = secret or (world.services.foundation.settings.data / "secrets" / "demo_client").read_text()
    basic = base64.b64encode(f"{CLIENT}:{given}".encode()).decode()
    return await world.browser().get(f"{EXPIRIES}?{query}", Authorization=f"Basic {basic}")


async def everything(world: World, query: str) -> list[dict[str, Any]]:
    """Read page after page to the end."""
    found, after = [], ""
    while True:
        body = (await ask(world, f"{query}&after={after}")).json()
        found += body["certificates"]
        after = body["next"]
        if after is None:
            return found


async def test_a_program_reads_what_the_command_line_reads(world: World) -> None:
    answer = await ask(world, "days=40&since=400")
    assert answer.headers["cache-control"] == "no-store"
    assert set(answer.json()) == {"as_of", "next_session", "calendar", "certificates", "next"}
    told = await everything(world, "days=40&since=400")
    expiries = world.services.ra.expiries
    rows = [row async for row in expiries.all(expiries.window(40, 400))]
    assert [(one["serial"], one["funnel"], one["cannot_trade"]) for one in told] == [
        (row.serial, row.funnel.value, row.cannot_trade) for row in rows
    ]
    ends = [one["ends"] for one in told]
    assert ends == sorted(ends)
    assert len({one["customer"] for one in told}) > 3
    lapsed = await everything(world, "days=40&since=400&only=cannot-trade")
    assert [one["serial"] for one in lapsed] == [one["serial"] for one in told if one["cannot_trade"]]
    assert lapsed


async def test_a_client_sees_only_the_accounts_of_its_scope_and_a_stranger_nothing(world: World) -> None:
    assert (await ask(world, secret="guessed")).status_code == 401
    assert (await world.browser().get(EXPIRIES)).status_code == 401
    account = (await everything(world, "days=400"))[0]["account"]
    await world.services.identity.launches.limit(CLIENT, Scope(accounts=(account,)), "alice")
    assert {one["account"] for one in await everything(world, "days=400")} == {account}
    assert account in {person.account for person in PERSON.values()}


async def test_a_place_that_is_none_and_a_wrong_choice_are_refused(world: World) -> None:
    assert (await ask(world, "after=yesterday")).json()["code"] == "cursor"
    assert (await ask(world, "only=mine")).status_code == 400
    assert (await ask(world, "days=9999999")).status_code == 200, "the longest window, and no more"
