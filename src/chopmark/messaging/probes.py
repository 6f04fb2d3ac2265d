"""Test a gateway without sending a message: its account, the credit that is left, the end of its TLS certificate."""

import asyncio
import ssl
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Protocol, runtime_checkable

from chopmark.messaging.ports import GatewayFault


@dataclass(frozen=True, slots=True)
class Reached:
    """A gateway answered as expected. `left` is the credit of the account, in the unit of the provider."""

    left: str = ""
    tried: bool = True
    """Whether the account was tested, not only the connection."""


@runtime_checkable
class Probing(Protocol):
    """A gateway that can be tested without sending."""

    @property
    def name(self) -> str:
        """The gateway's name."""
        ...

    async def probe(self) -> Reached | GatewayFault:
        """Send a query over the same account as messages, but no message."""
        ...


@runtime_checkable
class Shown(Protocol):
    """A gateway that presents a TLS certificate."""

    @property
    def name(self) -> str:
        """The gateway's name."""
        ...

    async def certificate_until(self) -> datetime | None:
        """Return when its TLS certificate ends, aware UTC; None without TLS, or if the gateway cannot be reached."""
        ...


async def certificate_until(host: str, port: int, tls: ssl.SSLContext, within_s: float) -> datetime | None:
    """Return when the certificate of a server ends, aware UTC; None if there is none that can be verified."""
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
    """Return the credit that a provider reports if it is a number, otherwise an empty text."""
    said = said.strip()
    return said if said and len(said) <= 20 and said.replace(".", "", 1).replace(",", "").isdigit() else ""
