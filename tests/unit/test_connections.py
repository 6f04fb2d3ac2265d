"""A connection's time, octets and number, with a clock and a transport of the test's own."""

import asyncio
import pickle
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

import pytest
import uvicorn
from structlog.testing import capture_logs
from uvicorn.server import ServerState

from chopmark.app.connections import MOST_HEADERS, MOST_PIPELINED, TOLD_EVERY_S, Bounded, Gate, rules_of
from chopmark.app.server import server_config
from chopmark.app.settings import Limits, Settings
from chopmark.app.settings_topics import Proxy

GET = b"GET /x HTTP/1.1\r\nhost: a\r\n\r\n"
LIMITS = Limits(
    connections=16,
    connections_a_network=3,
    requests=4,
    status_requests=4,
    head_octets=4096,
    first_byte_s=5,
    head_s=7,
    body_s=11,
    idle_s=13,
    answer_s=17,
)
PEER = ("192.0.2.7", 40000)


@dataclass(eq=False)
class Loop:
    """A clock that stands, and what is to be called later."""

    at: float = 1000.0
    later: list[tuple[float, Callable[..., None], tuple[Any, ...]]] = field(default_factory=list)
    tasks: list[Any] = field(default_factory=list)

    def time(self) -> float:
        return self.at

    def call_later(self, delay: float, call: Callable[..., None], *args: Any) -> asyncio.TimerHandle:
        self.later.append((self.at + delay, call, args))
        return cast("asyncio.TimerHandle", self)

    def cancel(self) -> None:
        """Be a timer that is not needed any more."""
        self.later = [one for one in self.later if one[1].__name__ == "_sweep"]

    def create_task(self, coroutine: Any) -> Any:
        self.tasks.append(coroutine)
        return self

    def add_done_callback(self, _: Any) -> None:
        """Be a task."""

    def passes(self, seconds: float) -> None:
        """Let time pass, and what is due happen."""
        end = self.at + seconds
        while due := [one for one in self.later if one[0] <= end]:
            one = min(due, key=lambda one: one[0])
            self.later.remove(one)
            self.at = max(self.at, one[0])
            one[1](*one[2])
        self.at = end

    def run(self) -> None:
        """Let the application answer what has come."""
        while self.tasks:
            with pytest.raises(StopIteration):
                self.tasks.pop(0).send(None)


@dataclass
class Wire:
    """The transport: what was written, and how it ended."""

    peer: tuple[str, int] = PEER
    written: bytes = b""
    ended: str = ""
    unread: int = 0
    protocol: Bounded | None = None

    @property
    def open(self) -> bool:
        return not self.ended

    def get_extra_info(self, name: str) -> Any:
        return {"peername": self.peer, "sockname": ("192.0.2.1", 443)}.get(name)

    def write(self, data: bytes) -> None:
        self.written += data

    def get_write_buffer_size(self) -> int:
        return self.unread

    def is_closing(self) -> bool:
        return self.ended != ""

    def close(self) -> None:
        self.ended = self.ended or "closed"

    def abort(self) -> None:
        self.ended = "aborted"

    def pause_reading(self) -> None:
        """Nothing is read by itself here."""

    resume_reading = pause_reading


async def application(scope: Any, receive: Any, send: Any) -> None:
    """Read the body and answer."""
    body = b""
    while (message := await receive())["more_body"]:
        body += message["body"]
    del scope
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"2")]})
    await send({"type": "http.response.body", "body": b"ok"})


class House:
    """A process's connections."""

    def __init__(self, **named: Any) -> None:
        self.settings = Settings(mode="demo", limits=LIMITS, **named)
        self.loop, self.state, self.gate = Loop(), ServerState(), Gate(rules_of(self.settings))
        self.config = uvicorn.Config(application, timeout_keep_alive=LIMITS.idle_s, lifespan="off", access_log=False)

    def connect(self, address: str = PEER[0]) -> tuple[Wire, Bounded]:
        loop = cast("asyncio.AbstractEventLoop", self.loop)
        guest = Bounded(self.config, self.state, {}, loop, gate=self.gate)
        wire = Wire((address, 40000), protocol=guest)
        guest.connection_made(cast("asyncio.Transport", wire))
        return wire, guest


@pytest.fixture
def house() -> Iterator[House]:
    made = House()
    yield made
    for task in made.loop.tasks:
        task.close()


