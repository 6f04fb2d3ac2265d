"""The installation of tests of the web interface: they send HTTP requests to the whole application, in one process.

A test gets a `World`: the demo on SQLite with its web application. A `Browser` keeps cookies and sends form tokens; an
`Errand` takes one customer's order through the JSON API, with the requests that the demo's own journeys send. Results
are HTTP answers, refusals included: a test reads status, headers, cookies and body.
"""

import re
import shutil
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, fields, replace
from datetime import UTC, date, datetime
from functools import cache, partial
from pathlib import Path
from random import Random
from typing import Any

import httpx2
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding, pkcs12
from litestar import Litestar

from chopmark.app.foundation import SystemEntropy
from chopmark.app.services import build
from chopmark.app.settings import Settings
from chopmark.app.web import web_services
from chopmark.audit.durable import write_durably
from chopmark.client.signing import ClientKey
from chopmark.core.types import OrderId
from chopmark.demo.former_ca import FormerCa
from chopmark.demo.history import BEGINS, CLIENT, PASSWORD, Play, SteppingClock, demo_of
from chopmark.demo.journey import HttpTransport, Journey, b64, unb64
from chopmark.demo.people import PEOPLE, Person
from chopmark.ra.enrolment import Enrolment
from chopmark.web import app
from chopmark.web.services import WebServices
from tests.installation import Dice, Installation, found_installation
from tests.tables import Clock

__all__ = ["b64", "unb64"]
"""Tests may import them from here together with the world."""

NOW = datetime(2026, 3, 16, 2, 0, tzinfo=UTC)
"""The time at which every test begins: ten in the morning in Taipei."""
QUICK_ROUNDS = 1_000
"""The iterations that protect a .p12 in these tests: few, because the cost of a guess is not tested here."""
URL = "http://localhost:8080"
PERSON: Mapping[str, Person] = {person.number: person for person in PEOPLE}
Answer = httpx2.Response


def settings_of(data: Path) -> Settings:
    """The demo's settings over a data directory."""
    return Settings(mode="demo", data=data)


async def play(data: Path) -> None:
    """Found the demo in an empty directory, as `chopmark demo` does, with a clock that ends at NOW."""
    settings, clock = settings_of(data), SteppingClock(NOW - BEGINS)
    await found_installation(settings, clock, SystemEntropy())
    FormerCa.opened(data / "demo" / "former", clock.now())
    services = await build(settings, clock, SystemEntropy())
    try:
        await Play(services, clock, data / "demo", QUICK_ROUNDS).run(NOW)
        credential = await services.identity.launches.put_client(CLIENT, "demo trading program", "demo")
        write_durably(data / "secrets" / "demo_client", credential.secret.reveal().encode())
    finally:
        await services.close()


@cache
def _opened_p12(content: bytes, passphrase: bytes) -> tuple[ClientKey, bytes]:
    """Return the key and certificate of a file. Opening takes a second by design, so each file is opened only once."""
    key, certificate, _ = pkcs12.load_key_and_certificates(content, passphrase)
    assert isinstance(key, ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey)
    assert certificate is not None
    return ClientKey(key), certificate.public_bytes(Encoding.DER)


@dataclass
class Browser:
    """One browser at one address.

    It keeps cookies, sends the form token as the pages do, and remembers what it sent.
    """

    client: httpx2.AsyncClient
    sent: list[httpx2.Request] = field(default_factory=list)

    @property
    def token(self) -> str:
        """The form token that this browser's cookie holds."""
        names = [name for name in self.client.cookies if name.endswith("csrf")]
        return self.client.cookies[names[0]] if names else ""

    async def request(self, method: str, path: str, **extra: Any) -> Answer:
        """Send any request."""
        answer = await self.client.request(method, path, **extra)
        self.sent.append(answer.request)
        return answer

    async def get(self, path: str, **headers: str) -> Answer:
        """Open a page."""
        return await self.request("GET", path, headers=headers)

    async def form(self, path: str, **fields: str) -> Answer:
        """Send a page's form, as a browser does, with the page's hidden token."""
        if not self.token:
            await self.get("/sign-in")
        return await self.request("POST", path, data={"_csrf_token": self.token, **fields}, headers={"Origin": URL})

    async def api(
        self, path: str, body: Any = None, *, method: str = "POST", key: str = "", lang: str = "en"
    ) -> Answer:
        """Call the JSON API as `main.ts` does."""
        if not self.token:
            await self.get("/api/v1/status")
        headers = {"x-csrftoken": self.token, "Accept-Language": lang}
        if key:
            headers["Idempotency-Key"] = key
        return await self.request(method, f"/api/v1{path}", json={} if body is None else body, headers=headers)

    async def sign_in(self, number: str, password: str = PASSWORD) -> Answer:
        """Sign in at the portal."""
        return await self.form("/sign-in", who=number, password=password, next="/home")


