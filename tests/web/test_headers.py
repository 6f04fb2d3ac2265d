"""Headers and cookies of every route and every error (ASVS 5.0 3.3, 3.4, 4.1.3; reliability I23)."""

from typing import Any, cast

import httpx2
import pytest

from chopmark.web.asgi.client_address import ClientAddresses, read_networks
from tests.web.counter import NOW, URL, Answer, Browser, World, errand, filled, routes

CSP = {
    "default-src": "'none'",
    "script-src": "'self'",
    "style-src": "'self'",
    "img-src": "'self' data:",
    "connect-src": "'self'",
    "font-src": "'self'",
    "form-action": "'self'",
    "base-uri": "'none'",
    "frame-ancestors": "'none'",
    "require-trusted-types-for": "'script'",
    "trusted-types": "'none'",
}
FIXED = {
    "x-content-type-options": "nosniff",
    "referrer-policy": "same-origin",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
}
PUBLIC = {"/static/{file_path:path}"}
"""What says nothing about anybody: files of the package."""
HTTPS = "https://counter.example"


def policy(answer: Answer) -> dict[str, str]:
    parts = [part.strip().partition(" ") for part in answer.headers["content-security-policy"].split(";")]
    return {name: value for name, _, value in parts}


def unsafe(answer: Answer, *, stored: bool = False) -> list[str]:
    """What is wrong with an answer's headers."""
    wrong = [
        f"{name} is {answer.headers.get(name)}" for name, value in FIXED.items() if answer.headers.get(name) != value
    ]
    if "content-security-policy" not in answer.headers or policy(answer) != CSP:
        wrong.append(f"content-security-policy is {answer.headers.get('content-security-policy')}")
    if not stored and answer.headers.get("cache-control") != "no-store":
        wrong.append(f"cache-control is {answer.headers.get('cache-control')}")
    if "server" in answer.headers or "x-powered-by" in answer.headers:
        wrong.append("it names its program")
    place = f"{answer.request.method} {answer.request.url.path} {answer.status_code}"
    return [f"{place}: {what}" for what in wrong]


async def crawl(world: World) -> list[tuple[str, Answer]]:
    """Every route once, signed in and not, with nothing, a wrong body and no form token."""
    order = await (await errand(world, "C10001")).until("channel", "rekey")
    held = (await order.browser.get("/api/v1/certificates")).json()[0]["serial"]
    values = {
        "order_id": order.order["id"],
        "serial": held,
        "name": "root.pem",
        "service": "products",
        "file_path": "/favicon.svg",
        "path": "x",
    }
    answers = []
    for method, path in routes(world.portal):
        if path == "/sign-out":
            continue
        for browser in (order.browser, world.browser()):
            for token in (order.browser.token, "x"):
                headers = {"x-csrftoken": token, "Content-Type": "application/json"}
                extra: dict[str, Any] = {} if method == "GET" else {"headers": headers, "content": b"{"}
                answers.append((path, await browser.request(method, filled(path, **values), **extra)))
    return answers


async def test_every_answer_of_every_route_carries_the_security_headers(world: World) -> None:
    answers = await crawl(world)
    statuses = {answer.status_code for _, answer in answers}
    assert {200, 303, 400, 401, 403} <= statuses
    assert [line for path, answer in answers for line in unsafe(answer, stored=path in PUBLIC)] == []


async def test_every_kind_of_error_carries_the_security_headers(world: World) -> None:
    browser = await world.signed_in("C10001")
    token = {"x-csrftoken": browser.token}
    answers = [
        await browser.get("/no-such-page"),
        await browser.get("/api/v1/no-such-thing"),
        await browser.get("/static/no-such-file.js"),
        await browser.request("DELETE", "/home", headers=token),
        await browser.request("TRACE", "/home", headers=token),
        await browser.request("POST", "/api/v1/orders", json={}),
        await browser.request("POST", "/api/v1/orders", content=b"x" * 70_000, headers=token),
        await browser.request("OPTIONS", "/api/v1/orders", headers=token),
        await world.browser().get("/api/v1/overview"),
        await world.browser().get("/home"),
    ]
    assert [line for answer in answers for line in unsafe(answer)] == []


async def test_what_is_served_from_files_may_be_cached_and_nothing_else(world: World) -> None:
    answers = await crawl(world)
    cached = {
        path for path, answer in answers if answer.is_success and "no-store" not in answer.headers["cache-control"]
    }
    assert cached == PUBLIC


def cookies(answer: Answer) -> dict[str, set[str]]:
    """Each cookie that is set, with its attributes in lower case."""
    found = {}
    for line in answer.headers.get_list("set-cookie"):
        pair, *attributes = [part.strip() for part in line.split(";")]
        found[pair.partition("=")[0]] = {attribute.lower() for attribute in attributes}
    return found


async def all_cookies(world: World) -> dict[str, set[str]]:
    """Every cookie that the portal sets, in one visit through both doors."""
    origin = {"Origin": world.web_services.portal_url}
    browser, found = world.browser(), {}

    async def note(method: str, path: str, **fields: str) -> Answer:
        data = {"_csrf_token": browser.token, **fields} if method == "POST" else None
        answer = await browser.request(method, path, data=data, headers=origin)
        found.update(cookies(answer))
        return answer

    await note("GET", "/launch?lang=en")
    sent = await note("POST", "/demo/launch", customer="C10001")
    await note("POST", "/launch", ticket=sent.headers["location"].partition("#t=")[2])
    await note("POST", "/launch/confirm")
    await note("GET", "/home")
    return found


