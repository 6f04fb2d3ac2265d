"""A busy process: who waits first, who goes on, and that certificate status has an allowance of its own."""

import asyncio
from dataclasses import replace
from itertools import pairwise
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509 import ocsp
from pydantic import ValidationError

from chopmark.app.settings import Limits, Settings
from chopmark.app.web import est_interface
from chopmark.web.asgi.load import CROWD, TURNS_BETWEEN, Line, Load
from chopmark.web.est.service import Est
from tests.web.counter import Answer, Browser, World, errand
from tests.web.test_est import TYPE, ask

REQUESTS, STATUS = 8, 2
NEW, RENEWS = "C10003", "C10001"
HALF, THREE_QUARTERS, FULL = 4, 6, 8
ZH = {"accept-language": "zh-TW"}
EN = {"accept-language": "en"}


def busy(world: World, others: int) -> tuple[World, Load]:
    """The house with a process in which so many other requests are in progress."""
    load = Load(REQUESTS, STATUS)
    load.in_progress = others
    return world.with_web(load=load), load


def says(answer: Answer, sentence: str, retry_after: int) -> None:
    assert answer.status_code == 503, answer.text
    assert answer.headers["retry-after"] == str(retry_after)
    assert sentence in answer.text


async def test_at_half_an_application_waits_and_says_when_to_come_again_in_both_languages(world: World) -> None:
    before = await world.rows("SELECT id FROM orders")
    at, _ = busy(world, HALF)
    customer = await errand(at, NEW)
    problem = await customer.start("enrol")
    says(problem, "renewals go first. Please apply again in a minute.", 60)
    assert problem.headers["content-type"] == "application/problem+json"
    assert (problem.json()["kind"], problem.json()["code"]) == ("unavailable", "busy")
    path = "/certificates/apply?operation=enrol"
    says(await customer.browser.get(path, **EN), "Please apply again in a minute.", 60)
    page = await customer.browser.get(path, **ZH)
    says(page, "系統優先處理憑證展延，請於一分鐘後再申請。", 60)
    assert 'lang="zh-' in page.text
    assert await world.rows("SELECT id FROM orders") == before


async def test_below_half_an_application_begins(world: World) -> None:
    at, _ = busy(world, HALF - 1)
    assert (await (await errand(at, NEW)).start("enrol")).status_code == 201


async def test_at_half_a_customer_still_signs_in_and_renews_from_the_first_page_to_the_last(world: World) -> None:
    at, _ = busy(world, HALF)
    renewal = await errand(at, RENEWS)
    assert (await renewal.browser.get("/certificates/apply")).status_code == 200
    await renewal.until("done", "rekey")
    assert renewal.order["state"] == "active"


async def test_at_three_quarters_strangers_wait_and_a_renewal_under_way_goes_on(world: World) -> None:
    at, load = busy(world, 0)
    renewal = await errand(at, RENEWS)
    application = await errand(at, NEW)
    assert (await application.start("enrol")).status_code == 201
    load.in_progress = THREE_QUARTERS
    stranger = at.browser("198.51.100.9")
    says(await stranger.get("/sign-in", **EN), "Please come back in half a minute", 30)
    says(await stranger.get("/sign-in", **ZH), "請於三十秒後再回來登入。", 30)
    says(await stranger.get("/api/v1/status", **EN), "come back in half a minute", 30)
    await renewal.until("done", "rekey")
    assert (await application.bind()).status_code == 200, "what has begun goes on"


async def test_at_three_quarters_known_browsers_and_launches_go_on(world: World) -> None:
    at, load = busy(world, 0)
    browser = (await (await errand(at, RENEWS)).until("birth_date", "rekey")).browser
    await browser.form("/sign-out")
    load.in_progress = THREE_QUARTERS
    assert (await browser.sign_in(RENEWS)).status_code == 303
    stranger = at.browser("198.51.100.9")
    for path in ("/launch", "/brand.css", "/static/favicon.svg"):
        assert (await stranger.get(path)).status_code == 200, path
    unknown = await stranger.request("POST", "/api/v1/launches", json={"customer": RENEWS})
    assert unknown.status_code in {400, 401}


