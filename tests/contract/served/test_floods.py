"""Slow and flooding clients against the real server and the real EST door (F47, I41): nobody can stop them by waiting.

The short form has small limits; the drill, in `make soak`, has the shipped ones and measures memory.
"""

import asyncio
import base64
import json
import resource
import ssl
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

import httpx2
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509 import ocsp

from tests.contract.est.site import Site, running
from tests.contract.served.clients import ENDS_WITHIN_S, Line, Rude, memory_mib, rude, still_open
from tests.contract.served.serving import Served, Visit, serve, session
from tests.contract.world import BEN, World, world_fixture

world = world_fixture(("sqlite",))
PLACES, A_NETWORK, STATUS = 24, 6, 4
SMALL = {
    "CHOPMARK_LIMITS__CONNECTIONS": str(PLACES),
    "CHOPMARK_LIMITS__CONNECTIONS_A_NETWORK": str(A_NETWORK),
    "CHOPMARK_LIMITS__REQUESTS": "4",
    "CHOPMARK_LIMITS__STATUS_REQUESTS": str(STATUS),
    "CHOPMARK_LIMITS__HEAD_OCTETS": "4096",
}
TIMES = tuple(f"CHOPMARK_LIMITS__{name}_S" for name in ("FIRST_BYTE", "HEAD", "BODY", "IDLE"))
PATIENT, SHORT = SMALL | dict.fromkeys(TIMES, "120"), SMALL | dict.fromkeys(TIMES, "1")
GET = b"GET /health/live HTTP/1.1\r\nhost: a\r\n\r\n"
LAST = b"GET /health/live HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n"
HALF_BODY = b"POST /ocsp/investor HTTP/1.1\r\nhost: a\r\ncontent-length: 300\r\n\r\n0"
HALVES = {"silent": b"", "half a line": b"GET /sig", "half a head": b"GET / HTTP/1.1\r\nx: ", "half a body": HALF_BODY}
FLOOD, NETWORKS = 60, 20


class Asked:
    """What relying parties and monitoring ask, each on a connection of its own."""

    def __init__(self, world: World, token: str) -> None:
        self.token = token
        record = x509.load_der_x509_certificate(world.held[BEN].certificate.der)
        issuer = x509.load_der_x509_certificate(world.services.ca.authority.view.certificate_der)
        builder = ocsp.OCSPRequestBuilder().add_certificate(record, issuer, hashes.SHA256())
        self.question = builder.build().public_bytes(Encoding.DER)

    async def statuses(self, served: Served) -> list[int]:
        path = quote(base64.b64encode(self.question).decode(), safe="")
        alone = {"connection": "close"}
        answers = [
            await served.request("POST", "/ocsp/investor", content=self.question, headers=alone),
            await served.request("GET", f"/ocsp/investor/{path}", headers=alone),
            await served.request("GET", "/pki/investor-0.crl", headers=alone),
            await served.request("GET", "/health/live", headers=alone),
            await served.request("GET", "/sign-in", headers=alone),
        ]
        return [answer.status_code for answer in answers]

    async def status(self, served: Served) -> list[int]:
        """Only what relying parties ask."""
        alone = {"connection": "close"}
        answers = [
            await served.request("POST", "/ocsp/investor", content=self.question, headers=alone),
            await served.request("GET", "/pki/investor-0.crl", headers=alone),
        ]
        return [answer.status_code for answer in answers]


ALL = [200] * 5


@asynccontextmanager
async def server(world: World, tmp_path: Path, **limits: str) -> AsyncIterator[tuple[Served, Rude, Asked]]:
    """A server with a certificate to ask about."""
    await world.to_active(BEN)
    await world.once("publish")
    asked = Asked(world, await session(world, BEN))
    await world.close()
    served = serve(world, tmp_path, more=limits, client=httpx2.AsyncClient(timeout=ENDS_WITHIN_S))
    try:
        served.start("server")
        await served.ready()
        async with rude(served.port) as clients:
            yield served, clients, asked
    finally:
        await served.close()