async def test_over_plain_http_in_the_demo_cookies_are_still_hidden_from_scripts_and_other_sites(world: World) -> None:
    found = await all_cookies(world)
    assert set(found) == {"csrf", "visitor", "ticket", "chopmark", "known", "lang"}
    for name, attributes in found.items():
        assert "samesite=lax" in attributes, name
        assert "path=/" in attributes, name
        assert not any(attribute.startswith("domain") for attribute in attributes), name
        assert name == "lang" or "httponly" in attributes, name


async def test_on_https_cookies_belong_to_this_host_only_and_travel_over_tls_only(world: World) -> None:
    found = await all_cookies(world.with_web(portal_url=HTTPS))
    assert set(found) == {"__Host-csrf", "__Host-visitor", "__Host-ticket", "__Host-chopmark", "__Host-known", "lang"}
    for name, attributes in found.items():
        assert "secure" in attributes, name
        assert "path=/" in attributes, name
        assert not any(attribute.startswith("domain") for attribute in attributes), name


async def test_on_https_browsers_are_told_to_stay_there_for_a_year_on_every_answer(world: World) -> None:
    browser = world.with_web(portal_url=HTTPS).browser()
    for path in ("/sign-in", "/api/v1/overview", "/no-such-page", "/home", "/static/favicon.svg"):
        answer = await browser.get(path)
        assert answer.headers["strict-transport-security"] == "max-age=31536000; includeSubDomains", path
    assert "strict-transport-security" not in (await world.browser().get("/sign-in")).headers


async def test_the_session_cookie_lasts_no_longer_than_the_browser_and_says_nothing(world: World) -> None:
    browser = world.browser()
    answer = await browser.sign_in("C10001")
    attributes = cookies(answer)["chopmark"]
    assert not any(attribute.startswith(("max-age", "expires")) for attribute in attributes)
    token = browser.client.cookies["chopmark"]
    assert len(token) == 43
    assert "C10001" not in token


FORWARDED = {
    "X-Forwarded-For": "198.51.100.99",
    "X-Forwarded-Proto": "https",
    "X-Forwarded-Host": "evil.example",
    "X-Forwarded-Prefix": "/evil",
    "Forwarded": "for=198.51.100.99;host=evil.example;proto=https",
    "X-Real-IP": "198.51.100.99",
    "X-Original-URL": "/demo",
    "X-HTTP-Method-Override": "DELETE",
}


async def test_forwarding_headers_change_nothing_unless_configured(world: World) -> None:
    """ASVS 4.1.3: neither the address that sign-ins are counted by, nor any address in an answer."""
    plain = await world.browser().get("/home")
    spoofed = await world.browser().get("/home", **FORWARDED)
    assert spoofed.headers["location"] == plain.headers["location"]
    browser = await world.signed_in("C10005")
    order = await browser.request(
        "POST",
        "/api/v1/orders",
        json={"operation": "enrol", "account": "F014000-0001005"},
        headers={"x-csrftoken": browser.token, **FORWARDED},
    )
    assert order.headers["location"].startswith(f"{URL}/api/v1/orders/")
    assert all("evil" not in value for value in order.headers.values())


async def wrong_sign_ins(world: World, header: str, count: int = 12) -> list[int]:
    """Wrong sign-ins of one connection that names another address in a header each time."""
    browser = world.browser()
    await browser.get("/sign-in")
    statuses = []
    for number in range(count):
        answer = await browser.request(
            "POST",
            "/sign-in",
            data={"_csrf_token": browser.token, "who": "C10002", "password": "wrong"},
            headers={"Origin": URL, header: f"198.51.{number}.1"},
        )
        statuses.append(answer.status_code)
    return statuses


async def test_a_client_cannot_name_its_own_address(world: World) -> None:
    assert 429 in await wrong_sign_ins(world, "X-Forwarded-For")


@pytest.mark.parametrize(
    ("trusted", "header", "stopped"),
    [
        ("203.0.113.0/24", "X-Forwarded-For", False),
        ("203.0.113.8/32", "X-Forwarded-For", True),  # the connection is another machine's
        ("203.0.113.0/24", "X-Real-IP", True),  # the proxy's header is another one
    ],
)
async def test_a_header_counts_when_it_is_the_one_of_a_trusted_proxy(
    world: World, trusted: str, header: str, stopped: bool
) -> None:
    behind = world.with_web(addresses=ClientAddresses("X-Forwarded-For", read_networks(trusted)))
    assert (429 in await wrong_sign_ins(behind, header)) is stopped


async def test_clients_whose_address_is_unknown_share_no_cap(world: World) -> None:
    """A Unix socket whose proxy names nobody: each customer is slowed down apart, and nobody is locked out."""
    silent = world.with_web(addresses=ClientAddresses("X-Forwarded-For"))
    transport = httpx2.ASGITransport(silent.asgi, client=cast("tuple[str, int]", None))
    async with httpx2.AsyncClient(transport=transport, base_url=URL) as client:
        browser = Browser(client)
        answer = await browser.sign_in("C10002", "wrong")
        assert answer.status_code == 401
    names = [row["name"] for row in await world.rows("SELECT name FROM counters WHERE name LIKE 'signin%'")]
    assert names != []
    assert all("C10002" in name for name in names)


@pytest.mark.parametrize("language", ["zh-TW", "en"])
async def test_the_pages_server_time_is_the_clocks(world: World, language: str) -> None:
    page = (await world.browser().get("/sign-in", **{"accept-language": language})).text
    assert f'name="server-time" content="{int(NOW.timestamp() * 1000)}"' in page
