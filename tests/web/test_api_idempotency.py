"""Idempotency-Key: a repeat gets the first answer, and nothing is done twice (reliability F11, I2, I42)."""

import asyncio
import hashlib
import json

import pytest

from chopmark.store.repositories.ra.idempotency import IN_FLIGHT_MS
from tests.web.counter import World, errand, problem


async def certificates(world: World) -> int:
    return len(await world.rows("SELECT serial FROM certificates"))


async def test_fifty_confirmations_at_once_under_one_key_make_one_certificate_and_fifty_equal_answers(
    world: World,
) -> None:
    """Reliability F11, I2, I42."""
    order = await (await errand(world, "C10001")).until("review", "rekey")
    before = await certificates(world)
    answers = await asyncio.gather(*(order.confirm(key="one") for _ in range(50)))
    assert {(answer.status_code, answer.content) for answer in answers} == {(201, answers[0].content)}
    assert await certificates(world) == before + 1
    again = await order.call(f"{order.path}/confirm", {"consent": "x"}, key="two")
    assert again.json()["certificate"] == answers[0].json()["certificate"]


async def test_fifty_confirmations_without_a_key_still_make_one_certificate(world: World) -> None:
    order = await (await errand(world, "C10001")).until("review", "rekey")
    before = await certificates(world)
    answers = await asyncio.gather(*(order.confirm() for _ in range(50)))
    assert {answer.status_code for answer in answers} <= {201, 202}
    assert await certificates(world) == before + 1


async def test_a_repeat_gets_the_first_answer_even_when_the_world_has_moved_on(world: World) -> None:
    order = await errand(world, "C10005")
    body = {"operation": "enrol", "account": order.person.account}
    first = await order.call("/orders", body, key="same")
    await order.call(f"{order.path}/cancel")
    again = await order.call("/orders", body, key="same")
    assert (again.status_code, again.json()) == (first.status_code, first.json())
    assert len(await world.rows("SELECT id FROM orders WHERE customer = 'C10005'")) == 1


async def test_a_refusal_is_repeated_too_and_costs_nothing_again(world: World) -> None:
    order = await (await errand(world, "C10001")).until("code", "rekey")
    right = await world.inbox_code(order.browser)
    body = {"code": f"{(int(right) + 1) % 1_000_000:06}"}
    answers = [await order.call(f"{order.path}/code", body, key="guess") for _ in range(8)]
    assert {(answer.status_code, answer.content) for answer in answers} == {(422, answers[0].content)}
    assert {answer.headers["content-type"] for answer in answers} == {"application/problem+json"}
    assert (await order.call(f"{order.path}/code", {"code": right})).status_code == 200


async def test_the_same_key_with_another_body_is_refused(world: World) -> None:
    order = await errand(world, "C10006")
    first, second = (part.split(") ")[1] for part in order.person.accounts.split(";"))
    assert (await order.call("/orders", {"operation": "rekey", "account": first}, key="k")).status_code == 201
    said = problem(await order.call("/orders", {"operation": "rekey", "account": second}, key="k"))
    assert (said["status"], said["code"]) == (409, "key_reused")


async def test_a_key_belongs_to_one_customer_and_one_address(world: World) -> None:
    one, other = await errand(world, "C10001"), await errand(world, "C10006")
    first = await one.call("/orders", {"operation": "rekey", "account": one.person.account}, key="k")
    second = await other.call("/orders", {"operation": "rekey", "account": other.person.account}, key="k")
    assert first.json()["id"] != second.json()["id"]
    assert (await one.call(f"{one.path}/nonce", key="k")).status_code == 200


@pytest.mark.parametrize("key", ["x" * 101, "a\tb"])
async def test_an_unusable_key_is_refused(world: World, key: str) -> None:
    order = await errand(world, "C10005")
    assert problem(await order.call("/orders", {"operation": "enrol", "account": order.person.account}, key=key))[
        "status"
    ] == (400)


async def test_a_request_in_flight_elsewhere_is_waited_for_and_then_refused(world: World) -> None:
    """The row of a node that is still at work: nobody does the same beside it."""
    order = await errand(world, "C10005")
    body = {"operation": "enrol", "account": order.person.account}
    sent = json.dumps(body, separators=(",", ":"), ensure_ascii=False).encode()
    scope = "C10005:POST:/api/v1/orders"
    begun = await world.services.ra.idempotency.begin(scope, "k", hashlib.sha256(sent).digest(), world.clock.now())
    assert begun is None
    said = problem(await order.call("/orders", body, key="k"))
    assert (said["status"], said["code"]) == (409, "in_flight")
    assert not await world.rows("SELECT id FROM orders WHERE customer = 'C10005'")
    world.clock.later(seconds=IN_FLIGHT_MS // 1000 + 1)
    assert (await order.call("/orders", body, key="k")).status_code == 201, "its node has died: the repeat takes over"
