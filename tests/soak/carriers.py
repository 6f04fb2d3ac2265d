"""Gateways that misbehave in turn before a counter of two servers and two workers, and customers who ask for codes."""

import asyncio
import json
import re
import subprocess
import time
from collections import Counter
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from itertools import cycle
from pathlib import Path
from typing import Any

from bench import people
from bench.http import Connection
from bench.journey import Codes, Journey, Means
from bench.site import CLIENT, Site, ended, free_port, started
from chopmark.client.signing import ClientKey
from chopmark.core.types import AccountNumber, Channel, Operation
from chopmark.demo.journey import Wanted
from chopmark.testing.http_stub import Heard, HttpStub, Mode, Says, reset
from chopmark.testing.smpp_stub import SmppStub
from chopmark.testing.sms_stubs import PASSWORD, USER, Every8dStub, MitakeStub
from chopmark.testing.tls import server_identity

NAMES = ("mitake", "every8d", "smpp")
REPORT = "r" * 32
PATIENT_S = 20.0
"""So long a customer waits for a code or for the page's word; then the code is lost."""
WAITS_ON_S = 4.0
"""So long a customer still looks at the phone when the page has said that nothing came."""
LOOKS_EVERY_S = 0.05
LIST = """
[[gateway]]
name = "expired"
kind = "every8d"
url = "{expired}"
trust = "{trust}"
user = "{user}"
secrets = {{ password = "{account}" }}

[[gateway]]
name = "mitake"
kind = "mitake"
url = "{mitake}"
user = "{user}"
answer_s = 1.5
callback = "http://127.0.0.1:{port}/hooks/gateways/mitake/"
secrets = {{ password = "{account}", report = "{report}" }}

[[gateway]]
name = "every8d"
kind = "every8d"
url = "{every8d}"
user = "{user}"
answer_s = 1.5
secrets = {{ password = "{account}" }}

[[gateway]]
name = "smpp"
kind = "smpp"
host = "127.0.0.1"
port = {smpp}
tls = false
user = "{user}"
answer_s = 1.5
secrets = {{ password = "{account}" }}
"""
_CODE = re.compile(r"(?<!\d)\d{6}(?!\d)")


_TURN: ContextVar[Mode | None] = ContextVar("turn", default=None)


