"""The way in and the way out: sign-in, enumeration, launches, sessions (reliability I18 to I23, F24 to F27, F35)."""

import asyncio
import html
import re
import time
from typing import Any

import pytest

from chopmark.demo.history import PASSWORD
from tests.web.counter import PERSON, URL, Answer, Browser, World, errand

KNOWN, UNKNOWN = "C10002", "C19999"


async def wrong(world: World, who: str, address: str = "203.0.113.7") -> Answer:
    return await world.browser(address).form("/sign-in", who=who, password="not-the-password", next="/home")


def shape(answer: Answer, who: str) -> tuple[int, str, list[str]]:
    """An answer without what differs from request to request."""
    text = re.sub(r'[0-9a-f]{128}|(?<=content=")\d{13}', "-", answer.text).replace(who, "WHO")
    return answer.status_code, text, sorted(name for name, _ in answer.headers.multi_items())


@pytest.mark.parametrize(
    ("one", "other"), [(KNOWN, UNKNOWN), (PERSON[KNOWN].person_id, "A198765435"), (KNOWN, "no number at all")]
)
async def test_known_and_unknown_customers_are_told_the_same(world: World, one: str, other: str) -> None:
    first, second = await wrong(world, one), await wrong(world, other)
    assert first.status_code == 401
    assert shape(first, one) == shape(second, other)
    for _ in range(3):
        first, second = await wrong(world, one), await wrong(world, other)
    assert first.status_code == 429
    assert shape(first, one) == shape(second, other)
    assert first.headers["retry-after"] == second.headers["retry-after"]


async def test_known_and_unknown_customers_take_the_same_time(world: World) -> None:
    """Interleaved; the chance that an unknown one takes longer than a known one is near one half (F35).

    In seconds of this process's computing: how busy the machine is does not count.
    """
    seconds: dict[str, list[float]] = {KNOWN: [], UNKNOWN: []}
    for number in range(24):
        for who in (KNOWN, UNKNOWN) if number % 2 else (UNKNOWN, KNOWN):
            browser = world.browser(f"198.51.{number}.1")
            await browser.get("/sign-in")
            began = time.process_time()
            await browser.form("/sign-in", who=who, password="not-the-password")
            seconds[who].append(time.process_time() - began)
    pairs = [(a, b) for a in seconds[KNOWN] for b in seconds[UNKNOWN]]
    area = sum((a < b) + (a == b) / 2 for a, b in pairs) / len(pairs)
    assert 0.2 < area < 0.8, "an early return without the password's cost gives 0 or 1"


async def test_wrong_ones_slow_down_and_stop_and_waiting_helps(world: World) -> None:
    statuses = [(await wrong(world, KNOWN)).status_code for _ in range(4)]
    assert statuses == [401, 401, 401, 429]
    refused = await wrong(world, KNOWN)
    assert 0 < int(refused.headers["retry-after"]) <= 30
    right = await world.browser().sign_in(KNOWN)
    assert right.status_code == 429, "even the right password waits, from this network"
    world.clock.later(seconds=31)
    assert (await world.browser().sign_in(KNOWN)).status_code == 303


async def test_after_ten_wrong_ones_the_hour_is_over_for_that_network(world: World) -> None:
    compared = 0
    for _ in range(40):
        compared += (await wrong(world, KNOWN)).status_code == 401
        world.clock.later(seconds=40)
    assert compared == 10
    assert int((await wrong(world, KNOWN)).headers["retry-after"]) > 600


@pytest.mark.parametrize("address", ["198.51.100.7", "2001:db8:1::1", "203.0.114.7"])
async def test_a_stranger_shuts_nobody_else_out(world: World, address: str) -> None:
    """I19, F36: from another network the customer signs in, whatever happens elsewhere."""
    for _ in range(12):
        await wrong(world, KNOWN)
    assert (await world.browser().sign_in(KNOWN)).status_code == 429
    assert (await world.browser(address).sign_in(KNOWN)).status_code == 303


async def test_neighbours_of_one_network_are_counted_together(world: World) -> None:
    """/24 and /56 (I18): changing the last octets buys nothing."""
    four = [(await wrong(world, KNOWN, f"203.0.113.{number}")).status_code for number in range(1, 6)]
    six = [(await wrong(world, KNOWN, f"2001:db8:0:{number}::1")).status_code for number in range(1, 6)]
    assert four == six == [401, 401, 401, 429, 429]


