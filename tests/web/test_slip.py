"""An approval slip over HTTP: a customer of whom no contact can carry a code, from the order to the certificate."""

import re
from typing import Any

from chopmark.core.types import CustomerId
from chopmark.ra.slips import Papers, Printed
from chopmark.store.engine.script import Script, query
from tests.web.counter import Errand, World, errand
from tests.web.test_lost_answer import session_of, with_session

NUMBER = "C10003"


async def without_contacts(world: World, number: str = NUMBER) -> None:
    def script() -> Script[None]:
        yield query("UPDATE contacts SET disputed_at = 1 WHERE customer = :customer", customer=number)

    await world.services.foundation.engine.run(script)


async def printed(world: World, key: str | None = None, number: str = NUMBER) -> Printed:
    return await world.web_services.ra.slips.print(CustomerId(number), "alice", "bob", Papers.PASSPORT, key)


async def waiting(world: World, **more: str) -> Errand:
    await without_contacts(world)
    return await (await errand(world, NUMBER)).until("slip", "enrol", **more)


async def page(order: Errand, lang: str = "en") -> str:
    answer = await order.browser.get(f"/orders/{order.order['id']}", **{"accept-language": lang})
    assert answer.status_code == 200
    return answer.text


async def give(order: Errand, letters: str, key: str = "") -> Any:
    return await order.call(f"{order.path}/slip", {"slip": letters}, key=key)


async def test_the_whole_way_with_a_slip_for_the_key_that_the_page_shows(world: World) -> None:
    order = await waiting(world)
    shown = await page(order)
    assert 'data-step="slip"' in shown
    assert order.key.words in shown
    assert "verification code" not in re.sub(r"<!--.*?-->", "", shown.partition("<main")[2]).lower()
    slip = await printed(world, order.key.words)
    refused = await order.call(f"{order.path}/challenges", {"channel": "mobile"})
    assert (refused.status_code, refused.json()["code"]) == (409, "slip")
    session = dict(order.browser.client.cookies)
    answer = await give(order, slip.letters.reveal().lower().replace("-", " "))
    assert (answer.status_code, order.order["next"]) == (200, "birth_date")
    assert dict(order.browser.client.cookies) != session, "the session has a new id"
    assert (await order.enter_birth_date()).is_success
    assert (await order.confirm()).status_code == 201
    assert (await order.prove()).is_success
    assert order.order["state"] == "active"
    assert 'data-done="' in await page(order)


async def test_a_wrong_slip_and_a_misfit_say_so_in_both_languages(world: World) -> None:
    order = await waiting(world)
    slip = (await printed(world)).letters.reveal()
    wrong = slip[:-1] + ("B" if slip[-1] != "B" else "C")
    for letters, status, code in ((wrong, 422, "slip"), ("12345", 400, "slip_form"), ("", 400, "slip_form")):
        answer = await give(order, letters)
        assert (answer.status_code, answer.json()["code"], answer.json()["field"]) == (status, code, "slip")
    chinese = await order.browser.api(f"{order.path}/slip", {"slip": wrong}, lang="zh-TW")
    assert "核可單" in chinese.text
    assert slip not in "".join(answer.text for answer in order.answers)


async def test_a_lost_answer_is_given_once_more_and_the_slip_is_taken_once(world: World) -> None:
    order = await waiting(world)
    slip = await printed(world)
    before = session_of(order.browser)
    first = await give(order, slip.letters.reveal(), key="k-1")
    await world.services.ra.idempotency.stored()
    with_session(order.browser, before)
    again = await give(order, slip.letters.reveal(), key="k-1")
    assert (first.status_code, again.status_code) == (200, 200)
    assert first.json()["state"] == again.json()["state"] == "coded"
    (row,) = await world.rows("SELECT COUNT(*) AS n FROM leaves WHERE event = 'ra:slip:right'")
    assert row["n"] == 1


async def test_the_page_goes_on_after_the_slip_and_says_how_long_the_order_is_kept(world: World) -> None:
    order = await waiting(world)
    shown = await page(order)
    assert "is kept until" in shown
    assert "24 hours" not in shown.partition("<main")[2]
    world.clock.later(days=2)
    again = Errand(world, await world.signed_in(NUMBER), order.person, order.key, order.order)
    assert (await again.possess()).is_success
    assert (await give(again, (await printed(world)).letters.reveal())).is_success
    assert 'data-step="birth_date"' in await page(again), "no page of a code that was right stands between"
    chinese = await page(again, "zh-TW")
    assert "憑證核可單" in chinese
