"""The answer to the right code is lost: its repeat gets it once more, and nothing else gets anything."""

import asyncio

import pytest

from tests.web.counter import Answer, Browser, Errand, World, errand, problem

KEY = "the-request-whose-answer-was-lost"


async def answered(world: World) -> tuple[Errand, str, str, str]:
    """An order whose code was right, with the session id before and after, and the code."""
    order = await (await errand(world, "C10001")).until("code", "rekey")
    code = await world.inbox_code(order.browser)
    before = session_of(order.browser)
    assert (await order.call(f"{order.path}/code", {"code": code}, key=KEY)).status_code == 200
    await world.services.ra.idempotency.stored()
    return order, before, session_of(order.browser), code


def session_of(browser: Browser) -> str:
    return browser.client.cookies["chopmark"]


def with_session(browser: Browser, token: str) -> Browser:
    browser.client.cookies.delete("chopmark")
    browser.client.cookies.set("chopmark", token, domain="localhost.local")
    return browser


async def repeat(order: Errand, token: str, code: str, key: str = KEY, path: str = "code") -> Answer:
    with_session(order.browser, token)
    return await order.browser.api(f"{order.path}/{path}", {"code": code}, key=key)


async def test_the_same_request_with_the_old_session_id_gets_the_first_answer_and_another_id(world: World) -> None:
    order, before, after, code = await answered(world)
    first = order.answers[-1]
    again = await repeat(order, before, code)
    assert (again.status_code, again.json()) == (200, first.json())
    fresh = session_of(order.browser)
    assert len({before, after, fresh}) == 3
    assert (await order.call(order.path, method="GET")).json()["next"] == "birth_date"
    with_session(order.browser, after)
    assert (await order.browser.api(order.path, method="GET")).status_code == 401, "the id that never arrived is dead"


async def test_it_works_once(world: World) -> None:
    order, before, _, code = await answered(world)
    assert (await repeat(order, before, code)).status_code == 200
    assert problem(await repeat(order, before, code))["code"] == "signin.needed"


async def test_of_many_repeats_at_once_one_gets_an_answer(world: World) -> None:
    order, before, _, code = await answered(world)
    browsers = [with_session(world.browser(), before) for _ in range(6)]
    for browser in browsers:
        await browser.get("/api/v1/status")

    async def ask(browser: Browser) -> int:
        return (await browser.api(f"{order.path}/code", {"code": code}, key=KEY)).status_code

    came = sorted(await asyncio.gather(*(ask(browser) for browser in browsers)))
    assert came == [200, 401, 401, 401, 401, 401]


@pytest.mark.parametrize(
    ("key", "code", "path"),
    [("another-key", None, "code"), (KEY, "000000", "code"), ("", None, "code"), (KEY, None, "confirm")],
)
async def test_anything_else_with_the_old_id_is_refused(world: World, key: str, code: str | None, path: str) -> None:
    order, before, after, right = await answered(world)
    refused = await repeat(order, before, code or right, key, path)
    assert refused.status_code in ({400, 401} if path == "confirm" else {401})
    assert session_of(with_session(order.browser, after)) == after
    assert (await order.browser.api(order.path, method="GET")).status_code == 200, "the session goes on"


async def test_after_a_minute_it_is_too_late(world: World) -> None:
    order, before, _, code = await answered(world)
    world.clock.later(seconds=59)
    assert (await repeat(order, before, code)).status_code == 200
    order, before, _, code = await answered_again(world, order)
    world.clock.later(seconds=60)
    assert (await repeat(order, before, code)).status_code == 401


async def answered_again(world: World, order: Errand) -> tuple[Errand, str, str, str]:
    """The same customer, another order."""
    await order.call(f"{order.path}/cancel")
    return await answered(world)


async def test_a_wrong_code_changes_no_session_and_its_repeat_gets_its_answer(world: World) -> None:
    order = await (await errand(world, "C10001")).until("code", "rekey")
    before = session_of(order.browser)
    code = await world.inbox_code(order.browser)
    wrong = f"{(int(code) + 1) % 1_000_000:06d}"
    first = await order.call(f"{order.path}/code", {"code": wrong}, key=KEY)
    second = await order.call(f"{order.path}/code", {"code": wrong}, key=KEY)
    assert (first.status_code, first.json()["detail"]) == (second.status_code, second.json()["detail"])
    assert session_of(order.browser) == before


async def test_a_stranger_with_the_old_id_and_the_code_gets_the_session_only_in_the_customers_place(
    world: World,
) -> None:
    """What remains: within a minute, whoever has cookie, Idempotency-Key and code; the customer is signed out then."""
    order, before, after, code = await answered(world)
    thief = with_session(world.browser("198.51.100.9"), before)
    await thief.get("/api/v1/status")
    assert (await thief.api(f"{order.path}/code", {"code": code}, key=KEY)).status_code == 200
    assert (await with_session(order.browser, after).api(order.path, method="GET")).status_code == 401
