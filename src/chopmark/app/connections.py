"""Limits of time, size and number for connections, so that clients cannot exhaust a process.

uvicorn limits only the pause between two requests. Measured without these limits: after 512 silent connections
everybody gets 503, OCSP clients included; endless header lines or pipelined requests of one client take 300 MiB.
"""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from ipaddress import IPv4Network, IPv6Network
from logging import ERROR, getLogger
from typing import Any, Final, cast

import structlog
from uvicorn.protocols.http.flow_control import HIGH_WATER_LIMIT
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol, RequestResponseCycle
from uvicorn.protocols.utils import get_remote_addr

from chopmark.app.settings import Limits, Settings
from chopmark.limits.places import Places, counted_as
from chopmark.web.asgi.client_address import EVERYWHERE, read_address, read_networks
from chopmark.web.state import LEAVING

log = structlog.get_logger()

MOST_HEADERS: Final = 100
MOST_PIPELINED: Final = 4
"""So many pipelined requests may wait behind the present one; browsers send none. uvicorn would keep any number."""
STATUS: Final = ("/ocsp/", "/pki/", "/health/")
"""Paths that are also served on reserved connections; other requests there are refused before they cost anything."""
LINGER_S: Final = 2.0
"""How long a client may take to read an answer that ends its connection."""
SWEPT_EVERY_S: Final = 0.25
TOLD_EVERY_S: Final = 60.0
_PIECE: Final = 16 * 1024
"""So many octets are parsed before the head's size is checked again; one read returns up to 256 KiB."""
_NOTHING, _HEAD, _BODY = range(3)
"""How much of a request has arrived: nothing, a part of its head, or its head and perhaps a part of its body."""
_quiet = getLogger("chopmark.clients")
_quiet.setLevel(ERROR)  # one log line for each malformed request would flood the log; they are counted instead


class _TooLarge(Exception):
    """A head, or the pipelined requests together, are larger than any legitimate ones."""


@dataclass(frozen=True, slots=True)
class Rules:
    """What holds for a process's connections; `trusted` are the proxies, which are not counted by their address."""

    limits: Limits
    trusted: tuple[IPv4Network | IPv6Network, ...]


class Gate:
    """What the connections of one process share: their places, and the look at who has run out of time."""

    def __init__(self, rules: Rules) -> None:
        self.limits = rules.limits
        self.patience = (rules.limits.answer_s, rules.limits.head_s, rules.limits.body_s)
        self._trusted = rules.trusted
        self._places: Places[Bounded] = Places(
            rules.limits.connections, rules.limits.connections_a_network, rules.limits.status_requests
        )
        self._watching = False
        self._ended: dict[str, int] = {}
        self._told_next = 0.0

    def network_of(self, client: tuple[str, int] | None) -> str:
        """Return the network for which a connection counts; empty for a trusted proxy and for a Unix socket."""
        said = client[0] if client else ""
        address = read_address(said)
        if address is None:
            return said
        return "" if any(address in network for network in self._trusted) else counted_as(address)

    def enter(self, guest: "Bounded") -> bool:
        """Give a new connection a place if possible; the one that has waited longest may be closed for it."""
        if not self._watching:
            self._watching = True
            guest.loop.call_later(SWEPT_EVERY_S, self._sweep, guest.loop, guest.connections)
        entry = self._places.enter(guest)
        if entry.leaves is not None:
            self.count("room")
            entry.leaves.give_way()
        guest.reserved = entry.reserved
        if not entry.admitted:
            self.count("full")
        return entry.admitted

    def leave(self, guest: "Bounded") -> None:
        """Free a connection's place; a second call does nothing."""
        self._places.leave(guest)

    def count(self, why: str) -> None:
        """Count a connection that we have closed; the number is logged once a minute."""
        self._ended[why] = self._ended.get(why, 0) + 1

    def _sweep(self, loop: asyncio.AbstractEventLoop, connections: set[Any]) -> None:
        now = loop.time()
        for guest in [one for one in connections if one.due <= now]:
            guest.expire()
        if self._ended and now >= self._told_next:
            for why, count in self._ended.items():
                log.warning("connections ended", code="clients.ended", kind=why, count=count)
            self._ended.clear()
            self._told_next = now + TOLD_EVERY_S
        self._watching = bool(connections)
        if self._watching:
            loop.call_later(SWEPT_EVERY_S, self._sweep, loop, connections)


