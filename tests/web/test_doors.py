"""Which door calls what, and which rule stands before it: generated from the route table (architecture rule 1).

A route without a row fails here, so that a new door is thought about before it opens.
"""

import re
from collections import defaultdict
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import pytest

from tests.web.counter import PERSON, URL, Browser, Errand, Route, World, b64, errand, filled, routes
from tests.web.test_slip import printed, without_contacts


@dataclass(frozen=True)
class Row:
    """What stands before a route, and the verbs behind it that change something."""

    verbs: frozenset[str] = frozenset()
    session: bool = False
    token: bool = True
    owned: str = ""


def row(*verbs: str, session: bool = False, token: bool = True, owned: str = "") -> Row:
    return Row(frozenset(verbs), session, token, owned)


ORDER = "/api/v1/orders/{order_id:str}"
READ = row(token=False)
OWN = row(session=True, token=False)
ROWS: Mapping[Route, Row] = {
    ("GET", "/"): READ,
    ("GET", "/api/schema"): READ,
    ("GET", "/api/schema/openapi.json"): READ,
    ("GET", "/api/schema/{path:str}"): READ,
    ("GET", "/api/v1/certificates"): OWN,
    ("GET", "/api/v1/certificates/{serial:str}"): row(session=True, token=False, owned="serial"),
    ("POST", "/api/v1/launches"): row("launches.authenticate", "launches.create", token=False),
    ("POST", "/api/v1/orders"): row("enrolment.start", session=True, owned="account serial"),
    ("GET", ORDER): row(session=True, token=False, owned="order_id"),
    ("POST", f"{ORDER}/birth-date"): row("rekey.birth_date", session=True, owned="order_id"),
    ("POST", f"{ORDER}/cancel"): row("enrolment.cancel", session=True, owned="order_id"),
    ("POST", f"{ORDER}/challenges"): row("rekey.challenge", session=True, owned="order_id"),
    ("POST", f"{ORDER}/code"): row("rekey.answer", "sessions.step_up", session=True, owned="order_id"),
    ("POST", f"{ORDER}/confirm"): row("rekey.confirm", "revocation.confirm", session=True, owned="order_id"),
    ("POST", f"{ORDER}/credential"): row("program.credential", session=True, owned="order_id"),
    ("POST", f"{ORDER}/dispute"): row("enrolment.dispute", session=True, owned="order_id"),
    ("PUT", f"{ORDER}/key"): row("rekey.bind_key", session=True, owned="order_id"),
    ("POST", f"{ORDER}/nonce"): row("enrolment.nonce", session=True, owned="order_id"),
    ("POST", f"{ORDER}/possession"): row("possession.sign", "possession.name", session=True, owned="order_id"),
    ("POST", f"{ORDER}/prove"): row("rekey.prove", session=True, owned="order_id"),
    ("POST", f"{ORDER}/slip"): row("slips.answer", "sessions.step_up", session=True, owned="order_id"),
    ("GET", "/api/v1/overview"): row(session=True, token=False, owned="?account"),
    ("GET", "/api/v1/status"): READ,
    ("GET", "/backoffice/v1/changes"): READ,
    ("GET", "/again"): READ,
    ("POST", "/again"): row(token=False),
    ("GET", "/backoffice/v1/expiries"): READ,
    ("GET", "/brand.css"): READ,
    ("GET", "/certificates"): row(session=True, token=False, owned="?account"),
    ("GET", "/certificates/apply"): row(session=True, token=False, owned="?account"),
    ("GET", "/certificates/inquiry"): row(session=True, token=False, owned="?account"),
    ("GET", "/certificates/reminders"): OWN,
    ("POST", "/certificates/reminders"): row("own_reminders.ask", session=True),
    ("GET", "/certificates/revoke"): row(session=True, token=False, owned="?account"),
    ("GET", "/demo"): READ,
    ("GET", "/demo/inbox"): READ,
    ("GET", "/demo/inbox/{message:str}/{name:str}"): READ,
    ("POST", "/demo/launch"): row("launches.authenticate", "launches.create"),
    ("GET", "/elsewhere/{service:str}"): READ,
    ("GET", "/help/browser"): READ,
    ("GET", "/home"): OWN,
    ("GET", "/hooks/gateways/{gateway:str}/{secret:str}"): READ,  # a gateway's report: it ends on the message's row
    ("POST", "/hooks/gateways/{gateway:str}/{secret:str}"): row(token=False),
    ("GET", "/launch"): READ,
    ("POST", "/launch"): row("launches.take"),
    ("GET", "/launch/confirm"): READ,
    ("POST", "/launch/confirm"): row("launches.confirm", "sessions.recognise"),
    ("POST", "/launch/refuse"): row(),
    ("GET", "/openapi.json"): READ,
    ("GET", "/orders/{order_id:str}"): row(session=True, token=False, owned="order_id"),
    ("GET", "/orders/{order_id:str}/credential"): row(session=True, token=False, owned="order_id"),
    ("POST", "/orders/{order_id:str}/credential"): row("program.credential", session=True, owned="order_id"),
    ("GET", "/profile"): OWN,
    ("GET", "/repository"): READ,
    ("GET", "/repository/{name:str}"): READ,
    ("GET", "/sign-in"): READ,
    ("POST", "/sign-in"): row("sessions.sign_in"),
    ("POST", "/sign-out"): row("sessions.sign_out"),
    ("GET", "/static/{file_path:path}"): READ,
    ("GET", "/stop"): READ,
    ("POST", "/stop"): row("stopping.stop"),
}
READERS = {"sessions.seen", "rekey.consent", "launches.asked"}
"""What these parts offer that changes nothing but when a session was last seen."""
BODIES: Mapping[str, dict[str, str]] = {
    "orders": {"operation": "rekey", "account": "F014000-0001001"},
    "key": {"csr": "AAAA"},
    "challenges": {"channel": "mobile"},
    "dispute": {"channel": "mobile"},
    "code": {"code": "123456"},
    "slip": {"slip": "BBBBB-BBBBB-BBBBB-BBBBB"},
    "birth-date": {"year": "49", "month": "7", "day": "15"},
    "confirm": {"consent": "x"},
    "prove": {"proof": "AAAA"},
    "launches": {"customer": "C10001", "account": "F014000-0001001", "factors": []},  # type: ignore[dict-item]
}
STATIC = {"name": "root.pem", "service": "products", "file_path": "/favicon.svg", "path": "x"}


