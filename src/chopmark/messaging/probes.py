"""Trying a gateway without sending anything: is the account right, how much is left, until when its certificate is."""

import asyncio
import ssl
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Protocol, runtime_checkable

from chopmark.messaging.ports import GatewayFault


@dataclass(frozen=True, slots=True)
class Reached:
    """A gateway answered as it should. `left` is what the provider says is left on the account, in its own unit."""

    left: str = ""
    tried: bool = True
    """Whether the account was tried, and not the connection alone."""


@runtime_checkable
class Probing(Protocol):
    """A gateway that can be tried without sending."""

    @property
    def name(self) -> str:
        """The gateway's name."""
        ...

    async def probe(self) -> Reached | GatewayFault:
        """Ask as a message would, and send none."""
        ...


@runtime_checkable
class Shown(Protocol):
    """A gateway that shows a certificate."""

    @property
    def name(self) -> str:
        """The gateway's name."""
        ...

    async def certificate_until(self) -> datetime | None:
        """Return until when its TLS certificate is, aware UTC; None without TLS, and where it cannot be reached."""
        ...


async def certificate_until(host: str, port: int, tls: ssl.SSLContext, within_s: float) -> datetime | None:
    """Return until when the certificate is that a server shows, aware UTC; None where there is no verified one."""
    try:
        async with asyncio.timeout(within_s):
            _, writer = await asyncio.open_connection(host, port, ssl=tls, server_hostname=host)
    except (OSError, TimeoutError):
        return None
    certificate = writer.get_extra_info("peercert") or {}
    writer.transport.abort()
    until = certificate.get("notAfter")
    return None if until is None else datetime.fromtimestamp(ssl.cert_time_to_seconds(until), UTC)


def plain_number(said: str) -> str:
    """Return what a provider says is left, where it is a number; otherwise nothing."""
    said = said.strip()
    return said if said and len(said) <= 20 and said.replace(".", "", 1).replace(",", "").isdigit() else ""
