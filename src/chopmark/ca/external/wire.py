"""One HTTP exchange with an external CA: verified TLS, no redirects, no proxy, limits for time and size.

Each request has a connection of its own. When a kept connection breaks, nobody can tell whether the CA has received the
request.
"""

import asyncio
import ssl
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import httpx2

from chopmark.ca.external.ports import NotReached, Silent

MAX_ANSWER = 256 * 1024
REACH_S = 5.0


@dataclass(frozen=True, slots=True)
class Address:
    """Where a CA answers, and how long to wait for it: `wait_s`, 1 to 15 seconds.

    `trust` (roots) and `identity` (our certificate and its key) are PEM files for TLS. Without `trust` the machine's
    own trust store is used.
    """

    url: str
    trust: Path | None = None
    identity: tuple[Path, Path] | None = None
    wait_s: float = 10.0


@dataclass(frozen=True, slots=True)
class Said:
    """An HTTP answer, at most 256 KiB; header names are lower case."""

    status: int
    headers: Mapping[str, str]
    body: bytes = field(repr=False)

    @property
    def retry_after_s(self) -> int | None:
        """The Retry-After header in seconds (RFC 9110 s.10.2.3); None without one, or with a date in it."""
        value = self.headers.get("retry-after", "").strip()
        return min(int(value), 86400) if value.isascii() and value.isdigit() and len(value) <= 9 else None


class Wire:
    """Carries requests to one address."""

    def __init__(self, address: Address) -> None:
        self._address = address
        # Plain http (loopback, or CMP, which has a MAC of its own) gets a context without any trusted root.
        secure = address.url.startswith("https://")
        self._tls = tls_of(address) if secure else ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)

    async def post(
        self, path: str, body: bytes, headers: Mapping[str, str], auth: tuple[str, str] | None = None
    ) -> Said | NotReached | Silent:
        """Return the answer to a POST; without one, NotReached (nothing was sent) or Silent (it may have arrived)."""
        return await self._bounded("POST", path, body, headers, auth)

    async def get(self, path: str) -> Said | NotReached | Silent:
        """Return the answer to a GET; without one, NotReached or Silent."""
        return await self._bounded("GET", path, b"", {}, None)

    async def _bounded(
        self, method: str, path: str, body: bytes, headers: Mapping[str, str], auth: tuple[str, str] | None
    ) -> Said | NotReached | Silent:
        try:
            async with asyncio.timeout(self._address.wait_s):
                return await self._exchange(method, path, body, headers, auth)
        except TimeoutError:
            return Silent("timeout")
        except (httpx2.ConnectError, httpx2.ConnectTimeout):
            return NotReached("unreachable")
        except (httpx2.TransportError, httpx2.StreamError, httpx2.DecodingError):
            return Silent("dropped")

    async def _exchange(
        self, method: str, path: str, body: bytes, headers: Mapping[str, str], auth: tuple[str, str] | None
    ) -> Said | Silent:
        transport = httpx2.AsyncHTTPTransport(
            verify=self._tls, trust_env=False, limits=httpx2.Limits(max_keepalive_connections=0)
        )
        timeout = httpx2.Timeout(self._address.wait_s, connect=min(REACH_S, self._address.wait_s))
        async with httpx2.AsyncClient(
            transport=transport, timeout=timeout, follow_redirects=False, trust_env=False, auth=auth
        ) as client:
            async with client.stream(
                method, self._address.url + path, content=body, headers={"accept-encoding": "identity", **headers}
            ) as answer:
                got = bytearray()
                async for part in answer.aiter_raw():
                    got += part
                    if len(got) > MAX_ANSWER:
                        return Silent("too_large")
                named = {name.lower(): value for name, value in answer.headers.items()}
                return Said(answer.status_code, named, bytes(got))


def tls_of(address: Address) -> ssl.SSLContext:
    """Return the TLS settings for an address; raises OSError (ssl.SSLError is one) when a file cannot be used."""
    context = ssl.create_default_context(cafile=None if address.trust is None else str(address.trust))
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    if address.identity is not None:
        certificate, key = address.identity
        context.load_cert_chain(certificate, key)
    return context