def test_every_route_has_a_row_and_every_row_a_route(world: World) -> None:
    assert set(routes(world.portal)) == set(ROWS)


def test_no_route_that_reads_calls_a_verb_and_every_change_is_a_post_or_a_put() -> None:
    for (method, path), stands in ROWS.items():
        assert not (method == "GET" and stands.verbs), path
        assert method in {"GET", "POST", "PUT"}, path


def body_of(path: str) -> dict[str, str]:
    return BODIES.get(path.rpartition("/")[2], {})


def json_call(browser: Browser, method: str, path: str, **headers: str) -> Any:
    return browser.request(method, path, json=body_of(path), headers=headers)


class Noted:
    """A part of the house that notes which of its verbs are called."""

    def __init__(self, name: str, part: object, seen: set[str]) -> None:
        self._name, self._part, self._seen = name, part, seen

    def __getattr__(self, verb: str) -> object:
        found = getattr(self._part, verb)
        if not callable(found):
            return found

        def called(*given: Any, **named: Any) -> Any:
            self._seen.add(f"{self._name}.{verb}")
            return found(*given, **named)

        return called


PARTS = (
    "sessions",
    "launches",
    "enrolment",
    "rekey",
    "possession",
    "program",
    "revocation",
    "stopping",
    "slips",
    "own_reminders",
)


def part_of(world: World, name: str) -> object:
    identity = world.web_services.identity
    return getattr(identity if hasattr(identity, name) else world.web_services.ra, name)


def recording(world: World, seen: set[str]) -> World:
    parts = {name: Noted(name, part_of(world, name), seen) for name in PARTS}
    return world.with_web(est_url="https://est.example.com", **parts)