async def test_whoever_only_waits_makes_room_and_everybody_is_answered(world: World, tmp_path: Path) -> None:
    """The deadlines are far away, so that only making room can help."""
    async with server(world, tmp_path, **PATIENT) as (served, clients, asked):
        for data in HALVES.values():
            lines = await clients.flood(FLOOD, data, NETWORKS)
            assert await asked.statuses(served) == ALL
            assert await still_open(lines) <= PLACES
        one = await clients.flood(FLOOD, b"", 1)
        assert await asked.statuses(served) == ALL
        assert 0 < await still_open(one) <= A_NETWORK, "newcomers take the places of whoever has the most"


async def test_what_waits_comes_to_its_end_by_itself_and_is_told_why(world: World, tmp_path: Path) -> None:
    async with server(world, tmp_path, **SHORT) as (_, clients, __):
        silent = await clients.connect(0)
        halves = [await clients.connect(1) for _ in range(3)]
        for line, data in zip(halves, list(HALVES.values())[1:], strict=True):
            assert await line.send(data)
        kept = await clients.connect(2)
        assert await kept.send(GET)
        said = [await line.rest() for line in (silent, *halves, kept)]
        assert said[0] == b""
        assert [one[:13] for one in said[1:]] == [b"HTTP/1.1 408 "] * 3 + [b"HTTP/1.1 200 "]
        assert all(b"\r\nconnection: close\r\n" in one for one in said[1:4])


async def test_a_head_that_drips_ends_although_something_comes_all_the_time(world: World, tmp_path: Path) -> None:
    async with server(world, tmp_path, **SHORT) as (_, clients, __):
        line = await clients.connect()
        assert await line.send(b"GET / HTTP/1.1\r\nhost: a\r\nx: ")
        dripped = 0
        async with asyncio.timeout(ENDS_WITHIN_S):
            while await line.send(b"y") and await line.open():
                dripped += 1
        assert dripped > 5


async def test_heads_without_end_and_requests_in_piles_are_refused(world: World, tmp_path: Path) -> None:
    async with server(world, tmp_path, **PATIENT) as (served, clients, asked):
        for head in (b"GET /" + b"a" * 8192, b"GET / HTTP/1.1\r\n" + b"a: b\r\n" * 1000):
            line = await clients.connect()
            await line.send(head)
            said = await line.rest()
            assert said.startswith(b"HTTP/1.1 431 ")
            assert b"\r\nconnection: close\r\n" in said
        line = await clients.connect()
        await line.send(GET * 1000)
        assert (await line.rest()).count(b"HTTP/1.1 200 ") < 10
        line = await clients.connect()
        await line.send(b"nonsense\r\n\r\n")
        assert (await line.rest()).startswith(b"HTTP/1.1 400 ")
        assert await asked.statuses(served) == ALL


async def test_half_bodies_take_no_place_of_status(world: World, tmp_path: Path) -> None:
    async with server(world, tmp_path, **PATIENT) as (served, clients, asked):
        lines = await clients.flood(2 * STATUS, HALF_BODY, 2 * STATUS)
        assert await asked.statuses(served) == ALL
        assert await still_open(lines) == 2 * STATUS


async def test_good_clients_notice_nothing(world: World, tmp_path: Path) -> None:
    async with server(world, tmp_path, **PATIENT) as (_, clients, asked):
        line = await clients.connect()
        assert await line.send(GET * 3 + LAST)
        assert (await line.rest()).count(b"HTTP/1.1 200 ") == 4
        line = await clients.connect()
        length = len(asked.question)
        await line.send(b"POST /ocsp/investor HTTP/1.1\r\nhost: a\r\nexpect: 100-continue\r\nconnection: close\r\n")
        await line.send(b"content-length: %d\r\n\r\n" % length)
        assert await line.reader.readexactly(25) == b"HTTP/1.1 100 Continue\r\n\r\n"
        await line.send(asked.question)
        assert (await line.rest()).startswith(b"HTTP/1.1 200 ")
        line = await clients.connect()
        await line.send(b"POST /sign-in HTTP/1.1\r\nhost: a\r\nconnection: close\r\n")
        await line.send(b"content-length: 70000\r\n\r\n" + b"x" * 70000)
        assert (await line.rest())[:12] in {b"HTTP/1.1 413", b"HTTP/1.1 403"}