class InTurn(HttpStub):
    """A stub that behaves in another way with each message, as long as it has `turns`; `met` counts them."""

    def __init__(self) -> None:
        super().__init__()
        self.turns: Iterator[Mode] | None = None
        self.met: Counter[Mode] = Counter()

    @property
    def mode(self) -> Mode:
        """How it behaves with the message at hand."""
        return _TURN.get() or self._mode

    @mode.setter
    def mode(self, mode: Mode) -> None:
        self._mode = mode

    def turn(self) -> None:
        """Choose how to behave with the message that comes now."""
        _TURN.set(None if self.turns is None else next(self.turns))
        if self.turns is not None:
            self.met[self.mode] += 1

    async def _one(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.turn()
        await super()._one(reader, writer)


class Every8dInTurn(InTurn, Every8dStub):
    """EVERY8D."""


class SmppInTurn(InTurn, SmppStub):
    """A message centre: its connection stays, so that each message has its turn."""

    async def _one(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await super(InTurn, self)._one(reader, writer)

    async def _submit(self, writer: asyncio.StreamWriter, number: int, body: bytes) -> bool:
        self.turn()
        if self.mode is Mode.DEAF:
            reset(writer)
            return False
        return await super()._submit(writer, number, body)


class BadNumbers(InTurn, MitakeStub):
    """Mitake, for which some numbers are black holes: whoever sends to them waits for an answer that never comes."""

    def __init__(self) -> None:
        super().__init__()
        self.holes: set[str] = set()

    def answer(self, heard: Heard) -> Says:
        says = super().answer(heard)
        if heard.fields.get("dstaddr") in self.holes:
            raise Hole
        return says

    async def _one(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await super()._one(reader, writer)
        except Hole:
            await self.released()


class Hole(Exception):
    """The answer never comes."""


@dataclass
class Carriers:
    """The gateways, and what phones show."""

    mitake: BadNumbers = field(default_factory=BadNumbers)
    every8d: Every8dInTurn = field(default_factory=Every8dInTurn)
    smpp: SmppInTurn = field(default_factory=SmppInTurn)
    expired: Every8dStub = field(default_factory=Every8dStub)

    @property
    def all(self) -> tuple[InTurn, ...]:
        """Those that can be made to misbehave."""
        return self.mitake, self.every8d, self.smpp

    def let(self, **modes: Mode) -> None:
        """Let each behave as told, and the others well."""
        for name, stub in zip(NAMES, self.all, strict=True):
            stub.turns = None
            stub.mode = modes.get(name, Mode.WELL)

    def take_turns(self, name: str, bad: Sequence[Mode]) -> InTurn:
        """Let one misbehave in every way, with every second message; those before it in the list are busy."""
        place = NAMES.index(name)
        self.let(**dict.fromkeys(NAMES[:place], Mode.BUSY))
        stub = self.all[place]
        stub.turns = cycle([mode for one in bad for mode in (Mode.WELL, one)])
        return stub

    def texts(self) -> dict[str, list[tuple[str, str]]]:
        """Return what each gateway sent: number and text, whatever became of its answer."""
        return {
            "expired": [(sms.number, sms.text) for sms in self.expired.phone],
            "mitake": [("+886" + sms.number[1:], sms.text) for sms in self.mitake.phone],
            "every8d": [(sms.number, sms.text) for sms in self.every8d.phone],
            "smpp": [
                ("+" + one.destination, one.content.decode("utf-16-be" if one.coding == 8 else "ascii"))
                for one in self.smpp.submitted
            ],
        }

    def code(self, number: str, reference: str) -> str | None:
        """Return the code that a phone shows beside a reference."""
        for sent in self.texts().values():
            for to, text in sent:
                if to == number and reference in text:
                    found = _CODE.search(text)
                    return None if found is None else found[0]
        return None


@dataclass
class Seen:
    """What one customer saw: the code after so many seconds, or the page's word that it could not be delivered."""

    customer: int
    number: str
    reference: str
    code: str = ""
    after_s: float = 0.0
    said_after_s: float = 0.0
    """When the page said that the message could not be delivered so far; 0: it did not."""
    right: bool = False


class Asking(Journey):
    """A customer who has a code sent to the phone and types it."""

    async def ask(self) -> Seen:
        """Come to the code's page and have it sent."""
        await self.sign_in()
        driven = self._driven
        await driven.transport.start(Wanted(Operation.REKEY, AccountNumber(people.account(self.customer))))
        await driven.bind()
        await driven.transport.challenge(Channel.MOBILE)
        return Seen(self.customer, people.mobile(self.customer), self.order["challenge"]["reference"])

    async def wait(self, seen: Seen, carriers: Carriers) -> None:
        """Wait for the phone or for the page's word, whichever comes first, and type what came."""
        began = time.monotonic()
        looked = began
        while time.monotonic() - began < (PATIENT_S if not seen.said_after_s else seen.said_after_s + WAITS_ON_S):
            code = carriers.code(seen.number, seen.reference)
            if code is not None:
                seen.code, seen.after_s = code, time.monotonic() - began
                answer = await self.api("code", "POST", f"/orders/{self.order['id']}/code", {"code": code})
                seen.right = answer["next"] != "code"
                return
            if time.monotonic() - looked > 1.0:
                looked = time.monotonic()
                order = await self.api("look", "GET", f"/orders/{self.order['id']}", {})
                if order["challenge"]["undelivered"] and not seen.said_after_s:
                    seen.said_after_s = time.monotonic() - began
            await asyncio.sleep(LOOKS_EVERY_S)


@dataclass
class House:
    """Two servers and two workers over one database."""

    site: Site
    carriers: Carriers
    ports: tuple[int, int]
    processes: dict[str, subprocess.Popen[str]] = field(default_factory=dict)
    next_customer: int = 1
    seen: list[Seen] = field(default_factory=list)

    def start(self, name: str) -> None:
        """Start `server 1`, `worker 2` and the like."""
        kind, _, number = name.partition(" ")
        node = int(number)
        more = {"CHOPMARK_PORT": str(self.ports[node - 1]), "CHOPMARK_NODE": str(node)}
        arguments = ["serve", "--workers", "1"] if kind == "server" else ["worker"]
        log = self.site.data / f"{kind}-{number}.log"
        ready = 1 if kind == "server" else 0
        self.processes[name] = started(["-m", "chopmark", *arguments], self.site.environment(**more), log, ready=ready)

    def kill(self, name: str) -> None:
        """Kill -9."""
        process = self.processes.pop(name)
        process.kill()
        process.wait()
        if process.stdout is not None:
            process.stdout.close()

    def stop(self) -> None:
        """End all of them."""
        for process in self.processes.values():
            ended(process)

    async def customer(self, number: int) -> tuple[Asking, Seen]:
        """Let a customer ask for a code at one of the two servers."""
        gate = asyncio.Event()
        gate.set()
        key = ClientKey.generate()
        connection = Connection("127.0.0.1", self.ports[number % 2])
        means = Means(connection, Codes(), CLIENT, self.site.secret.reveal(), gate, lambda *_: None)
        asking = Asking(means, number, key, key.request())
        return asking, await asking.ask()

    async def one(self, number: int) -> Seen:
        """Let a customer ask and wait."""
        asking, seen = await self.customer(number)
        await asking.wait(seen, self.carriers)
        if not asking.means.connection.closed:
            asking.means.connection.close()
        self.seen.append(seen)
        return seen

    async def wave(self, count: int, over_s: float) -> list[Seen]:
        """Let so many customers come, spread over some seconds."""
        first, self.next_customer = self.next_customer, self.next_customer + count

        async def late(place: int) -> Seen:
            await asyncio.sleep(over_s * place / count)
            return await self.one(first + place)

        return list(await asyncio.gather(*(late(place) for place in range(count))))

    def logs(self) -> str:
        """Return what all processes wrote."""
        return "".join(path.read_text(errors="replace") for path in sorted(self.site.data.glob("*.log")))


@asynccontextmanager
async def opened(site: Site, folder: Path, first: int = 1) -> AsyncIterator[House]:
    """Give the house, with its gateways, running."""
    carriers, ports = Carriers(), (site.port, free_port())
    async with AsyncExitStack() as stack:
        expired = server_identity(folder, expired=True)
        for stub in carriers.all:
            await stack.enter_async_context(stub.listening())
        await stack.enter_async_context(carriers.expired.listening(tls=expired.server))
        (folder / "account").write_text(PASSWORD)
        (folder / "report").write_text(REPORT)
        listed = folder / "gateways.toml"
        listed.write_text(
            LIST.format(
                expired=carriers.expired.address,
                trust=expired.trust,
                mitake=carriers.mitake.address,
                every8d=carriers.every8d.address,
                smpp=carriers.smpp.address.rpartition(":")[2],
                user=USER,
                account=folder / "account",
                report=folder / "report",
                port=ports[1],
            )
        )
        site.more["CHOPMARK_GATEWAYS"] = str(listed)
        house = House(site, carriers, ports, next_customer=first)
        try:
            for name in ("server 1", "server 2", "worker 1", "worker 2"):
                await asyncio.to_thread(house.start, name)
            for _ in range(3):  # the workers are at work when codes come at once
                await house.one(house.next_customer)
                house.next_customer += 1
            house.seen.clear()
            yield house
        finally:
            carriers.let()
            for stub in carriers.all:
                stub.release()
            await asyncio.to_thread(house.stop)


def percentile(values: list[float], share: float) -> float:
    """Return the value below which that share lies."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(len(ordered) * share))]


def told(name: str, **figures: Any) -> None:
    """Say a figure, for the docs."""
    print(json.dumps({"told": name, **figures}))
