"""Customers who renew and revoke while the database fails over: they try again, and note what was promised to them."""

import asyncio
import json
import time
from collections import Counter as Tally
from dataclasses import dataclass, field
from itertools import pairwise

from bench import people
from bench.http import Answer, Connection
from bench.journey import Codes, Failed, Journey, Means
from chopmark.client.signing import ClientKey

PAUSE_S = 0.5
"""Until an impatient customer tries again; the page asks for more."""
MOST_PATIENT_S = 120
SLOW_S = 2.0
"""A step that takes longer has waited, even where it went through in the end."""
OUR_PAGE = "客服查詢編號"
"""What every page of ours that refuses something has: the number to tell the hotline. HAProxy's own has it not."""
NEVER = ("Traceback", "asyncpg", "Error:", "postgresql://")


@dataclass(frozen=True, slots=True)
class Told:
    """Something that a customer was told: it holds from `at` on (seconds of the monotonic clock)."""

    what: str
    customer: int
    order: str
    serial: str
    at: float


@dataclass
class Record:
    """What all customers saw."""

    told: list[Told] = field(default_factory=list)
    waits: list[tuple[float, float, str]] = field(default_factory=list)
    """Each step that did not go through at once: when it began, how many seconds it took, which step."""
    pages: Tally[str] = field(default_factory=Tally)
    """What was seen instead of an answer, by kind."""
    strange: list[str] = field(default_factory=list)
    """Answers that no customer should see."""
    broken: list[str] = field(default_factory=list)
    """Journeys that had to be begun again, and why."""
    passed: list[float] = field(default_factory=list)
    """When a step went through."""
    journeys: int = 0

    def gap(self, since: float) -> float:
        """Return the longest time after a moment in which nobody got through, in seconds."""
        moments = [since, *(at for at in self.passed if at >= since)]
        return max((after - before for before, after in pairwise(moments)), default=0.0)


class Patient(Journey):
    """A journey whose every request is sent again, as it was, until there is an answer."""

    record: Record
    told_serial: str = ""

    async def _send(
        self, step: str, method: str, path: str, headers: dict[str, str], body: bytes, status: int
    ) -> Answer:
        begun, tries = time.monotonic(), 0
        while True:
            tries += 1
            try:
                answer = await super()._send(step, method, path, dict(headers), body, status)
            except Failed as failure:
                if failure.answer is None or failure.answer.status != 503:
                    raise
                self._saw(step, failure.answer)
            except (OSError, TimeoutError) as failure:
                self.record.pages[f"no answer: {type(failure).__name__}"] += 1
                if not self.means.connection.closed:
                    self.means.connection.close()
            else:
                now = time.monotonic()
                self.record.passed.append(now)
                if tries > 1 or now - begun > SLOW_S:
                    self.record.waits.append((begun, now - begun, step))
                return answer
            if time.monotonic() - begun > MOST_PATIENT_S:
                raise Failed(f"{step}: for {MOST_PATIENT_S} seconds there was no answer")
            await asyncio.sleep(PAUSE_S)

    def _saw(self, step: str, answer: Answer) -> None:
        said = answer.body.decode(errors="replace")
        page = said.lstrip().startswith("<")
        self.record.pages["503 page" if page else "503 problem"] += 1
        ours = OUR_PAGE in said if page else json.loads(said)["kind"] == "unavailable"
        if not ours or any(word in said for word in NEVER):
            self.record.strange.append(f"{step}: {said[:1500]}")

    def tell(self, what: str) -> None:
        """Note what the customer was told just now."""
        self.record.told.append(Told(what, self.customer, self.order["id"], self.told_serial, time.monotonic()))

    async def whole(self) -> None:
        """Renew, then give the new certificate up."""
        await self.signed_in()
        await self.to_review()
        await self.confirm()
        await self.issued()
        await self.prove()
        self.tell("active")
        await self.revoke()
        self.tell("revoked")
        self.record.journeys += 1

    async def signed_in(self) -> None:
        """Sign in; a ticket whose answer was lost is used up, and the trading program gives another one."""
        for _ in range(5):
            try:
                await self.sign_in()
                return
            except Failed as failure:
                if failure.answer is None or failure.answer.status >= 500:
                    raise
                self.cookies.clear()
                self.record.broken.append(f"ticket asked for again: {failure}"[:120])
        raise Failed("five tickets did not open a session")

    async def confirm(self) -> None:
        """Say yes; the answer may be that the certificate comes later."""
        try:
            await super().confirm()
        except Failed as failure:
            if failure.answer is None or failure.answer.status not in {200, 202}:
                raise
            self.order = failure.answer.json()

    async def issued(self) -> None:
        """Look until the certificate is there."""
        ends = time.monotonic() + MOST_PATIENT_S
        while not self.order.get("certificate"):
            if time.monotonic() > ends:
                raise Failed(f"the certificate did not come: {self.order.get('next')}")
            await self.api("look", "GET", f"/orders/{self.order['id']}", {})
            await asyncio.sleep(PAUSE_S)
        self.told_serial = self.order["certificate"]["serial"]
        self.tell("issued")

    async def revoke(self) -> None:
        """Revoke the new certificate with a code."""
        account = people.account(self.customer)
        wanted = {"operation": "revoke", "account": account, "key_home": "file", "reason": "no_longer_needed"}
        await self.api("revocation", "POST", "/orders", {**wanted, "serial": self.told_serial}, 201)
        path = f"/orders/{self.order['id']}"
        coming = self.means.codes.expect(people.email(self.customer))
        await self.api("revocation-challenge", "POST", f"{path}/challenges", {"channel": "email"}, 201)
        async with asyncio.timeout(MOST_PATIENT_S):
            code = await coming
        await self.api("revocation-code", "POST", f"{path}/code", {"code": code})
        consent = self.order["consent"]["sha256"]
        await self.api("revocation-confirm", "POST", f"{path}/confirm", {"consent": consent})


@dataclass
class Crowd:
    """So many customers at a time, one after the other, until they are told to stop."""

    port: int
    client: str
    secret: str
    sink: str
    customers: int
    record: Record = field(default_factory=Record)
    _stop: asyncio.Event = field(default_factory=asyncio.Event)
    _users: list["asyncio.Task[None]"] = field(default_factory=list)

    async def begin(self, users: int) -> None:
        """Let them come."""
        self._codes = Codes()
        self._listening = await self._codes.listen(self.sink, 0, 1)
        self._gate = asyncio.Event()
        self._gate.set()
        self._numbers = iter(range(1, self.customers + 1))
        self._users = [asyncio.create_task(self._user()) for _ in range(users)]

    async def end(self) -> None:
        """Let everybody come to an end of what was begun."""
        self._stop.set()
        await asyncio.gather(*self._users)
        self._listening.cancel()
        await asyncio.gather(self._listening, return_exceptions=True)
        await asyncio.sleep(0)  # what was closed is gone with the loop's next turn

    def well(self) -> None:
        """Raise what a customer's task has died of."""
        for user in self._users:
            if user.done() and (failure := user.exception()):
                raise failure

    async def _user(self) -> None:
        connection = Connection("127.0.0.1", self.port)
        while not self._stop.is_set():
            customer = next(self._numbers)
            key = ClientKey.generate()
            means = Means(connection, self._codes, self.client, self.secret, self._gate, lambda *_: None)
            journey = Patient(means, customer, key, key.request())
            journey.record = self.record
            try:
                await journey.whole()
            except (Failed, TimeoutError) as failure:
                self.record.broken.append(f"customer {customer}: {type(failure).__name__}: {failure}"[:300])
        if not connection.closed:
            connection.close()