@dataclass(frozen=True)
class Pump:
    """A process of its own that asks for whole pages without end."""

    process: subprocess.Popen[str]

    async def refused(self) -> None:
        """Wait until the flood is there: until one of these strangers is asked to come again."""
        assert self.process.stdout is not None
        assert await asyncio.to_thread(self.process.stdout.readline) == "later\n"

    def told(self) -> dict[str, int]:
        """End it, and return what it was told."""
        return dict(json.loads(self.process.communicate("", timeout=ENDS_WITHIN_S)[0]))


@contextmanager
def pumping(served: Served, connections: int, networks: int) -> Iterator[Pump]:
    """Flood a server."""
    arguments = [str(served.port), str(connections), str(networks)]
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.contract.served.pump", *arguments],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        yield Pump(process)
    finally:
        process.kill()
        process.communicate()


async def renews(visit: Visit) -> int:
    """Look at one's certificates as a customer who has signed in; return what came of it."""
    headers = {"Cookie": f"__Host-chopmark={visit.token}", "connection": "close"}
    return (await visit.served.request("GET", "/certificates", headers=headers)).status_code


async def test_a_flood_of_whole_requests_stops_neither_status_nor_customers_and_strangers_are_asked_to_come_again(
    world: World, tmp_path: Path
) -> None:
    limits = {"CHOPMARK_LIMITS__REQUESTS": "8", "CHOPMARK_LIMITS__STATUS_REQUESTS": "4"}
    async with server(world, tmp_path, **limits) as (served, _, asked):
        visit = await served.visit(asked.token)
        with pumping(served, FLOOD, 14) as pump:
            await pump.refused()
            for _ in range(5):
                assert await asked.status(served) == [200, 200]
                assert await renews(visit) == 200
            said = pump.told()
        assert said["503 later"] > 0
        assert said["200"] > 0, "some strangers are let in all the time"


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Site:
    return Site.make(tmp_path_factory.mktemp("site"))


def trusting(site: Site) -> ssl.SSLContext:
    return ssl.create_default_context(cafile=str(site.folder / "server-root.pem"))


def at_the_door(
    site: Site, folder: Path, limits: dict[str, str], doing: Callable[[Rude, int], Awaitable[None]]
) -> None:
    """Run the EST door that ends TLS itself, and let clients have it."""

    async def inside(port: int, pid: int) -> None:
        async with rude(port, trusting(site)) as clients:
            await doing(clients, pid)

    with running(site, "direct", folder, **limits) as door:
        asyncio.run(inside(door.port, door.pid))


async def live(clients: Rude) -> bytes:
    line = await clients.connect(249, server_hostname="localhost")
    await line.send(LAST)
    return (await line.rest())[:13]


def test_the_est_door_counts_from_the_first_packet_on(site: Site, tmp_path: Path) -> None:
    async def doing(clients: Rude, _: int) -> None:
        never = await clients.flood(FLOOD, b"", NETWORKS, ssl=None)
        assert await live(clients) == b"HTTP/1.1 200 "
        assert await still_open(never) <= PLACES
        one = await clients.flood(FLOOD, b"", 1, ssl=None)
        assert await live(clients) == b"HTTP/1.1 200 "
        assert 0 < await still_open(one) <= A_NETWORK, "newcomers take the places of whoever has the most"
        halves = await clients.flood(FLOOD, b"GET /", NETWORKS, server_hostname="localhost")
        assert await live(clients) == b"HTTP/1.1 200 "
        assert await still_open(halves) <= PLACES

    at_the_door(site, tmp_path, PATIENT, doing)


