"""The cookie of a known browser, and doors that a stranger may knock at: what they answer and what they leave."""

from chopmark.demo.history import PASSWORD
from chopmark.va.timestamp import PER_NETWORK
from tests.web.counter import PERSON, Answer, Browser, Errand, World, errand, problem
from tests.web.test_portal_signin import launched, take, ticket_for

WHO = "C10001"


def set_cookie(answer: Answer, name: str) -> str:
    """The one header that sets this cookie."""
    (found,) = [line for line in answer.headers.get_list("set-cookie") if line.partition("=")[0] == name]
    return str(found)


async def close_unknown(world: World, who: str) -> Answer:
    """A hundred wrong passwords from ever new networks."""
    for number in range(100):
        browser = world.browser(f"10.0.{number}.1")
        answer = await browser.form("/sign-in", who=who, password="not-the-password")
        assert answer.status_code == 401, number
    return await world.browser("10.1.0.1").form("/sign-in", who=who, password=PASSWORD)


async def test_a_confirmed_launch_makes_the_browser_known_and_a_password_alone_does_not(world: World) -> None:
    browser = world.browser()
    assert "known" not in (await browser.sign_in(WHO)).cookies
    browser = world.browser()
    await take(browser, await ticket_for(world, WHO))
    assert "known" not in browser.client.cookies
    header = set_cookie(await browser.form("/launch/confirm"), "known")
    for part in ("HttpOnly", "SameSite=lax", "Path=/", "Max-Age=31536000"):
        assert part in header
    assert WHO not in header


async def test_a_right_password_and_a_right_code_make_the_browser_known(world: World) -> None:
    order = await (await errand(world, WHO)).until("code", "rekey")
    assert "known" not in order.browser.client.cookies
    answer = await order.enter_code()
    assert answer.status_code == 200
    assert set_cookie(answer, "known")


async def test_over_https_the_cookie_is_of_this_host_alone(world: World) -> None:
    secure = world.with_web(portal_url="https://counter.example.com")
    demo = secure.web_services.demo
    assert demo is not None
    body = {"customer": WHO, "account": PERSON[WHO].account, "factors": ["password"]}
    asking = secure.browser(url="https://counter.example.com")
    answer = await asking.request(
        "POST", "/api/v1/launches", json=body, auth=(demo.client, demo.client_secret.reveal())
    )
    ticket = answer.json()["url"].partition("#t=")[2]
    browser = secure.browser(url="https://counter.example.com")
    await browser.get("/launch")
    form = {"_csrf_token": browser.token, "ticket": ticket}
    origin = {"Origin": "https://counter.example.com"}
    assert (await browser.request("POST", "/launch", data=form, headers=origin)).status_code == 303
    answer = await browser.request("POST", "/launch/confirm", data={"_csrf_token": browser.token}, headers=origin)
    header = set_cookie(answer, "__Host-known")
    assert "Secure" in header
    assert "HttpOnly" in header


async def test_a_stranger_closes_the_unknown_entry_and_the_customers_own_browser_and_launch_go_on(
    world: World,
) -> None:
    own = await launched(world, WHO)
    await own.form("/sign-out")
    working = await world.signed_in(WHO)
    closed = await close_unknown(world, WHO)
    assert closed.status_code == 403
    assert "retry-after" not in closed.headers
    assert (await working.get("/certificates")).status_code == 200
    assert (await launched(world, WHO)).client.cookies["known"]
    assert (await own.sign_in(WHO)).status_code == 303
    nobody = await close_unknown(world, "C19999")
    assert nobody.status_code == 403
    assert (
        [line for line in closed.text.splitlines() if "密碼單" in line]
        == [line for line in nobody.text.splitlines() if "密碼單" in line]
        != []
    )


async def test_a_launch_and_a_right_code_open_the_entry_again(world: World) -> None:
    assert (await close_unknown(world, WHO)).status_code == 403
    order = await errand_of(world, await launched(world, WHO))
    assert (await world.browser("10.2.0.1").sign_in(WHO)).status_code == 403
    await order.enter_code()
    assert (await world.browser("10.2.0.1").sign_in(WHO)).status_code == 303


async def errand_of(world: World, browser: Browser) -> Errand:
    """A renewal up to the code, in a browser that has signed in already."""
    return await Errand(world, browser, PERSON[WHO]).until("code", "rekey")


async def test_a_cookie_of_another_customer_or_a_forged_one_changes_nothing(world: World) -> None:
    other = (await launched(world, "C10002")).client.cookies["known"]
    assert (await close_unknown(world, WHO)).status_code == 403
    for number, cookie in enumerate((other, other[:-1], "1.1.1.1", "漢".encode().hex())):
        browser = world.browser(f"10.3.{number}.1")
        browser.client.cookies.set("known", cookie)
        assert (await browser.sign_in(WHO)).status_code == 403


async def test_unknown_tickets_are_answered_429_and_leave_a_bounded_number_of_rows(world: World) -> None:
    browser = world.browser()
    await browser.get("/launch")
    before = (await world.rows("SELECT count(*) AS n FROM chains"))[0]["n"]
    answers = [await browser.form("/launch", ticket=f"{number:043}") for number in range(80)]
    assert {answer.status_code for answer in answers[:60]} == {403}
    assert {answer.status_code for answer in answers[60:]} == {429}
    assert 0 < int(answers[-1].headers["retry-after"]) <= 60
    assert (await world.rows("SELECT count(*) AS n FROM chains"))[0]["n"] <= before + 1
    assert (await take(browser, await ticket_for(world, WHO))).status_code == 303


async def test_unknown_clients_are_answered_429(world: World) -> None:
    browser = world.browser()
    body = {"customer": WHO, "account": PERSON[WHO].account, "factors": ["password"]}
    answers = [
        await browser.request("POST", "/api/v1/launches", json=body, auth=(f"client-{number}", "x"))
        for number in range(70)
    ]
    assert [answer.status_code for answer in answers] == [401] * 60 + [429] * 10
    assert problem(answers[-1])["code"] == "crowd"
    assert await ticket_for(world, WHO)


async def test_time_stamps_have_a_budget_for_each_network_and_write_nothing(world: World) -> None:
    await world.work()
    before = (await world.rows("SELECT count(*) AS n FROM leaves"))[0]["n"]
    headers = {"content-type": "application/timestamp-query"}

    async def ask(address: str) -> Answer:
        return await world.browser(address).request("POST", "/tsa", content=b"nonsense", headers=headers)

    answers = [await ask(f"203.0.113.{number}") for number in range(PER_NETWORK + 5)]
    assert [answer.status_code for answer in answers] == [200] * PER_NETWORK + [429] * 5
    assert 0 < int(answers[-1].headers["retry-after"]) <= 60
    assert (await ask("198.51.100.1")).status_code == 200
    world.clock.later(seconds=61)
    assert (await ask("203.0.113.7")).status_code == 200
    assert (await world.rows("SELECT count(*) AS n FROM leaves"))[0]["n"] == before