async def visit_every_change(world: World, note: Callable[[str, str], None]) -> None:
    """Walk through both doors, one renewal, one revocation, one dispute, one cancelled order and one slip."""

    async def form(browser: Browser, path: str, **fields: str) -> Any:
        answer = await browser.form(path, **fields)
        note("POST", path)
        return answer

    browser = world.browser()
    await browser.get("/launch")
    sent = await form(browser, "/demo/launch", customer="C10001")
    await form(browser, "/launch", ticket=sent.headers["location"].partition("#t=")[2])
    await form(browser, "/launch/confirm")
    await form(browser, "/launch/refuse")
    await form(browser, "/stop", reference="BBBBB-BBBBB")
    await form(browser, "/sign-in", who="C10001", password="x")
    credential = world.web_services.demo
    assert credential is not None
    basic = (credential.client, credential.client_secret.reveal())
    launch = {"customer": "C10001", "account": PERSON["C10001"].account, "factors": ["password"]}
    assert (await browser.request("POST", "/api/v1/launches", json=launch, auth=basic)).status_code == 201
    note("POST", "/api/v1/launches")
    for number, operation, more in (
        ("C10001", "rekey", {}),
        ("C10002", "revoke", {"reason": "lost"}),
        ("C10006", "rekey", {}),
    ):
        order = await errand(world, number)
        note("", "")
        if operation == "revoke":
            more["serial"] = (await order.browser.get("/api/v1/certificates")).json()[0]["serial"]
        order.browser.client.event_hooks["response"].append(_noting(note))
        await order.until("channel" if number == "C10006" else "done", operation, **more)
        if number == "C10006":
            await order.possess()
            await order.name_key()
            await order.call(f"{order.path}/dispute", {"channel": "mobile"})
            await order.call(f"{order.path}/credential")
            await form(order.browser, f"/orders/{order.order['id']}/credential")
            await order.call(f"{order.path}/cancel")
            await form(order.browser, "/certificates/reminders", channel="email")
            await form(order.browser, "/sign-out")
    await without_contacts(world)
    order = await (await errand(world, "C10003")).until("slip", "enrol")
    slip = await printed(world)
    note("", "")
    order.browser.client.event_hooks["response"].append(_noting(note))
    await order.call(f"{order.path}/slip", {"slip": slip.letters.reveal()})


def _noting(note: Callable[[str, str], None]) -> Any:
    async def hook(response: Any) -> None:
        note(response.request.method, response.request.url.path)

    return hook


async def test_each_change_calls_the_verbs_of_its_row_and_no_others(world: World) -> None:
    seen: set[str] = set()
    called: dict[Route, set[str]] = defaultdict(set)
    watched = recording(world, seen)
    known = {(method, filled(path, order_id="ID")): (method, path) for method, path in ROWS}

    def note(method: str, path: str) -> None:
        parts = ["ID" if len(part) == 26 else part for part in path.split("/")]
        found = known.get((method, "/".join(parts)))
        if found is not None:
            called[found] |= seen - READERS
        seen.clear()

    await visit_every_change(watched, note)
    expected = {route: set(stands.verbs) for route, stands in ROWS.items() if route[0] != "GET"}
    assert {route: called[route] for route in expected} == expected


async def digest(world: World) -> dict[str, list[Mapping[str, Any]]]:
    """All that the database holds, apart from when sessions were last seen."""
    tables = await world.rows("SELECT name FROM sqlite_master WHERE type = 'table' ORDER BY name")
    held: dict[str, list[Mapping[str, Any]]] = {}
    for table in tables:
        rows = await world.rows(f"SELECT * FROM {table['name']}")
        shown = [{name: value for name, value in one.items() if name != "seen_at"} for one in rows]
        held[table["name"]] = sorted(shown, key=repr)
    return held


async def open_order(world: World) -> tuple[Errand, dict[str, str]]:
    """A renewal that has been sent a code, and the values that fill the routes' parameters."""
    order = await (await errand(world, "C10001")).until("code", "rekey")
    serial = (await order.browser.get("/api/v1/certificates")).json()[0]["serial"]
    return order, {**STATIC, "order_id": order.order["id"], "serial": serial}