@dataclass
class World(Installation):
    """An installation with its web application."""

    web_services: WebServices
    asgi: Any
    portal: Litestar
    clients: list[httpx2.AsyncClient] = field(default_factory=list)

    def with_web(self, **changes: Any) -> "World":
        """Return the same services with another web application.

        `changes` are fields of WebServices, of its `identity` or `ra`.
        """
        if changes.get("est_url") and "enrolment" not in changes:
            changes["enrolment"] = Enrolment(self.services.ra.context, programs=True)
        for bundle in (self.web_services.identity, self.web_services.ra):
            name = "ra" if bundle is self.web_services.ra else "identity"
            of_it = {one.name: changes.pop(one.name) for one in fields(bundle) if one.name in changes}
            changes[name] = replace(bundle, **of_it)
        changed = replace(self.web_services, **changes)
        built = app.create(changed)
        return replace(self, web_services=changed, asgi=built.asgi, portal=built.portal)

    def browser(self, address: str = "203.0.113.7", url: str = "") -> Browser:
        """A new browser at an address."""
        transport = httpx2.ASGITransport(self.asgi, client=(address, 40000))
        client = httpx2.AsyncClient(transport=transport, base_url=url or self.web_services.portal_url)
        self.clients.append(client)
        return Browser(client)

    async def signed_in(self, number: str) -> Browser:
        """The browser of a customer who has signed in."""
        browser = self.browser()
        answer = await browser.sign_in(number)
        assert answer.status_code == 303, answer.text
        return browser

    async def close(self) -> None:
        for client in self.clients:
            await client.aclose()
        await super().close()

    def old_key(self, number: str) -> tuple[ClientKey, bytes]:
        """Return the customer's key and certificate from the .p12 in the demo's folder."""
        file = self.data / "demo" / f"{PERSON[number].file}.p12"
        return _opened_p12(file.read_bytes(), file.with_suffix(".txt").read_bytes().strip())

    async def inbox_code(self, browser: Browser) -> str:
        """Return the newest code, read on the inbox page of the demo as a person would."""
        await self.work()
        answer = await browser.get("/demo/inbox", accept="application/json")
        for message in answer.json():
            found = re.search(r"(?<!\d)\d{6}(?!\d)", message["text"])
            if found:
                return found[0]
        raise AssertionError("no code was delivered")


@dataclass
class Errand:
    """One customer's order, driven through the JSON API; `order` is the newest answer."""

    world: World
    browser: Browser
    person: Person
    key: ClientKey = field(default_factory=ClientKey.generate)
    order: dict[str, Any] = field(default_factory=dict)
    answers: list[Answer] = field(default_factory=list)

    @property
    def path(self) -> str:
        """The order's address below /api/v1."""
        return f"/orders/{self.order['id']}"

    async def call(self, path: str, body: Any = None, method: str = "POST", key: str = "") -> Answer:
        """Call the API. If the answer is a success, keep it as the order's newest state."""
        answer = await self.browser.api(path, body, method=method, key=key)
        self.answers.append(answer)
        if answer.is_success and "next" in answer.json():
            self.order = answer.json()
        return answer

    async def start(self, operation: str, **more: str) -> Answer:
        """Open the order."""
        body = {"operation": operation, "account": self.person.account, "key_home": "file", **more}
        return await self.call("/orders", body)

    async def bind(self) -> Answer:
        """Send the new key; for a renewal, signed by the old key."""
        old = self.world.old_key(self.person.number)[0] if self.order["needs_old_key"] else None
        step = _Step(self)
        await step.journey(old).bind()
        return step.taken

    async def possess(self) -> Answer:
        """Prove possession of the key in this login."""
        given = (await self.browser.api(f"{self.path}/nonce")).json()
        proof = self.key.possess(
            portal=self.order["portal"],
            order=OrderId(self.order["id"]),
            login=given["login"],
            nonce=unb64(given["nonce"]),
            at=self.world.clock.now(),
        )
        return await self.call(f"{self.path}/possession", {"proof": b64(proof)})

    async def name_key(self) -> Answer:
        """Type the key words that the customer's program shows."""
        return await self.call(f"{self.path}/possession", {"key_words": self.key.words})

    async def send_code(self, channel: str = "mobile") -> Answer:
        """Have a code sent."""
        self.world.clock.later(seconds=61)
        return await self.call(f"{self.path}/challenges", {"channel": channel})

    async def enter_code(self) -> Answer:
        """Enter the code that the inbox shows."""
        code = await self.world.inbox_code(self.browser)
        return await self.call(f"{self.path}/code", {"code": code})

    async def enter_birth_date(self) -> Answer:
        """Enter the birth date."""
        step = _Step(self)
        await step.birth_date(date.fromisoformat(self.person.birth))
        return step.taken

    async def confirm(self, key: str = "") -> Answer:
        """Agree to the terms that were shown."""
        return await self.call(f"{self.path}/confirm", {"consent": self.order["consent"]["sha256"]}, key=key)

    async def prove(self) -> Answer:
        """Prove that the new key works."""
        step = _Step(self)
        await step.journey().prove()
        return step.taken

    async def until(self, stop: str, operation: str, **more: str) -> "Errand":
        """Start the order and take it on until its next step is `stop`."""
        answer = await self.start(operation, **more)
        channel = "mobile" if self.person.mobile and not self.person.new_mobile else "email"
        while answer.is_success and self.order["next"] != stop:
            match self.order["next"]:
                case "key":
                    answer = await self.bind()
                case "channel":
                    answer = await self.send_code(channel)
                case "code":
                    answer = await self.enter_code()
                case "birth_date":
                    answer = await self.enter_birth_date()
                case "review":
                    answer = await self.confirm()
                case "install":
                    answer = await self.prove()
                case other:
                    raise AssertionError(f"the order stands at {other}, not at {stop}")
        assert answer.is_success, answer.text
        return self


