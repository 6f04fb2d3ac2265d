"""Who may stay connected to a process: so many in all, so many from one network, and whoever only waits makes room.

A connection *waits* while no whole request of it has come: opened and silent, half a request, or kept open after an
answer. Waiting costs a client nothing, so what waits the longest goes first, of the network that has the most; what is
being answered never goes.
"""

from ipaddress import IPv4Address, IPv6Address, ip_network
from typing import Final, Generic, NamedTuple, Protocol, TypeVar

_V6_NETWORK: Final = 64


class Guest(Protocol):
    """A connection. `network` is empty for a trusted proxy, `waits_since` is None while a request is answered."""

    network: str
    waits_since: float | None


G = TypeVar("G", bound=Guest)


class Entry(NamedTuple, Generic[G]):
    """What becomes of a newcomer, and who has to go for it; a reserved place is for certificate status only."""

    admitted: bool
    leaves: G | None = None
    reserved: bool = False


class Places(Generic[G]):
    """The places of one process. No I/O and no clock."""

    def __init__(self, most: int, most_a_network: int, reserve: int = 0) -> None:
        self._most = most
        self._reserve = reserve
        self._most_a_network = most_a_network
        self._all: dict[G, None] = {}
        self._reserved: set[G] = set()
        self._by_network: dict[str, dict[G, None]] = {}

    def __len__(self) -> int:
        """Count the taken places."""
        return len(self._all)

    def enter(self, guest: G) -> Entry[G]:
        """Give a newcomer a place: a free one, or that of whoever has waited the longest; within its network first.

        Otherwise within the largest network: a flood that comes again and again pushes out its own, not the others.
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
        reserved = leaves in self._reserved  # the reserve stays one, whoever comes and goes
        self.leave(leaves)
        self._seat(guest)
        if reserved:
            self._reserved.add(guest)
        return Entry(admitted=True, leaves=leaves, reserved=reserved)

    def _staying(self, guest: G) -> tuple[bool, int, float]:
        """Return what is least for whoever goes first; the reserve is touched last."""
        since = 0.0 if guest.waits_since is None else guest.waits_since
        return guest in self._reserved, -len(self._by_network.get(guest.network, ())), since

    def _seat(self, guest: G) -> None:
        self._all[guest] = None
        if guest.network:
            self._by_network.setdefault(guest.network, {})[guest] = None

    def leave(self, guest: G) -> None:
        """Give a place back; again is nothing."""
        self._all.pop(guest, None)
        self._reserved.discard(guest)
        neighbours = self._by_network.get(guest.network, {})
        neighbours.pop(guest, None)
        if not neighbours:
            self._by_network.pop(guest.network, None)


def counted_as(address: IPv4Address | IPv6Address) -> str:
    """Return what an address counts as: itself, or its /64, which is one line's (RFC 6177)."""
    if isinstance(address, IPv4Address):
        return str(address)
    return str(ip_network((address, _V6_NETWORK), strict=False))