async def test_no_page_and_no_query_changes_anything(world: World) -> None:
    """ASVS 5.0 3.5.3; reliability I23: every GET route, signed in, twice."""
    order, values = await open_order(world)
    await world.work()
    before = await digest(world)
    assert {"orders", "leaves", "sessions", "work", "challenges"} <= set(before)
    for _ in range(2):
        for method, path in ROWS:
            if method == "GET" and path not in FOR_CLIENTS:
                answer = await order.browser.get(filled(path, **values))
                assert answer.status_code in {200, 303, 404}, path
                await order.browser.request("HEAD", filled(path, **values))
    await order.browser.get(f"/orders/{values['order_id']}?step=apply&lang=en&operation=revoke&code=123456")
    assert await digest(world) == before


UNSAFE = sorted((route for route in ROWS if route[0] != "GET"), key=repr)
NOTHING = "/again"
"""Takes any form, does nothing with it, and opens a page (test_loaded_again.py)."""
TOKENLESS = [route for route in UNSAFE if not ROWS[route].token]


async def test_a_change_without_a_form_token_is_refused_and_changes_nothing(world: World) -> None:
    """No token, one made up, another browser's (double submit) and one spoilt: each is refused on every route."""
    order, values = await open_order(world)
    browser, other = order.browser, world.browser()
    await other.get("/sign-in")
    before = await digest(world)
    for method, path in UNSAFE:
        for token in ("", "x", other.token, browser.token[::-1]):
            if not browser.token:
                await browser.get("/help/browser")
            headers = {"x-csrftoken": token} if token else {}
            answer = await json_call(browser, method, filled(path, **values), **headers)
            refused = 404 if path.startswith("/hooks/") else 303 if path == NOTHING else 401
            assert answer.status_code == (403 if ROWS[method, path].token else refused), f"{path} {token}"
    after = await digest(world)
    changed = {name for name in after if after[name] != before[name]}
    assert changed <= {"leaves", "chains", "counters"}, "a wrong client credential is noted and counted, nothing else"
    recorded = [path for _, path in TOKENLESS if not path.startswith("/hooks/") and path != NOTHING]
    assert len(after["leaves"]) - len(before["leaves"]) == 4 * len(recorded)


ORIGINS = ["https://evil.example", "null", "http://localhost:8081", "https://localhost:8080", ""]


@pytest.mark.parametrize("origin", ORIGINS)
async def test_a_change_that_another_sites_page_asks_for_is_refused(world: World, origin: str) -> None:
    """Even with the right token: I23, ASVS 3.5.1."""
    browser = await world.signed_in("C10001")
    before = await digest(world)
    for method, path in UNSAFE:
        headers = {"Origin": origin, "x-csrftoken": browser.token}
        answer = await json_call(browser, method, filled(path, order_id="A" * 26), **headers)
        assert answer.status_code == 403, path
    assert await digest(world) == before