def test_the_est_door_has_an_end_for_whoever_waits_before_or_in_tls(site: Site, tmp_path: Path) -> None:
    async def doing(clients: Rude, _: int) -> None:
        tcp = await clients.connect(0, ssl=None)
        silent = await clients.connect(1, server_hostname="localhost")
        half = await clients.connect(2, server_hostname="localhost")
        endless = await clients.connect(3, server_hostname="localhost")
        await half.send(b"GET / HTTP/1.1\r\nx")
        await endless.send(b"GET / HTTP/1.1\r\n" + b"a: b\r\n" * 1000)
        said = [await line.rest() for line in (tcp, silent, half, endless)]
        assert [one[:13] for one in said] == [b"", b"", b"HTTP/1.1 408 ", b"HTTP/1.1 431 "]
        assert await live(clients) == b"HTTP/1.1 200 "

    at_the_door(site, tmp_path, SHORT, doing)


MANY, BEYOND = 600, 1100
GROWS_BY_MIB = 64
"""What all the floods together may cost; without limits one of them costs 300 and more."""


@pytest.fixture
def files() -> Iterator[None]:
    """As many open files as this machine lets a process have."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, min(hard, 4 * BEYOND)), hard))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


async def pours(line: Line, head: bytes, piece: bytes, most: int = 64 * 1024 * 1024) -> None:
    """Send without end; nobody takes as much as this."""
    await line.send(head)
    for _ in range(most // len(piece)):
        if not await line.send(piece):
            return
    raise AssertionError("nobody has ended this")


async def poured(clients: Rude) -> None:
    """Header lines, a line, a body and requests, each without end."""
    await pours(await clients.connect(), b"GET / HTTP/1.1\r\n", b"a: b\r\n" * 10_000)
    await pours(await clients.connect(), b"GET /", b"a" * 65536)
    for _ in range(4):
        await pours(await clients.connect(), b"", GET * 2000)


@pytest.mark.soak
async def test_drill_the_server_bears_512_silent_clients_and_endless_ones_with_its_shipped_limits(
    world: World, tmp_path: Path, files: None
) -> None:
    async with server(world, tmp_path) as (served, clients, asked):
        assert await asked.statuses(served) == ALL
        before = memory_mib(served.processes["server"].pid)
        for data in (*HALVES.values(), GET):
            lines = await clients.flood(MANY, data, NETWORKS)
            assert await asked.statuses(served) == ALL
            assert await still_open(lines) <= 512
        await poured(clients)
        assert await asked.statuses(served) == ALL
        assert memory_mib(served.processes["server"].pid) - before < GROWS_BY_MIB


ANSWERED_WITHIN_S = 2.0


@pytest.mark.soak
async def test_drill_seven_hundred_who_ask_for_whole_pages_leave_status_its_two_seconds(
    world: World, tmp_path: Path, files: None
) -> None:
    async with server(world, tmp_path) as (served, _, asked):
        visit = await served.visit(asked.token)
        with pumping(served, 700, 14) as pump:
            await pump.refused()
            took = []
            for _ in range(20):
                began = time.monotonic()
                assert await asked.status(served) == [200, 200]
                took.append((time.monotonic() - began) / 2)
                assert await renews(visit) == 200
            assert pump.told()["503 later"] > 0
        assert sorted(took)[len(took) // 2] < ANSWERED_WITHIN_S, took


@pytest.mark.soak
def test_drill_the_est_door_bears_them_too(site: Site, tmp_path: Path, files: None) -> None:
    async def doing(clients: Rude, pid: int) -> None:
        assert await live(clients) == b"HTTP/1.1 200 "
        before = memory_mib(pid)
        await clients.flood(BEYOND, b"", NETWORKS, ssl=None)
        assert await live(clients) == b"HTTP/1.1 200 "
        for data in HALVES.values():
            lines = await clients.flood(MANY, data, NETWORKS, server_hostname="localhost")
            assert await live(clients) == b"HTTP/1.1 200 "
            assert await still_open(lines) <= 512
        assert memory_mib(pid) - before < 2 * GROWS_BY_MIB

    at_the_door(site, tmp_path, {}, doing)