class _Step(HttpTransport):
    """One step of an errand: the request is the demo's, and its answer is kept, a refusal too."""

    taken: Answer

    def __init__(self, errand: Errand) -> None:
        self._errand = errand
        self.order = errand.order

    def journey(self, old: ClientKey | None = None) -> Journey:
        """Return the customer of this errand."""
        world, key = self._errand.world, self._errand.key
        code = partial(world.inbox_code, self._errand.browser)
        return Journey(self, world.clock.now, lambda: code, key, key.request(), old_key=old)

    async def nonce(self) -> bytes:
        """A nonce is no answer of the errand."""
        return unb64((await self._errand.browser.api(f"{self._errand.path}/nonce")).json()["nonce"])

    async def call(self, step: str, method: str, path: str, body: Mapping[str, Any], status: int) -> dict[str, Any]:
        self.taken = await self._errand.call(path, body, method)
        found: dict[str, Any] = self.taken.json()
        return found


async def errand(world: World, number: str) -> Errand:
    """An errand of a customer who has just signed in."""
    return Errand(world, await world.signed_in(number), PERSON[number])


_portals: dict[str, Litestar] = {}


def _portal(through: WebServices) -> Litestar:
    """Return the Litestar application over these services.

    It is made once per played demo, because that takes longer than a test.
    """
    key = through.csrf_secret.reveal()
    portal = _portals.get(key)
    if portal is None:
        portal = _portals[key] = app.framework(through)
    portal.state.services = through
    return portal


@asynccontextmanager
async def opened(played: Path, data: Path, settings: Callable[[Path], Settings] = settings_of) -> AsyncIterator[World]:
    """Open a World on a copy of the played demo."""
    shutil.copytree(played, data)
    clock, dice = Clock(NOW), Dice(Random(3))
    services = await build(settings(data), clock, dice)
    through = web_services(services, await demo_of(services))
    portal = _portal(through)
    world = World(services, clock, dice, through, app.in_front(through, portal), portal)
    try:
        yield world
    finally:
        await world.close()


_ALWAYS = {"type", "title", "status", "detail", "kind", "request_id"}
_SOMETIMES = {"code", "field", "retry_after_s"}


def problem(answer: Answer) -> dict[str, Any]:
    """Return the problem document of an answer, after checking its members."""
    assert answer.headers["content-type"] == "application/problem+json"
    body: dict[str, Any] = answer.json()
    assert set(body) >= _ALWAYS
    assert set(body) <= _ALWAYS | _SOMETIMES
    assert body["status"] == answer.status_code
    assert body["type"] in {"about:blank", f"{URL}/problems/{body['kind']}"}
    assert body["detail"][-1] in ".?!。", body["detail"]
    assert body["title"]
    assert len(body["request_id"]) == 8
    assert str(body.get("retry_after_s", "")) == answer.headers.get("retry-after", "")
    return body


Route = tuple[str, str]


def routes(portal: Litestar) -> list[Route]:
    """Every method and path of the portal, apart from OPTIONS, which only names the methods, and HEAD."""
    found = [
        (method, route.path)
        for route in portal.routes
        for method in getattr(route, "methods", ())
        if method not in {"OPTIONS", "HEAD"}
    ]
    return sorted(found, key=lambda row: (row[1], row[0]))


def filled(path: str, /, **values: str) -> str:
    """Return the address of a route with its parameters filled in."""
    return re.sub(r"\{(\w+):\w+\}", lambda found: values.get(found[1], "x"), path)