@pytest.mark.parametrize("kind", ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x"])
async def test_another_sites_form_cannot_pass_for_json(world: World, kind: str) -> None:
    """ASVS 3.5.2: the three types that a page may send across sites without asking first."""
    browser = await world.signed_in("C10005")
    before = await digest(world)
    sent = '{"operation":"enrol","account":"F014000-0001005","x":"='
    for headers in ({"Origin": "https://evil.example"}, {}):
        answer = await browser.request(
            "POST", "/api/v1/orders", content=sent + '"}', headers={"Content-Type": kind, **headers}
        )
        assert answer.status_code in {400, 403}
    assert await digest(world) == before


async def test_a_form_of_another_site_cannot_sign_anybody_in(world: World) -> None:
    """Login CSRF: without this portal's own cookie and token nothing is opened."""
    browser = world.browser()
    answer = await browser.request(
        "POST",
        "/sign-in",
        data={"who": "C10001", "password": "demo-Pass-2468", "_csrf_token": "x"},
        headers={"Origin": "https://evil.example"},
    )
    assert answer.status_code == 403
    assert "chopmark" not in browser.client.cookies


@pytest.mark.parametrize("method", ["GET", "POST", "PUT", "PATCH", "DELETE", "TRACE", "CONNECT", "QUERY"])
async def test_a_route_answers_its_own_methods_only(world: World, method: str) -> None:
    """ASVS 4.1.4; RFC 9110 s.15.5.6: 405 names what is allowed."""
    browser = await world.signed_in("C10001")
    before = await digest(world)
    for path in sorted({path for _, path in ROWS}):
        if (method, path) in ROWS:
            continue
        address = filled(path, **{**STATIC, "order_id": "A" * 26})
        answer = await json_call(browser, method, address, **{"x-csrftoken": browser.token, "Origin": URL})
        assert answer.status_code in {403, 405}, f"{method} {path}: {answer.status_code}"
        if answer.status_code == 405:
            allowed = {part.strip() for part in answer.headers["allow"].split(",")}
            assert {known for known, where in ROWS if where == path} <= allowed, path
    assert await digest(world) == before


async def test_what_needs_a_session_says_so_without_one(world: World) -> None:
    browser = world.browser()
    await browser.get("/sign-in")
    for (method, path), stands in ROWS.items():
        if not stands.session:
            continue
        address = filled(path, **{**STATIC, "order_id": "A" * 26})
        answer = await json_call(browser, method, address, **{"x-csrftoken": browser.token})
        if path.startswith("/api/"):
            assert answer.status_code == 401, path
            assert answer.json()["kind"] == "unauthenticated"
        elif method == "POST":
            assert answer.status_code == 401, path
        else:
            assert answer.status_code == 303, path
            assert answer.headers["location"].startswith("/sign-in?next=%2F")


FOR_CLIENTS = {"/backoffice/v1/changes", "/backoffice/v1/expiries"}
"""Asked with a client credential: without one 401, and the attempt is on record (test_feed.py, test_expiries.py)."""
OPEN = sorted(
    path
    for (method, path), stands in ROWS.items()
    if method == "GET" and not stands.session and path not in FOR_CLIENTS
)


async def test_what_needs_no_session_answers_without_one(world: World) -> None:
    browser = world.browser()
    for path in OPEN:
        answer = await browser.get(filled(path, **STATIC))
        assert answer.status_code in ({303} if path in {"/", "/launch/confirm", NOTHING} else {200, 404}), path


def comparable(text: str, wanted: str) -> str:
    """An answer without what differs between any two: the id that was asked for and the request's number."""
    known = re.sub(r'"request_id":"[0-9A-F]{8}"|\b[0-9A-F]{8}\b', "NUMBER", text)
    return known.replace(wanted, "WANTED")


async def test_nobody_reaches_what_belongs_to_somebody_else_and_nobody_learns_that_it_exists(world: World) -> None:
    """Each route that takes an id: another customer's answers exactly as one that does not exist (ASVS 8.2.2)."""
    victim, values = await open_order(world)
    stranger = await world.signed_in("C10002")
    theirs = {**values, "account": victim.person.account}
    none = {**STATIC, "order_id": "A" * 26, "serial": "01" * 18, "account": "F014000-9999999"}
    before = await digest(world)
    for (method, path), stands in ROWS.items():
        for what in stands.owned.split():
            answers = []
            for ids in (theirs, none):
                address, body = filled(path, **ids), dict(body_of(filled(path, **ids)))
                if what == "?account":
                    address += f"?account={ids['account']}"
                if what == "account":
                    body["account"] = ids["account"]
                if what == "serial" and method == "POST":
                    body = {"operation": "revoke", "account": PERSON["C10002"].account, "reason": "lost", **body}
                    body |= {"operation": "revoke", "account": PERSON["C10002"].account, "serial": ids["serial"]}
                if path.endswith("/key"):
                    body = {"csr": b64(victim.key.request())}
                answer = await stranger.request(
                    method, address, json=body, headers={"x-csrftoken": stranger.token, "Origin": URL}
                )
                wanted = ids["account"] if "account" in what else ids["serial"] if what == "serial" else ids["order_id"]
                answers.append((answer.status_code, comparable(answer.text, wanted), sorted(answer.headers)))
            assert answers[0] == answers[1], f"{method} {path} {what}"
            assert answers[0][0] == (200 if what == "?account" else 404), f"{method} {path} {what}"
    assert await digest(world) == before


def test_every_parameter_of_a_route_is_an_id_in_the_matrix() -> None:
    free = {"name", "service", "file_path", "path", "gateway", "secret", "message"}  # the demo shows all its messages
    for (method, path), stands in ROWS.items():
        for name in {part.split(":")[0] for part in path.split("{")[1:]} - free:
            assert name in stands.owned, f"{method} {path}"