async def test_a_launch_is_open_to_a_customer_whom_a_stranger_is_trying(world: World) -> None:
    for _ in range(12):
        await wrong(world, KNOWN)
    browser = await launched(world, KNOWN)
    assert (await browser.get("/certificates")).status_code == 200


async def test_a_wrong_sign_in_keeps_what_was_typed_but_not_the_password(world: World) -> None:
    answer = await world.browser().form("/sign-in", who="C10001", password="Secret-Word-1", next="/profile")
    assert 'value="C10001"' in answer.text
    assert 'value="/profile"' in answer.text
    assert "Secret-Word-1" not in answer.text


@pytest.mark.parametrize(
    ("who", "password", "field"), [("", "x", "who"), ("  ", "x", "who"), ("C10001", "", "password")]
)
async def test_an_empty_field_is_named(world: World, who: str, password: str, field: str) -> None:
    answer = await world.browser().form("/sign-in", who=who, password=password)
    assert answer.status_code == 400
    assert f'href="#{field}"' in answer.text


@pytest.mark.parametrize(
    "who", ["C10001", "c10001", " C10001 ", "A120034503", "a120034503", "Ａ１２００３４５０３", "C١٠٠٠١", "A๑๒๐๐३४५۰۳"]
)
async def test_number_and_id_are_understood_as_people_write_them(world: World, who: str) -> None:
    assert (await world.browser().sign_in(who)).status_code == 303


ELSEWHERE = [
    "https://evil.example",
    "//evil.example",
    "///evil.example",
    "/\\evil.example",
    "\\\\evil.example",
    "http:evil.example",
    "javascript:alert(1)",
    "/\t/evil.example",
    "/\n/evil.example",
    "\r\nSet-Cookie: x=1",
    "/home\r\nSet-Cookie: x=1",
    "data:text/html,x",
    "evil.example",
    "/%0d%0aSet-Cookie:x=1\r\n",
    "@evil.example",
    " //evil.example",
    "",
]


@pytest.mark.parametrize("wanted", ELSEWHERE)
async def test_after_signing_in_nobody_is_sent_to_another_site(world: World, wanted: str) -> None:
    """ASVS 3.7.2."""
    answer = await world.browser().form("/sign-in", who="C10001", password=PASSWORD, next=wanted)
    assert answer.status_code == 303
    assert answer.headers["location"] == "/home"
    assert "x" not in answer.cookies


@pytest.mark.parametrize(
    "path",
    ["/certificates?account=9A95-0002006", "/orders/AAAA?step=apply", "/certificates/apply?operation=rekey&account=1"],
)
async def test_who_was_on_the_way_somewhere_arrives_there_after_signing_in(world: World, path: str) -> None:
    browser = world.browser()
    sent = await browser.get(path)
    assert sent.status_code == 303
    form = await browser.get(sent.headers["location"])
    value = re.search(r'name="next" value="([^"]*)"', form.text)
    assert value
    answer = await browser.form("/sign-in", who="C10006", password=PASSWORD, next=html.unescape(value[1]))
    assert answer.headers["location"] == path


@pytest.mark.parametrize(
    "path", ["/orders/%0d%0aSet-Cookie:x=1", "/orders/a%26next=evil", "/orders/%E4%BD%A0", "/orders/a%23b"]
)
async def test_the_way_back_is_written_so_that_it_stays_one_address(world: World, path: str) -> None:
    answer = await world.browser().get(path)
    assert answer.status_code == 303
    where = answer.headers["location"]
    assert where.isascii()
    assert where.startswith("/sign-in?next=%2Forders%2F")
    assert "&" not in where
    assert "set-cookie" not in {name for name in answer.headers if answer.headers[name] == "x=1"}


# Sessions ----------------------------------------------------------------------------------------------------------


async def with_cookie(world: World, token: str, path: str = "/api/v1/overview") -> int:
    """The status that a stolen cookie gets, in another browser."""
    thief = world.browser("198.51.100.200")
    thief.client.cookies.set("chopmark", token)
    return (await thief.get(path)).status_code


async def test_a_session_is_new_at_sign_in_whatever_cookie_was_there(world: World) -> None:
    """F26: session fixation."""
    browser = world.browser()
    browser.client.cookies.set("chopmark", "A" * 43, domain="localhost.local", path="/")
    await browser.sign_in("C10001")
    tokens = [cookie.value for cookie in browser.client.cookies.jar if cookie.name == "chopmark"]
    assert any(token != "A" * 43 for token in tokens)
    assert await with_cookie(world, "A" * 43) == 401