async def test_when_all_are_in_progress_the_portal_waits_and_says_that_the_order_is_kept(world: World) -> None:
    at, load = busy(world, 0)
    browser = await at.signed_in(RENEWS)
    load.in_progress = FULL
    says(await browser.get("/certificates", **EN), "try again in a few seconds; your order is kept.", 5)
    says(await browser.get("/certificates", **ZH), "請於數秒後再試一次", 5)
    refused = await browser.api("/orders", {"operation": "rekey", "account": "x", "key_home": "file"})
    says(refused, "your order is kept", 5)
    assert load.in_progress == FULL, "who was refused is not in progress any more"
    load.in_progress -= 1
    assert (await browser.get("/certificates")).status_code == 200


async def question(world: World) -> bytes:
    (row,) = await world.rows("SELECT der FROM certificates WHERE state = 'issued' LIMIT 1")
    issuer = x509.load_der_x509_certificate(world.services.ca.authority.view.certificate_der)
    builder = ocsp.OCSPRequestBuilder().add_certificate(
        x509.load_der_x509_certificate(row["der"]), issuer, hashes.SHA256()
    )
    return builder.build().public_bytes(Encoding.DER)


async def status(browser: Browser, content: bytes) -> list[int]:
    answers = [
        await browser.request("POST", "/ocsp/investor", content=content),
        await browser.get("/pki/investor-0.crl"),
        await browser.get("/pki/investor.cer"),
        await browser.get("/health/live"),
    ]
    return [answer.status_code for answer in answers]


async def test_status_is_answered_whatever_the_portal_has_to_do(world: World) -> None:
    await world.work()
    at, load = busy(world, 1000)
    assert await status(at.browser(), await question(world)) == [200] * 4
    assert (load.in_progress, load.status_in_progress) == (1000, 0)
    stamp = await at.browser().request("POST", "/tsa", content=b"")
    assert (stamp.status_code, stamp.headers["retry-after"]) == (503, "5")


async def test_status_has_its_own_end_and_the_portal_does_not_feel_it(world: World) -> None:
    await world.work()
    at, load = busy(world, 0)
    load.status_in_progress = STATUS
    assert await status(at.browser(), await question(world)) == [503, 503, 503, 200]
    assert (await at.browser().get("/sign-in")).status_code == 200
    load.status_in_progress -= 1
    assert await status(at.browser(), await question(world)) == [200] * 4


def est(world: World, others: int) -> Est:
    load = Load(REQUESTS, STATUS)
    load.in_progress = others
    return Est(replace(est_interface(world.services).services, load=load))


@pytest.mark.parametrize(
    ("others", "expected"),
    [(0, [401, 403, 200]), (THREE_QUARTERS, [503, 403, 200]), (FULL, [503, 503, 503])],
)
async def test_the_est_door_keeps_renewals_before_first_certificates(
    world: World, others: int, expected: list[int]
) -> None:
    made = est(world, others)
    how: dict[str, Any] = {"headers": TYPE, "content": b"MAA="}
    answers = [
        await ask(made, "simpleenroll", **how),
        await ask(made, "simplereenroll", **how),
        await ask(made, "cacerts", "GET"),
    ]
    assert [answer.status_code for answer in answers] == expected
    assert all(int(answer.headers["retry-after"]) > 0 for answer in answers if answer.status_code == 503)
    assert (await ask(made, "/health/live", "GET")).status_code == 200


@pytest.mark.parametrize(("requests", "status_requests"), [(500, 12), (4096, 64)])
def test_both_allowances_together_leave_connections_free(requests: int, status_requests: int) -> None:
    with pytest.raises(ValidationError, match="fewer than connections"):
        Settings(mode="demo", limits=Limits(requests=requests, status_requests=status_requests))


