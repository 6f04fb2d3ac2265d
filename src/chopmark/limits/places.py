"""Limits how many connections a process keeps open, in all and from one network.

A connection *waits* while it has sent no complete request: it was opened and is silent, has sent a part of a request,
or is kept open after an answer. If all places are taken and a new connection comes, a waiting connection is closed: of
the network that has the most connections, the one that has waited the longest. A connection whose request is being
answered is never closed.
"""

from ipaddress import IPv4Address, IPv6Address, ip_network
from typing import Final, Generic, NamedTuple, Protocol, TypeVar

_V6_NETWORK: Final = 64


class Guest(Protocol):
    """A connection; `network` is empty for a trusted proxy, `waits_since` is None while a request is answered."""

    network: str
    waits_since: float | None


G = TypeVar("G", bound=Guest)


class Entry(NamedTuple, Generic[G]):
    """Whether a new connection is admitted, and which waiting connection has to be closed for it.

    A connection with a reserved place may ask for certificate status only.
    """

    admitted: bool
    leaves: G | None = None
    reserved: bool = False


class Places(Generic[G]):
    """The places for connections of one process; does no I/O and reads no clock."""

    def __init__(self, most: int, most_a_network: int, reserve: int = 0) -> None:
        self._most = most
        self._reserve = reserve
        self._most_a_network = most_a_network
        self._all: dict[G, None] = {}
        self._reserved: set[G] = set()
        self._by_network: dict[str, dict[G, None]] = {}

    def __len__(self) -> int:
        """Return how many places are taken."""
        return len(self._all)

    def enter(self, guest: G) -> Entry[G]:
        """Give a new connection a place if there is one: a free one, or that of a waiting connection.

        If the new connection's network already has as many places as it may have, a waiting connection of that network
        is closed for the new one; if none waits, the new one is refused. Otherwise, if all places are taken, a waiting
        connection of the largest network is closed, so that a flood from one network closes its own connections and not
        those of others. If none waits, the new one gets a reserved place, or is refused when those are taken, too.
        """
        neighbours = self._by_network.get(guest.network, {}) if guest.network else {}
        if len(neighbours) >= self._most_a_network:
            full = neighbours
        elif len(self._all) >= self._most:
            full = self._all
        else:
            self._seat(guest)
            return Entry(admitted=True)
        leaves = min((one for one in full if one.waits_since is not None), key=self._staying, default=None)
        if leaves is None:
            if full is neighbours or len(self._all) >= self._most + self._reserve:
                return Entry(admitted=False)
            self._seat(guest)
            self._reserved.add(guest)
            return Entry(admitted=True, reserved=True)
        reserved = leaves in self._reserved  # a reserved place stays reserved for the new connection
        self.leave(leaves)
        self._seat(guest)
        if reserved:
            self._reserved.add(guest)
        return Entry(admitted=True, leaves=leaves, reserved=reserved)

    def _staying(self, guest: G) -> tuple[bool, int, float]:
        """Return the sort key of connections to close, the first to close being least; reserved places come last."""
        since = 0.0 if guest.waits_since is None else guest.waits_since
        return guest in self._reserved, -len(self._by_network.get(guest.network, ())), since

    def _seat(self, guest: G) -> None:
        self._all[guest] = None
        if guest.network:
            self._by_network.setdefault(guest.network, {})[guest] = None

    def leave(self, guest: G) -> None:
        """Free the connection's place; does nothing if it has none."""
        self._all.pop(guest, None)
        self._reserved.discard(guest)
        neighbours = self._by_network.get(guest.network, {})
        neighbours.pop(guest, None)
        if not neighbours:
            self._by_network.pop(guest.network, None)


def counted_as(address: IPv4Address | IPv6Address) -> str:
    """Return the network that an address counts for: an IPv4 address itself, or the /64 of an IPv6 address.

    A /64 usually belongs to one subscriber's line (RFC 6177).
    """
    if isinstance(address, IPv4Address):
        return str(address)
    return str(ip_network((address, _V6_NETWORK), strict=False))