class Bounded(HttpToolsProtocol):
    """uvicorn's HTTP/1.1 with limits for waiting, heads, bodies and pipelined requests.

    The application gets a request when all of it has arrived, so that slow bodies do not count as requests in progress.
    """

    def __init__(self, *args: Any, gate: Gate, **named: Any) -> None:
        super().__init__(*args, **named)
        self.logger = _quiet
        self.network = ""
        self.waits_since: float | None = None
        self.due = float("inf")
        self.reserved = False
        self._gate = gate
        self._reading = _NOTHING
        self._head = 0
        self._heads = 0
        self._held: tuple[RequestResponseCycle, Any] | None = None
        self._answering: RequestResponseCycle | None = None
        self._refused = 400

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Accept a new connection, or close it."""
        wire = cast("asyncio.Transport", transport)
        arrived = self.waits_since is not None or self.arrive(wire)
        super().connection_made(wire)
        self._wait(self._gate.limits.first_byte_s)
        if not arrived:
            self._end(503)

    def arrive(self, transport: asyncio.Transport) -> bool:
        """Take a place, before TLS begins if there is TLS; tell whether there was one."""
        self.transport = transport
        self.network = self._gate.network_of(get_remote_addr(transport))
        self.waits_since = self.loop.time()
        return self._gate.enter(self)

    def connection_lost(self, exc: Exception | None) -> None:
        """Give the place back."""
        super().connection_lost(exc)
        self._held = None
        self._tell_leaving()
        self.depart()

    def shutdown(self) -> None:
        """End as soon as the answer under way is given; one that waits for something need not wait longer."""
        self._tell_leaving()
        super().shutdown()

    def _tell_leaving(self) -> None:
        if self._answering is not None:
            cast("dict[str, Any]", self._answering.scope)[LEAVING] = True

    def depart(self) -> None:
        """Free the place; a second call does nothing."""
        self._gate.leave(self)

    def data_received(self, data: bytes) -> None:
        """Parse the received octets piece by piece, and start the time limit of what begins with them."""
        reading, heads = self._reading, self._heads
        if reading == _NOTHING:
            self._reading, self._head = _HEAD, 0
        if len(data) <= _PIECE:
            self._parse(data)
        else:
            for start in range(0, len(data), _PIECE):
                if not self.transport.is_closing():
                    self._parse(data[start : start + _PIECE])
        moved = self._reading != reading or self._heads != heads
        if moved and self._answering is None and not self.transport.is_closing():
            self._wait()

    def _parse(self, piece: bytes) -> None:
        """Parse a piece, and measure the head or the body that is under way after it."""
        heads = self._heads
        super().data_received(piece)
        if self._reading == _HEAD:
            self._head = 0 if self._heads != heads else self._head + len(piece)
            if self._head > self._gate.limits.head_octets and not self.transport.is_closing():
                self._refused = 431
                self.send_400_response("")
        elif self._held is not None and len(self._held[0].body) > HIGH_WATER_LIMIT:
            self._release()

    def on_headers_complete(self) -> None:
        """Begin the body, unless the head is too large or too many pipelined requests wait."""
        if len(self.headers) > MOST_HEADERS:
            self._refused = 431
            raise _TooLarge
        if len(self.pipeline) >= MOST_PIPELINED:
            raise _TooLarge
        self._heads += 1
        self._reading = _BODY
        super().on_headers_complete()

    def on_message_complete(self) -> None:
        """Have the request answered."""
        super().on_message_complete()
        self._release()
        self._reading = _NOTHING

    def _start_asgi_task(self, cycle: RequestResponseCycle, app: Any) -> None:
        self._held = cycle, app
        if cycle.waiting_for_100_continue:
            cycle.waiting_for_100_continue = False
            self.transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        if not cycle.more_body:
            self._release()

    def _release(self) -> None:
        """Pass the complete request to the application, and start the time limit of the answer."""
        if self._held is not None:
            (cycle, app), self._held = self._held, None
            if self.reserved and not cycle.scope["path"].startswith(STATUS):
                self._gate.count("full")
                self._end(503)
                return
            self._answering, self.waits_since = cycle, None
            self.due = self.loop.time() + self._gate.limits.answer_s
            super()._start_asgi_task(cycle, app)

    def on_response_complete(self) -> None:
        """Wait again, or answer what was sent meanwhile; uvicorn's own timer ends a pause that is too long.

        Who goes on sending a body that was answered already has a moment to read the answer.
        """
        self._answering = None
        super().on_response_complete()
        if self._answering is None:
            self._wait(LINGER_S if self._reading == _BODY else None)

    def _wait(self, most: float | None = None) -> None:
        """Set how long what is read may take. A pause has the time of an answer that is still being fetched."""
        self.waits_since = self.loop.time()
        self.due = self.waits_since + (self._gate.patience[self._reading] if most is None else most)

    def expire(self) -> None:
        """Close a connection whose time is over; a client that has begun a request gets 408."""
        if self.transport.is_closing():
            self.transport.abort()
            return
        if self._answering is not None:
            self.transport.abort()
        elif self._reading == _NOTHING or (self._reading == _BODY and self.cycle.response_complete):
            self.give_way()
        else:
            self._end(408)
        self._gate.count("slow")

    def give_way(self) -> None:
        """Close this connection, to free its place or because the process ends."""
        if self.transport.get_write_buffer_size():
            self.transport.abort()
        self.due = self.loop.time() + LINGER_S
        self.transport.close()

    def send_400_response(self, msg: str) -> None:
        """Refuse what cannot be read or is too large; in the middle of another answer there is no way to say so."""
        del msg
        self._gate.count("malformed" if self._refused == 400 else "large")
        if self._answering is None:
            self._end(self._refused)
        else:
            self.transport.abort()

    def _end(self, status: int) -> None:
        self._held = None
        self.due = self.loop.time() + LINGER_S
        date = b"".join(b"%s: %s\r\n" % header for header in self.server_state.default_headers)
        retry = b"retry-after: 5\r\n" if status == 503 else b""
        self.transport.write(
            b"%scontent-length: 0\r\nconnection: close\r\n%s%s\r\n" % (STATUS_LINE[status], retry, date)
        )
        self.transport.close()


def rules_of(settings: Settings) -> Rules:
    """Return the limits for a process's connections."""
    before = EVERYWHERE if settings.client_address_header else ()
    return Rules(settings.limits, (*before, *read_networks(settings.proxy.networks)))


def bounded(settings: Settings, kind: type[Bounded] = Bounded) -> Callable[..., Bounded]:
    """Return the factory of a process's connections; uvicorn sends it to its workers, so it holds nothing open."""
    return partial(kind, gate=Gate(rules_of(settings)))