async def begun(count: int, line: Line, order: list[int]) -> list[asyncio.Task[None]]:
    """So many who come in the same turn of the event loop, and note when it is theirs."""

    async def one(number: int) -> None:
        await line.turn()
        order.append(number)

    tasks = [asyncio.create_task(one(number)) for number in range(count)]
    await asyncio.sleep(0)
    return tasks


async def test_of_many_who_come_together_one_goes_at_once_and_the_others_one_by_one_in_their_order() -> None:
    line, order = Line(), list[int]()
    tasks = await begun(4, line, order)
    seen = [list(order)]
    while len(order) < 4:
        await asyncio.sleep(0)
        seen.append(list(order))
    assert seen[0] == [0]
    assert order == [0, 1, 2, 3]
    assert len(seen) > 3 * TURNS_BETWEEN, "status has turns in between"
    assert all(len(after) - len(before) <= 1 for before, after in pairwise(seen))
    await asyncio.gather(*tasks)


async def test_who_has_gone_takes_no_turn_and_stops_nobody() -> None:
    line, order = Line(), list[int]()
    tasks = await begun(4, line, order)
    tasks[1].cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    assert order == [0, 2, 3]
    assert len(line) == 0
    await line.turn()


async def test_pages_that_wait_for_nothing_add_up_while_they_have_not_begun(world: World) -> None:
    """Of sixty in the same moment some are let in, some read why not, and the rest get a bare 503."""
    at, load = busy(world, 0)
    renewal = await errand(at, RENEWS)
    stranger = at.browser("198.51.100.9")
    asked = [stranger.get("/sign-in", **EN) for _ in range(60)]
    customer, *answers = await asyncio.gather(renewal.browser.get("/certificates"), *asked)
    assert customer.status_code == 200, "a customer does not stand behind strangers"
    codes = [answer.status_code for answer in answers]
    assert 0 < codes.count(200) <= THREE_QUARTERS
    waiting = [answer for answer in answers if answer.status_code == 503]
    assert len(waiting) + codes.count(200) == 60
    assert all(int(answer.headers["retry-after"]) > 0 for answer in waiting)
    told = [answer for answer in waiting if answer.content]
    assert 0 < len(told) <= REQUESTS + 1
    assert all("Please come back in half a minute" in answer.text for answer in told)
    assert all(answer.headers["connection"] == "close" for answer in waiting if not answer.content)
    assert load.in_progress == 0
    assert (await stranger.get("/sign-in")).status_code == 200


async def test_who_is_refused_takes_nobodys_place_while_that_takes_its_time() -> None:
    load = Load(REQUESTS, STATUS)
    load.in_progress = THREE_QUARTERS

    async def stranger() -> object:
        with load.counted():
            return await load.turn(known=False)

    tasks = [asyncio.create_task(stranger()) for _ in range(REQUESTS + 3)]
    await asyncio.sleep(0)
    assert load.in_progress <= THREE_QUARTERS + 1
    with load.counted():
        assert await load.turn(known=True) is None
    refused = await asyncio.gather(*tasks)
    assert refused.count(CROWD) == 2
    assert None not in refused
    assert load.in_progress == THREE_QUARTERS


async def test_a_customer_does_not_stand_behind_strangers() -> None:
    load = Load(REQUESTS, STATUS)

    async def comes(*, known: bool) -> object:
        with load.counted():
            return await load.turn(known=known)

    strangers = [asyncio.create_task(comes(known=False)) for _ in range(HALF)]
    await asyncio.sleep(0)
    assert [one.done() for one in strangers] == [True, False, False, False]
    assert await comes(known=True) is None
    assert [one.done() for one in strangers] == [True, False, False, False]
    assert await asyncio.gather(*strangers) == [None] * HALF
