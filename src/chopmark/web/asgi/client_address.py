"""Whose request it is: the connection's own address, or what a proxy that is trusted says (X-Forwarded-For, RFC 7239).

A header is trusted only from a trusted network or a Unix socket. All its lines are one list, to which each proxy
appends the address of its client. If an entry cannot be read, this is logged once and the connection's own address is
used; clients without an address are not counted as one client.
"""

import re
from dataclasses import dataclass, field
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_network
from typing import Any, Final, TypeAlias

import structlog

log = structlog.get_logger()

Address: TypeAlias = IPv4Address | IPv6Address
Network: TypeAlias = IPv4Network | IPv6Network
EVERYWHERE: Final[tuple[Network, ...]] = (ip_network("0.0.0.0/0"), ip_network("::/0"))
_STANDARD: Final = b"forwarded"
_LONGEST: Final = 300
"""The most characters of an entry that a proxy appends; longer ones come from clients and are not parsed."""
_MOST_TOLD: Final = 100
_PORT: Final = r"(?::(?:[0-9]{1,5}|_[A-Za-z0-9._-]+))?"
_V4: Final = re.compile(rf"([0-9.]+){_PORT}", re.ASCII)
_V6: Final = re.compile(rf"\[([0-9A-Fa-f:.]+)\]{_PORT}", re.ASCII)
_QUOTED: Final = r'"(?:[^"\\]|\\.)*"'
_ELEMENT: Final = rf'(?:[^",]|{_QUOTED})*'
_ELEMENTS: Final = re.compile(rf"{_ELEMENT}(?:,{_ELEMENT})*")
_EACH_ELEMENT: Final = re.compile(rf"(?:^|,)({_ELEMENT})")
_PAIR: Final = re.compile(rf'\s*([^\s=";]+)=({_QUOTED}|[^\s";]*)\s*(?:;|$)')


@dataclass(frozen=True, slots=True)
class ClientAddresses:
    """How a client's address is found. `header` is empty when no proxy stands in front; `hops` counts the proxies."""

    header: str = ""
    trusted: tuple[Network, ...] = ()
    hops: int = 1
    _told: set[str] = field(default_factory=set, compare=False, repr=False)

    def of(self, scope: Any) -> str:
        """Return the client's address, or the empty string for a socket whose proxy names none."""
        client = scope.get("client")
        said = client[0] if client else ""
        peer = read_address(said)
        own = said if peer is None else str(peer)
        if not self.header or (said and not self._trusts(peer)):
            return own
        named = self._named(scope)
        return own if named is None else str(named)

    def _named(self, scope: Any) -> Address | None:
        """Return the client's address: go back from the last entry over at most `hops` - 1 trusted proxies."""
        wanted = self.header.lower().encode()
        lines = [value.decode("latin-1") for name, value in scope["headers"] if name.lower() == wanted]
        split, read = (_elements, _heard) if wanted == _STANDARD else (_parts, read_address)
        entries = split(",".join(lines))
        for place, written in enumerate(reversed(entries), 1):
            entry = read(written) if len(written) <= _LONGEST else None
            if entry is None:
                break
            if place == len(entries) or place >= self.hops or not self._trusts(entry):
                return entry
        self._tell(scope)
        return None

    def _trusts(self, address: Address | None) -> bool:
        return address is not None and any(address in network for network in self.trusted)

    def _tell(self, scope: Any) -> None:
        """Log once for each proxy that its header cannot be read, without its value, which clients may choose."""
        client = scope.get("client")
        proxy = client[0] if client and client[0] else "a Unix socket"
        if proxy not in self._told and len(self._told) < _MOST_TOLD:
            self._told.add(proxy)
            log.warning("client address unreadable", code="proxy.unreadable", kind=self.header, address=proxy)


def read_networks(text: str) -> tuple[Network, ...]:
    """Return the networks of a list with commas between; ValueError for anything else."""
    return tuple(ip_network(part.strip()) for part in text.split(",") if part.strip())


def read_address(text: str) -> Address | None:
    """Return an address written as `ip`, `ip:port`, `[v6]` or `[v6]:port`; None for anything else."""
    text = text.strip()
    v4 = _V4.fullmatch(text)
    if v4 is not None:
        return _made(IPv4Address, v4[1])
    v6 = _V6.fullmatch(text)
    return _made(IPv6Address, text if v6 is None else v6[1]) if "%" not in text else None


def _made(kind: type[IPv4Address] | type[IPv6Address], text: str) -> Address | None:
    try:
        read = kind(text)
    except ValueError:
        return None
    mapped = read.ipv4_mapped if isinstance(read, IPv6Address) else None
    return mapped or read


def _parts(joined: str) -> list[str]:
    return joined.split(",")


def _elements(joined: str) -> list[str]:
    """Return the elements of RFC 7239's header.

    Return none if a quoted string does not end, because it could hide what a proxy has appended.
    """
    return _EACH_ELEMENT.findall(joined) if _ELEMENTS.fullmatch(joined) else []


def _heard(element: str) -> Address | None:
    """Return what an element says of `for`, when it says it once and nothing in it is no pair."""
    pairs = _PAIR.findall(element)
    values = [value for name, value in pairs if name.lower() == "for"]
    if len(values) != 1 or _PAIR.sub("", element).strip():
        return None
    value = values[0]
    if value.startswith('"'):
        value = re.sub(r"\\(.)", r"\1", value[1:-1])
    elif ":" in value:
        return None  # RFC 7239 s.4: a colon stands in a quoted string only
    return read_address(value)
