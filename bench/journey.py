"""One customer's renewal over HTTP: the calls that trading program and browser make, twelve requests (docs/api.md).

The HTML of the order pages is not loaded; what they would send is sent, with form tokens and Idempotency-Keys.
"""

import asyncio
import hashlib
import json
import re
import time
from base64 import b64encode
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any
from urllib.parse import urlencode

from bench import people
from bench.http import Answer, Connection, request
from chopmark.client.signing import ClientKey
from chopmark.core.types import AccountNumber, Channel, Operation
from chopmark.demo import journey as driver
from chopmark.demo.journey import HttpTransport, Wanted

CODE_LIMIT_S = 60
ANSWER_LIMIT_S = 60
STEPS = (
    "launches",
    "launch-page",
    "launch-take",
    "launch-question",
    "launch-confirm",
    "order",
    "key",
    "challenge",
    "code",
    "birth-date",
    "confirm",
    "nonce",
    "prove",
)


class Failed(Exception):
    """The server answered something else than the journey needs."""

    def __init__(self, said: str, answer: Answer | None = None) -> None:
        super().__init__(said)
        self.answer = answer


@dataclass
class Codes:
    """The codes that the sink has read, by address: whoever waits is woken."""

    waiting: dict[str, "asyncio.Future[str]"] = field(default_factory=dict)

    def expect(self, address: str) -> "asyncio.Future[str]":
        self.waiting[address] = asyncio.get_running_loop().create_future()
        return self.waiting[address]

    async def listen(self, path: str, turn: int, of: int) -> "asyncio.Task[None]":
        reader, writer = await asyncio.open_unix_connection(path)
        writer.write(f"{turn} {of}\n".encode())
        await reader.readline()
        return asyncio.create_task(self._read(reader, writer))

    async def _read(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while line := await reader.readline():
                address, code = line.decode().split()
                future = self.waiting.pop(address, None)
                if future is not None and not future.done():
                    future.set_result(code)
        finally:
            writer.close()


@dataclass(frozen=True, slots=True)
class Means:
    """What a journey goes by: a connection, the mail box, the trading program's credential; no request is sent while
    the gate is shut, and `told(step, came_at, seconds)` is called after each answer."""

    connection: Connection
    codes: Codes
    client: str
    secret: str
    gate: asyncio.Event
    told: Callable[[str, float, float], None]


@dataclass
class Journey:
    """One customer with a new key; `intended` is when the first request should have been sent, by the clock."""

    means: Means
    customer: int
    key: ClientKey
    csr: bytes
    cookies: dict[str, str] = field(default_factory=dict)
    intended: float | None = None
    order: dict[str, Any] = field(default_factory=dict)

    async def run(self) -> None:
        """Do all of it."""
        await self.sign_in()
        await self.to_review()
        await self.confirm()
        await self.prove()

    async def sign_in(self) -> None:
        """The trading program asks for a ticket, the browser takes it and the customer says yes."""
        basic = b64encode(f"{self.means.client}:{self.means.secret}".encode()).decode()
        wanted = {
            "customer": people.number(self.customer),
            "account": people.account(self.customer),
            "factors": ["password"],
            "wanted": "renew",
        }
        headers = {"Authorization": f"Basic {basic}", "Content-Type": "application/json"}
        made = await self._send("launches", "POST", "/api/v1/launches", headers, json.dumps(wanted).encode(), 201)
        ticket = made.json()["url"].partition("#t=")[2]
        await self._send("launch-page", "GET", "/launch", {}, b"", 200)
        await self._form("launch-take", "/launch", {"ticket": ticket}, 303)
        await self._send("launch-question", "GET", "/launch/confirm", {}, b"", 200)
        await self._form("launch-confirm", "/launch/confirm", {}, 303)

    async def to_review(self) -> None:
        """Order, key with the old key's proof, code from the mail box, birth date."""
        wanted = Wanted(Operation.REKEY, AccountNumber(people.account(self.customer)))
        await self._driven.to_review(wanted, Channel.EMAIL)

    async def confirm(self) -> None:
        """Say yes: the certificate is issued."""
        await self._driven.confirm()

    async def prove(self) -> None:
        """Show that the new key works."""
        await self._driven.prove()

    @property
    def _driven(self) -> driver.Journey:
        """The customer who takes the steps."""
        old = people.client_key(self.customer)
        return driver.Journey(Requests(self), _now, self._expect, self.key, self.csr, people.BIRTH, old)

    def _expect(self) -> Callable[[], Awaitable[str]]:
        coming = self.means.codes.expect(people.email(self.customer))

        async def read() -> str:
            async with asyncio.timeout(CODE_LIMIT_S):
                return await coming

        return read

    @property
    def _form_token(self) -> str:
        return self.cookies.get("__Host-csrf", "")

    async def _form(self, step: str, path: str, fields: dict[str, str], status: int) -> None:
        body = urlencode({"_csrf_token": self._form_token, **fields}).encode()
        headers = {"Content-Type": "application/x-www-form-urlencoded", "Origin": "https://counter.example.com"}
        await self._send(step, "POST", path, headers, body, status)

    async def api(
        self, step: str, method: str, path: str, body: Mapping[str, Any], status: int = 200
    ) -> dict[str, Any]:
        """Call the API as the pages' script does."""
        payload = json.dumps(body).encode()
        headers = {
            "Content-Type": "application/json",
            "x-csrftoken": self._form_token,
            "Origin": "https://counter.example.com",
            "Idempotency-Key": hashlib.sha256(payload + step.encode() + self._form_token.encode()).hexdigest()[:32],
        }
        found: dict[str, Any] = (await self._send(step, method, f"/api/v1{path}", headers, payload, status)).json()
        if "next" in found:
            self.order = found
        return found

    async def _send(
        self, step: str, method: str, path: str, headers: dict[str, str], body: bytes, status: int
    ) -> Answer:
        if self.cookies:
            headers["Cookie"] = "; ".join(f"{name}={value}" for name, value in self.cookies.items())
        raw = request(method, path, headers, body)
        await self.means.gate.wait()
        await self.means.connection.ready()
        sent = time.perf_counter()
        async with asyncio.timeout(ANSWER_LIMIT_S):
            answer = await self.means.connection.request(raw)
        came = time.perf_counter()
        begun = sent if self.intended is None else self.intended
        self.intended = None
        self.means.told(step, came, came - begun)
        self.cookies.update(answer.cookies)
        if answer.status != status:
            said = re.sub(rb"\s+", b" ", answer.body[:300]).decode(errors="replace")
            raise Failed(f"{step}: {answer.status} instead of {status}: {said}", answer)
        return answer


class Requests(HttpTransport):
    """The steps of a journey's order, sent by the journey."""

    def __init__(self, journey: Journey) -> None:
        self._journey = journey
        self.order = journey.order

    async def call(self, step: str, method: str, path: str, body: Mapping[str, Any], status: int) -> dict[str, Any]:
        found = await self._journey.api(step, method, path, body, status)
        self.order = self._journey.order
        return found


def _now() -> datetime:
    return datetime.now(UTC)