def test_a_silent_connection_ends_without_a_word_when_its_first_byte_is_due(house: House) -> None:
    wire, _ = house.connect()
    house.loop.passes(4.5)
    assert wire.open
    house.loop.passes(1)
    assert (wire.ended, wire.written) == ("closed", b"")


@pytest.mark.parametrize("begun", [b"GET /si", b"GET / HTTP/1.1\r\nhost: a\r\nx", b"\r\n"])
def test_a_head_has_its_time_however_slowly_it_comes(house: House, begun: bytes) -> None:
    wire, guest = house.connect()
    for octet in begun:
        house.loop.passes(0.2)
        guest.data_received(bytes([octet]))
    house.loop.passes(6.8 - 0.2 * (len(begun) - 1))
    assert wire.open
    house.loop.passes(1)
    assert wire.ended == "closed"
    assert wire.written.startswith(b"HTTP/1.1 408 ")


def test_a_body_has_its_time_and_the_application_never_hears_of_half_a_request(house: House) -> None:
    wire, guest = house.connect()
    guest.data_received(b"POST /x HTTP/1.1\r\nhost: a\r\ncontent-length: 9\r\n\r\n1234")
    house.loop.passes(10.5)
    assert wire.open
    assert house.loop.tasks == []
    house.loop.passes(1)
    assert wire.written.startswith(b"HTTP/1.1 408 ")
    assert house.loop.tasks == []


def test_a_whole_request_has_the_time_of_an_answer_and_gives_way_to_nobody(house: House) -> None:
    wire, guest = house.connect()
    guest.data_received(GET)
    assert guest.waits_since is None
    house.loop.passes(16.5)
    assert wire.open
    house.loop.passes(1)
    assert wire.ended == "aborted"


def test_a_pause_between_two_requests_ends_and_an_answer_that_nobody_fetches_does_too(house: House) -> None:
    wire, guest = house.connect()
    guest.data_received(GET)
    house.loop.run()
    assert wire.written.endswith(b"ok")
    house.loop.passes(12.5)
    guest.data_received(GET)
    house.loop.run()
    wire.unread = 100
    house.loop.passes(13.5)
    assert wire.ended == "closed"
    house.loop.passes(4)
    assert wire.ended == "aborted"


def test_a_body_that_nobody_wants_any_more_has_a_moment(house: House) -> None:
    wire, guest = house.connect()
    guest.data_received(b"POST /x HTTP/1.1\r\nhost: a\r\ncontent-length: 90000\r\n\r\n" + b"x" * 70000)
    assert len(house.loop.tasks) == 1
    guest.cycle.response_complete = True
    guest.on_response_complete()
    house.loop.passes(1.5)
    guest.data_received(b"x")
    house.loop.passes(1)
    assert (wire.ended, wire.written) == ("closed", b"")


@pytest.mark.parametrize(
    "head",
    [
        b"GET /" + b"x" * 9000,
        b"GET / HTTP/1.1\r\nhost: a\r\nx: " + b"y" * 9000,
        b"GET / HTTP/1.1\r\n" + b"a: b\r\n" * 1500,
        b"GET / HTTP/1.1\r\n" + b"a: b\r\n" * (MOST_HEADERS + 1) + b"\r\n",
    ],
    ids=["line", "one header", "endless headers", "many headers"],
)
def test_a_head_that_is_too_large_is_refused_and_said_so(house: House, head: bytes) -> None:
    wire, guest = house.connect()
    for start in range(0, len(head), 1000):
        if not wire.ended:
            guest.data_received(head[start : start + 1000])
    assert wire.written.startswith(b"HTTP/1.1 431 ")
    assert wire.ended == "closed"
    assert house.loop.tasks == []


def test_a_head_of_the_allowed_size_is_answered_also_behind_a_large_body(house: House) -> None:
    _, guest = house.connect()
    guest.data_received(b"GET / HTTP/1.1\r\n" + b"x: %s\r\n" % (b"y" * 30) * MOST_HEADERS + b"\r\n")
    house.loop.run()
    guest.data_received(b"POST /x HTTP/1.1\r\ncontent-length: 60000\r\n\r\n" + b"x" * 60000)
    house.loop.run()
    guest.data_received(GET)
    house.loop.run()
    assert house.state.total_requests == 3