async def test_signing_in_again_ends_the_session_before(world: World) -> None:
    browser = await world.signed_in("C10001")
    before = browser.client.cookies["chopmark"]
    await browser.sign_in("C10002")
    assert await with_cookie(world, before) == 401
    assert await with_cookie(world, browser.client.cookies["chopmark"]) == 200


async def test_the_right_code_brings_a_new_session_id_and_the_old_one_is_dead_at_once(world: World) -> None:
    """I21."""
    order = await (await errand(world, "C10001")).until("code", "rekey")
    before = order.browser.client.cookies["chopmark"]
    await order.enter_code()
    assert await with_cookie(world, before) == 401
    assert order.browser.client.cookies["chopmark"] != before
    assert (await order.browser.get("/home")).status_code == 200


async def test_signing_out_ends_the_session_on_the_server(world: World) -> None:
    browser = await world.signed_in("C10001")
    token = browser.client.cookies["chopmark"]
    answer = await browser.form("/sign-out")
    assert answer.headers["location"] == "/sign-in"
    assert "chopmark" not in browser.client.cookies
    assert await with_cookie(world, token) == 401
    assert (await browser.form("/sign-out")).status_code == 303


async def test_a_session_ends_after_ten_idle_minutes_and_after_thirty_in_all(world: World) -> None:
    browser = await world.signed_in("C10001")
    world.clock.later(minutes=9, seconds=59)
    assert (await browser.get("/home")).status_code == 200
    world.clock.later(minutes=10, seconds=1)
    for page in ("/home", "/orders/x"):
        assert (await browser.get(page)).status_code == 303
    assert (await browser.get("/api/v1/orders/x")).status_code == 401
    await browser.sign_in("C10001")
    for _ in range(5):
        world.clock.later(minutes=5)
        assert (await browser.get("/home")).status_code == 200
    world.clock.later(minutes=5)
    assert (await browser.get("/home")).status_code == 303


async def test_the_cookie_is_stored_hashed_only(world: World) -> None:
    browser = await world.signed_in("C10001")
    token = browser.client.cookies["chopmark"].encode()
    files = [path.read_bytes() for path in world.data.rglob("*") if path.is_file()]
    assert files
    assert not any(token in content for content in files)


async def test_a_form_cookie_whose_key_has_changed_is_renewed_by_one_reload(world: World) -> None:
    """Otherwise a customer's browser would be shut out until it is restarted."""
    browser = world.browser()
    browser.client.cookies.set("csrf", "0" * 128, domain="localhost.local", path="/")
    assert (await browser.sign_in("C10001")).status_code == 403
    page = await browser.get("/sign-in")
    assert "csrf" in page.cookies
    assert (await browser.sign_in("C10001")).status_code == 303


# Launches ----------------------------------------------------------------------------------------------------------


async def ticket_for(world: World, number: str) -> str:
    """A launch ticket, as the trading program's server gets it."""
    demo = world.web_services.demo
    assert demo is not None
    body = {"customer": number, "account": PERSON[number].account, "factors": ["password"]}
    basic = (demo.client, demo.client_secret.reveal())
    answer = await world.browser().request("POST", "/api/v1/launches", json=body, auth=basic)
    assert answer.status_code == 201
    assert answer.json()["expires_in_s"] == 60
    address, _, ticket = answer.json()["url"].partition("#t=")
    assert address == f"{URL}/launch"
    assert len(ticket) == 43
    return str(ticket)


async def take(browser: Browser, ticket: str) -> Answer:
    await browser.get("/launch")
    return await browser.form("/launch", ticket=ticket)


async def launched(world: World, number: str) -> Browser:
    browser = world.browser()
    assert (await take(browser, await ticket_for(world, number))).headers["location"] == "/launch/confirm"
    assert (await browser.form("/launch/confirm")).status_code == 303
    return browser


async def test_a_launch_shows_whose_it_is_masked_and_opens_nothing_before_the_yes(world: World) -> None:
    browser = world.browser()
    await take(browser, await ticket_for(world, "C10001"))
    assert (await browser.get("/launch/confirm")).status_code == 200
    answer = await browser.get("/launch/confirm")  # it is asked as often as the page is loaded
    assert answer.status_code == 200
    assert "王" in answer.text
    assert PERSON["C10001"].name not in answer.text
    assert PERSON["C10001"].account in answer.text
    assert (await browser.get("/home")).status_code == 303
    assert (await browser.form("/launch/confirm")).headers["location"] == "/certificates"
    assert (await browser.get("/home")).status_code == 200
    assert (await browser.get("/launch/confirm")).headers["location"] == "/launch"
    assert (await browser.form("/launch/confirm")).status_code >= 400


