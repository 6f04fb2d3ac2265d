"""Pages that are the answer to a form: loaded again or gone back to, they send nothing once more."""

import html
import re
from urllib.parse import parse_qs, urlsplit

import pytest

from tests.web.counter import URL, Answer, Browser, World, errand, filled, routes

STANDS = re.compile(r'<body [^>]*data-shown-once="([^"]+)"')
PROGRAMS = ("/api/", "/backoffice/", "/hooks/")


def stands_at(answer: Answer) -> str:
    """Where the page's script puts the page: a browser that loads it again asks there."""
    found = STANDS.search(answer.text)
    assert found is not None
    return html.unescape(found[1])


async def loaded_again(browser: Browser, address: str) -> list[str]:
    """Where Chromium and Firefox are led, which ask by GET, and WebKit, which sends its form to the shown address."""
    sent = {"_csrf_token": "too old", "who": "C10001", "password": "not-the-password"}
    by_form = await browser.request("POST", address, data=sent, headers={"Origin": URL})
    answers = [await browser.get(address), by_form]
    assert [answer.status_code for answer in answers] == [303, 303]
    return [answer.headers["location"] for answer in answers]


@pytest.mark.parametrize(("password", "status"), [("not-the-password", 401), ("", 400)])
async def test_a_refused_sign_in_that_is_loaded_again_costs_no_attempt_and_keeps_the_way(
    world: World, password: str, status: int
) -> None:
    browser = world.browser()
    sent = {"who": "C10001", "password": password, "next": "/certificates?account=1&x=2"}
    refused = await browser.form("/sign-in", **sent)
    assert refused.status_code == status
    for _ in range(6):
        for place in await loaded_again(browser, stands_at(refused)):
            assert urlsplit(place).path == "/sign-in"
            assert parse_qs(urlsplit(place).query) == {"next": ["/certificates?account=1&x=2"]}
            form = await browser.get(place)
            assert 'name="next" value="/certificates?account=1&amp;x=2"' in form.text
            assert STANDS.search(form.text) is None
    assert (await browser.sign_in("C10001")).status_code == 303, (
        "the fourth attempt in half a minute would have to wait"
    )


async def test_a_refused_stop_code_that_is_loaded_again_is_the_empty_form(world: World) -> None:
    browser = world.browser()
    refused = await browser.form("/stop", reference="BBBBB-BBBBB")
    assert refused.status_code == 404
    assert set(await loaded_again(browser, stands_at(refused))) == {"/stop"}


async def test_every_form_that_is_refused_as_too_old_can_be_loaded_again_as_the_page_says(world: World) -> None:
    order = await (await errand(world, "C10001")).until("channel", "rekey")
    browser, forms = order.browser, 0
    for method, route in routes(world.portal):
        if method != "POST" or route.startswith((*PROGRAMS, "/again")):
            continue
        address = filled(route, order_id=order.order["id"])
        refused = await browser.request("POST", address, data={"_csrf_token": "x"}, headers={"Origin": URL})
        assert refused.status_code == 403, route
        for place in await loaded_again(browser, stands_at(refused)):
            assert (await browser.get(place)).status_code in {200, 303}, route
        forms += 1
    assert forms > 5


@pytest.mark.parametrize("away", ["https://evil.example/", "//evil.example/", "/\\evil.example", "evil"])
async def test_nobody_is_led_to_another_site(world: World, away: str) -> None:
    answer = await world.browser().request("GET", "/again", params={"to": away})
    assert answer.headers["location"] == "/home"