def test_what_is_no_http_is_refused(house: House) -> None:
    wire, guest = house.connect()
    guest.data_received(b"\x16\x03\x01\x02\x00\x01\x00")
    assert wire.written.startswith(b"HTTP/1.1 400 ")
    assert wire.ended == "closed"


def test_requests_that_are_piled_up_are_few_and_the_few_are_answered(house: House) -> None:
    wire, guest = house.connect()
    guest.data_received(GET * (1 + MOST_PIPELINED))
    house.loop.run()
    assert wire.written.count(b"HTTP/1.1 200 ") == 1 + MOST_PIPELINED
    assert wire.open
    guest.data_received(GET * (2 + MOST_PIPELINED))
    assert wire.ended == "aborted"


def test_whoever_expects_to_be_told_to_go_on_is_told(house: House) -> None:
    wire, guest = house.connect()
    guest.data_received(b"POST /x HTTP/1.1\r\nhost: a\r\nexpect: 100-continue\r\ncontent-length: 2\r\n\r\n")
    assert wire.written == b"HTTP/1.1 100 Continue\r\n\r\n"
    guest.data_received(b"ab")
    house.loop.run()
    assert wire.written.endswith(b"ok")


def test_a_network_has_its_number_of_connections_and_a_trusted_proxy_has_no_number() -> None:
    house = House(proxy=Proxy(in_front="yes", networks="192.0.2.128/25"))
    first = [house.connect()[0] for _ in range(4)]
    assert [wire.ended for wire in first] == ["closed", "", "", ""]
    proxy = [house.connect("192.0.2.200")[0] for _ in range(8)]
    assert {wire.ended for wire in proxy} == {""}
    assert house.gate.network_of(("2001:db8::1", 1)) == house.gate.network_of(("2001:db8::2", 1)) == "2001:db8::/64"
    assert house.gate.network_of(("fe80::1%eth0", 1)) == "fe80::1%eth0"
    assert house.gate.network_of(None) == ""


def test_where_everybody_is_being_answered_a_newcomer_is_sent_away(house: House) -> None:
    for _ in range(3):
        house.connect()[1].data_received(GET)
    wire, _ = house.connect()
    assert wire.written.startswith(b"HTTP/1.1 503 ")
    assert b"retry-after: 5\r\n" in wire.written
    assert wire.ended == "closed"


def test_a_portal_full_of_whole_requests_leaves_a_reserve_that_only_status_is_answered_from(house: House) -> None:
    for number in range(LIMITS.connections):
        house.connect(f"192.0.2.{number}")[1].data_received(GET)
    portal, guest = house.connect("198.51.100.1")
    guest.data_received(GET)
    assert portal.written.startswith(b"HTTP/1.1 503 ")
    asked = len(house.loop.tasks)
    for path in (b"/ocsp/investor/MAA", b"/pki/investor-0.crl", b"/health/live"):
        status, guest = house.connect("198.51.100.2")
        guest.data_received(GET.replace(b"/x", path))
        assert status.open
    assert len(house.loop.tasks) == asked + 3


def test_a_connection_that_is_gone_gives_its_place_back(house: House) -> None:
    guests = [house.connect()[1] for _ in range(3)]
    for guest in guests:
        guest.data_received(GET)
    guests[0].connection_lost(None)
    assert house.connect()[0].open
    assert [guest.transport.is_closing() for guest in guests[1:]] == [False, False]


def test_the_log_counts_what_was_ended_once_a_minute_and_names_nobody(house: House) -> None:
    with capture_logs() as lines:
        for _ in range(9):
            house.connect()
        house.loop.passes(1)
        for _ in range(5):
            house.connect("192.0.2.9")
        house.loop.passes(TOLD_EVERY_S)
    assert (lines[0]["kind"], lines[0]["count"]) == ("room", 6)
    assert sum(line["count"] for line in lines if line["kind"] == "room") == 8
    assert all("192.0.2" not in str(line) for line in lines)


def test_what_uvicorn_sends_to_its_workers_can_be_sent(tmp_path: Path) -> None:
    config = server_config("chopmark.app.server:production", Settings(mode="demo", data=tmp_path), factory=True)
    sent = pickle.loads(pickle.dumps(config))
    assert sent.http.func is Bounded
    assert sent.timeout_keep_alive == 15
    assert sent.limit_concurrency is None
