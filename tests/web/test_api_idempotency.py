"""Idempotency-Key: a repeat gets the first answer, and nothing is done twice (reliability F11, I2, I42)."""

import asyncio
import hashlib
import json
from dataclasses import dataclass, field
from typing import Any

import pytest

from chopmark.ra.ports import Answer as Stored
from chopmark.store.repositories.ra.idempotency import IN_FLIGHT_MS
from tests.web.counter import PERSON, URL, Answer, Errand, World, errand, problem


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


@dataclass
class Twice(Errand):
    """An errand whose every call is made under a key and repeated; `pairs` are the two answers of each."""

    pairs: list[tuple[str, Answer, Answer]] = field(default_factory=list)

    async def call(self, path: str, body: Any = None, method: str = "POST", key: str = "") -> Answer:
        key = key or f"call-{len(self.pairs)}"
        first = await super().call(path, body, method, key)
        self.pairs.append((path, first, await self.browser.api(path, body, method=method, key=key)))
        return first


def meaning(answer: Answer) -> list[tuple[str, str]]:
    """Every header but the cookie of a new session, which a repeat in that session need not set."""
    return sorted((name, value) for name, value in answer.headers.multi_items() if name != "set-cookie")


async def test_a_repeat_has_the_headers_of_the_first_answer_at_every_step(world: World) -> None:
    order = Twice(world, await world.signed_in("C10001"), PERSON["C10001"])
    await order.call("/orders", {"operation": "rekey", "account": "no such account"})
    await order.until("code", "rekey")
    await order.call(f"{order.path}/code", {"code": "12"})
    await order.enter_code()
    await order.possess()
    await order.send_code()
    await order.enter_code()
    await order.enter_birth_date()
    await order.confirm()
    await order.prove()
    for path, first, again in order.pairs:
        assert (again.status_code, again.content) == (first.status_code, first.content), path
        assert meaning(again) == meaning(first), path
    made = {path.rpartition("/")[2]: again for path, _, again in order.pairs if again.status_code == 201}
    assert {name: again.headers["location"] for name, again in made.items()} == dict.fromkeys(
        ("orders", "challenges", "confirm"), f"{URL}/api/v1{order.path}"
    )


async def test_an_answer_that_the_release_before_stored_is_repeated_with_its_headers(world: World) -> None:
    """That release stored status and body, and so does this one: each repeats what the other has stored."""
    order = await errand(world, "C10005")
    body = {"operation": "enrol", "account": order.person.account}
    sent = json.dumps(body, separators=(",", ":"), ensure_ascii=False).encode()
    store, scope, digest = world.services.ra.idempotency, "C10005:POST:/api/v1/orders", hashlib.sha256(sent).digest()
    for name, status, said in (("made", 201, {"id": "ab12", "next": "key"}), ("later", 409, {"retry_after_s": 7})):
        assert await store.begin(scope, name, digest, world.clock.now()) is None
        store.finish(scope, name, Stored(status, json.dumps(said)))
    await store.stored()
    made, later = [await order.browser.api("/orders", body, key=name) for name in ("made", "later")]
    assert (made.status_code, made.headers["location"]) == (201, f"{URL}/api/v1/orders/ab12")
    assert (later.status_code, later.headers["retry-after"]) == (409, "7")
    assert "location" not in later.headers