async def test_not_me_opens_nothing_and_the_ticket_is_spent(world: World) -> None:
    browser, ticket = world.browser(), await ticket_for(world, "C10001")
    await take(browser, ticket)
    await browser.form("/launch/refuse")
    assert (await browser.form("/launch/confirm")).status_code >= 400
    assert (await browser.get("/home")).status_code == 303
    assert (await take(world.browser(), ticket)).status_code >= 400


async def test_one_ticket_opens_one_session_however_often_and_wherever_it_is_tried(world: World) -> None:
    """F24: fifty browsers at once, later, and by another."""
    ticket = await ticket_for(world, "C10001")
    browsers = [world.browser(f"198.51.{number}.9") for number in range(50)]
    for browser in browsers:
        await browser.get("/launch")
    taken = await asyncio.gather(*(browser.form("/launch", ticket=ticket) for browser in browsers))
    assert min(answer.status_code for answer in taken) == 303
    assert sum(answer.status_code == 303 for answer in taken) == 1
    confirmed = await asyncio.gather(*(browser.form("/launch/confirm") for browser in browsers))
    assert sum(answer.status_code == 303 for answer in confirmed) == 1
    refused = await world.rows("SELECT count(*) AS n FROM leaves WHERE event = 'portal:launch:refused'")
    assert refused[0]["n"] >= 49


async def test_a_ticket_lives_a_minute(world: World) -> None:
    ticket = await ticket_for(world, "C10001")
    world.clock.later(seconds=61)
    assert (await take(world.browser(), ticket)).status_code >= 400


async def test_a_ticket_cannot_be_confirmed_by_another_browser(world: World) -> None:
    """Login CSRF by launch: the visitor cookie binds the ticket to who took it."""
    one, other = world.browser(), world.browser()
    ticket = await ticket_for(world, "C10001")
    await take(one, ticket)
    await other.get("/launch")
    other.client.cookies.set("ticket", ticket)
    assert (await other.get("/launch/confirm")).headers["location"] == "/launch"
    assert (await other.form("/launch/confirm")).status_code >= 400
    assert (await one.form("/launch/confirm")).status_code == 303


FORGED = [
    "",
    "x",
    "A" * 43,
    "A" * 44,
    "eyJhbGciOiJub25lIn0.eyJzdWIiOiJDMTAwMDEifQ.",
    "eyJhbGciOiJIUzI1NiIsImtpZCI6Ii4uLy4uL2tleSJ9.e30.AAAA",
    "' OR 1=1 --",
    "\u0000",
    "Ａ" * 43,
]


@pytest.mark.parametrize("ticket", FORGED)
async def test_a_forged_ticket_opens_nothing(world: World, ticket: str) -> None:
    """F25: tickets are opaque, so nothing inside one can be believed."""
    browser = world.browser()
    assert 400 <= (await take(browser, ticket)).status_code < 500
    assert 400 <= (await browser.form("/launch/confirm")).status_code < 500
    assert (await browser.get("/home")).status_code == 303


@pytest.mark.parametrize(
    "authorization", ["", "Basic", "Basic !!!", "Basic OjpA", "Bearer x", "basic ZGVtby10cmFkaW5nOg==", "Basic \u00ff"]
)
async def test_a_launch_needs_the_clients_credential(world: World, authorization: str) -> None:
    body = {"customer": "C10001", "account": PERSON["C10001"].account, "factors": ["password"]}
    answer = await world.browser().request(
        "POST", "/api/v1/launches", json=body, headers={"Authorization": authorization.encode("latin-1")}
    )
    assert answer.status_code == 401
    assert answer.json()["kind"] == "unauthenticated"


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"customer": "!"}, "customer"),
        ({"account": "F014000-0001002"}, "account"),
        ({"factors": []}, "factors"),
        ({"factors": ["faith"]}, "factors"),
        ({"factors": ["password"] * 3 + ["x"]}, "factors"),
        ({"customer": "C19999"}, "account"),
    ],
)
async def test_a_launch_that_cannot_be_is_refused_with_its_field(
    world: World, change: dict[str, Any], field: str
) -> None:
    demo = world.web_services.demo
    assert demo is not None
    body = {"customer": "C10001", "account": PERSON["C10001"].account, "factors": ["password"], **change}
    answer = await world.browser().request(
        "POST", "/api/v1/launches", json=body, auth=(demo.client, demo.client_secret.reveal())
    )
    assert answer.status_code in {400, 404}
    assert answer.json()["field"] == field
