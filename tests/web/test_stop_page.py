"""The page on which a contact stops a replacement: open to whoever has the code, without sign-in and without script."""

import re

import pytest

from chopmark.ra.stopping import PER_NETWORK
from chopmark.web.i18n import Lang
from tests.web.counter import Answer, Errand, World, errand

THIEF, CONTACT = "203.0.113.7", "198.51.100.4"
CODE = re.compile(r"(?<![A-Z])[BCDFGHJKLMNPRSTW]{5}-[BCDFGHJKLMNPRSTW]{5}(?![A-Z])")


async def replacing(world: World, until: str) -> tuple[Errand, str]:
    """Somebody with C10002's password and phone replaces the certificate; return also the code that the mail has."""
    thief = await (await errand(world, "C10002")).until(until, "replace", reason="new_device")
    await world.work()
    inbox = await world.browser().get("/demo/inbox")
    return thief, CODE.findall(inbox.text)[0]


async def stop(world: World, code: str, address: str = CONTACT, lang: str = "en") -> Answer:
    browser = world.browser(address)
    await browser.get(f"/stop?lang={lang}")
    return await browser.form("/stop", reference=code)


@pytest.mark.parametrize(("lang", "words"), [("zh-TW", "停止憑證更換"), ("en", "Stop a new certificate")])
async def test_the_page_needs_no_sign_in_and_speaks_both_languages(world: World, lang: str, words: str) -> None:
    answer = await world.browser(CONTACT).get(f"/stop?lang={lang}")
    assert answer.status_code == 200
    assert words in answer.text
    assert 'href="/stop"' in (await world.browser(CONTACT).get("/sign-in")).text
    assert {one.value for one in Lang} == {"zh-TW", "en"}


async def test_the_code_ends_an_order_that_is_not_submitted_and_the_page_of_the_order_says_so(world: World) -> None:
    thief, code = await replacing(world, "review")
    answer = await stop(world, code)
    assert answer.status_code == 200
    assert "no certificate was issued" in answer.text
    shown = (await thief.call(thief.path, method="GET")).json()
    assert (shown["state"], shown["ended"], shown["next"]) == ("cancelled", "stopped_by_contact", "ended")
    page = await thief.browser.get(f"/orders/{thief.order['id']}?lang=en")
    assert "stopped with the code" in page.text
    assert "Go to the certificate page" not in page.text


async def test_the_code_puts_an_issued_certificate_on_hold_and_the_order_asks_to_call(world: World) -> None:
    thief, code = await replacing(world, "install")
    answer = await stop(world, code)
    assert "on hold" in answer.text
    shown = (await thief.call(thief.path, method="GET")).json()
    assert (shown["state"], shown["ended"], shown["next"]) == ("issued", "stopped_by_contact", "ended")
    page = await thief.browser.get(f"/orders/{thief.order['id']}?lang=en")
    assert "stopped with the code" in page.text
    refused = await thief.prove()
    assert (refused.status_code, refused.json()["code"]) == (409, "order_stopped")


async def test_wrong_used_and_unknown_codes_get_the_same_page_and_what_was_typed_is_not_shown(world: World) -> None:
    _, code = await replacing(world, "review")
    assert (await stop(world, code)).status_code == 200
    browser = world.browser(CONTACT)
    await browser.get("/stop?lang=en")
    tried = (code, "BBBBB-BBBBB", "nonsense")
    answers = [await browser.form("/stop", reference=typed) for typed in tried]
    assert {answer.status_code for answer in answers} == {404}
    assert len({answer.text for answer in answers}) == 1
    assert not any(typed in answers[0].text for typed in tried)


async def test_who_comes_back_to_the_answer_gets_the_form_which_says_that_the_stop_stands(world: World) -> None:
    _, code = await replacing(world, "review")
    answer = await stop(world, code)
    said = "loaded again it sends nothing; gone back to, it is no error"
    assert 'data-shown-once="/again?to=%2Fstop"' in answer.text, said
    form = await world.browser(CONTACT).get("/stop?lang=en")
    assert "If you have used it already, the stop stands." in form.text
    assert "data-shown-once" not in form.text


async def test_an_empty_field_is_named_and_costs_nothing(world: World) -> None:
    for _ in range(PER_NETWORK + 1):
        answer = await stop(world, "  ")
        assert answer.status_code == 400
        assert 'href="#reference"' in answer.text


async def test_a_network_that_tries_too_often_waits_and_another_does_not(world: World) -> None:
    _, code = await replacing(world, "review")
    for _ in range(PER_NETWORK):
        assert (await stop(world, "BBBBB-BBBBB")).status_code == 404
    answer = await stop(world, code)
    assert answer.status_code == 429
    assert int(answer.headers["Retry-After"]) > 0
    assert (await stop(world, code, "192.0.2.9")).status_code == 200


async def test_the_form_needs_its_token(world: World) -> None:
    answer = await world.browser(CONTACT).request("POST", "/stop", data={"reference": "BBBBB-BBBBB"})
    assert answer.status_code == 403


async def test_who_applies_sees_the_code_nowhere(world: World) -> None:
    thief, code = await replacing(world, "review")
    seen = [await thief.call(thief.path, method="GET"), await thief.browser.get(f"/orders/{thief.order['id']}")]
    seen += [await thief.browser.get(path) for path in ("/home", "/certificates", "/profile", "/api/v1/status")]
    for answer in seen:
        assert code not in answer.text
        assert code.replace("-", "") not in answer.text
