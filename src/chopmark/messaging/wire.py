"""One HTTP exchange with a gateway: verified TLS, no redirect, no proxy of the environment, bounded in time and size.

A fault says what is known about the message: if connecting failed, nothing was sent; after that, the gateway may have
taken the message even if no answer came. A connection is used only once, because on a kept connection it would not be
known whether a lost request had reached the gateway.
"""

import asyncio
import ssl
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from ipaddress import ip_address
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

import httpx2

from chopmark.messaging.ports import FaultReason, GatewayFault, Verdict
from chopmark.messaging.probes import certificate_until

MAX_ANSWER: Final = 64 * 1024


@dataclass(frozen=True, slots=True)
class Endpoint:
    """The address of a gateway: https without a final slash (plain http only on the same machine).

    `trust` is a PEM file of certificates; without it the trust store of the machine is used. `reach_s` is the time
    limit for connecting, `answer_s` that for the answer. Both are short, so that the next gateway can send the code
    while the customer still waits for it.
    """

    url: str
    trust: Path | None = None
    reach_s: float = 1.5
    answer_s: float = 3.0

    def __post_init__(self) -> None:
        """Raise ValueError if codes would be sent to this address unencrypted."""
        split = urlsplit(self.url)
        near = split.scheme == "http" and _is_loopback(split.hostname or "")
        if not (split.scheme == "https" or near) or self.url.endswith("/") or split.query or "@" in split.netloc:
            raise ValueError("its url is an https address without a final slash (plain http: only this machine)")


@dataclass(frozen=True, slots=True)
class Answered:
    """An HTTP answer, at most 64 KiB."""

    status: int
    body: bytes = field(repr=False)

    @property
    def text(self) -> str:
        """The body as text. Gateways in Taiwan answer in UTF-8 or Big5, and do not always say in which."""
        for charset in ("utf-8", "cp950"):
            try:
                return self.body.decode(charset)
            except UnicodeDecodeError:
                continue
        return self.body.decode("ascii", "replace")


class Wire:
    """Sends requests to one gateway."""

    def __init__(self, endpoint: Endpoint) -> None:
        self._endpoint = endpoint
        secure = endpoint.url.startswith("https://")
        # plain http (loopback only) needs no trust store: use a context without certificates
        self._tls = _tls_of(endpoint) if secure else ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)

    async def post(
        self,
        path: str,
        *,
        query: Mapping[str, str] | None = None,
        form: Mapping[str, str] | None = None,
        content: bytes | None = None,
        headers: Mapping[str, str] | None = None,
        method: str = "POST",
    ) -> Answered | GatewayFault:
        """Return the answer to a request.

        If there is none, return a fault that says what is known about the message.
        """
        request = httpx2.Request(
            method,
            self._endpoint.url + path,
            params=dict(query or {}) or None,
            data=None if form is None else dict(form),
            content=content,
            headers={"accept-encoding": "identity", **(headers or {})},
        )
        try:
            async with asyncio.timeout(self._endpoint.reach_s + self._endpoint.answer_s):
                return await self._exchange(request)
        except (TimeoutError, httpx2.ReadTimeout, httpx2.WriteTimeout):
            return GatewayFault(FaultReason.TIMEOUT, Verdict.UNKNOWN)
        except (httpx2.ConnectError, httpx2.ConnectTimeout) as error:
            if any(isinstance(cause, ssl.SSLError) for cause in _causes(error)):
                return GatewayFault(FaultReason.TLS, Verdict.ALARM)
            return GatewayFault(FaultReason.UNREACHABLE, Verdict.LATER)
        except (httpx2.TransportError, httpx2.StreamError, httpx2.DecodingError):
            return GatewayFault(FaultReason.DROPPED, Verdict.UNKNOWN)

    async def certificate_until(self) -> datetime | None:
        """As `Shown.certificate_until`."""
        split = urlsplit(self._endpoint.url)
        if split.scheme != "https":
            return None
        within_s = self._endpoint.reach_s + self._endpoint.answer_s
        return await certificate_until(split.hostname or "", split.port or 443, self._tls, within_s)

    async def reach(self) -> GatewayFault | None:
        """Connect (with TLS for https) without sending a request. Return what failed, or None."""
        split = urlsplit(self._endpoint.url)
        secure = split.scheme == "https"
        port = split.port or (443 if secure else 80)
        try:
            async with asyncio.timeout(self._endpoint.reach_s):
                _, writer = await asyncio.open_connection(split.hostname, port, ssl=self._tls if secure else None)
        except ssl.SSLError:
            return GatewayFault(FaultReason.TLS, Verdict.ALARM)
        except (OSError, TimeoutError):
            return GatewayFault(FaultReason.UNREACHABLE, Verdict.LATER)
        writer.transport.abort()
        return None

    async def _exchange(self, request: httpx2.Request) -> Answered | GatewayFault:
        limits = httpx2.Limits(max_keepalive_connections=0)
        transport = httpx2.AsyncHTTPTransport(verify=self._tls, trust_env=False, limits=limits)
        timeout = httpx2.Timeout(self._endpoint.answer_s, connect=self._endpoint.reach_s)
        async with httpx2.AsyncClient(
            transport=transport, timeout=timeout, follow_redirects=False, trust_env=False
        ) as client:
            request.extensions = {**request.extensions, "timeout": timeout.as_dict()}
            answer = await client.send(request, stream=True)
            try:
                got = bytearray()
                async for part in answer.aiter_raw():
                    got += part
                    if len(got) > MAX_ANSWER:
                        return GatewayFault(FaultReason.PROTOCOL, Verdict.UNKNOWN)
            finally:
                await answer.aclose()
            return Answered(answer.status_code, bytes(got))


def refused_by_status(status: int) -> GatewayFault | None:
    """Return the fault that an HTTP status means by itself; None for 2xx, where the body has to be read."""
    detail = str(status)
    if 200 <= status < 300:
        return None
    if status in {401, 403}:
        reason = FaultReason.AUTHENTICATION if status == 401 else FaultReason.NOT_ALLOWED
        return GatewayFault(reason, Verdict.ALARM, detail=detail)
    if status in {429, 503}:  # RFC 6585 s.4, RFC 9110 s.15.6.4: try later
        return GatewayFault(FaultReason.BUSY, Verdict.LATER, detail=detail)
    if status in {400, 413, 422}:
        return GatewayFault(FaultReason.CONTENT, Verdict.OTHER, detail=detail)
    if status >= 500:  # the gateway got the request and then failed, perhaps after sending the message
        return GatewayFault(FaultReason.PROTOCOL, Verdict.UNKNOWN, detail=detail)
    return GatewayFault(FaultReason.PROTOCOL, Verdict.ALARM, detail=detail)  # a wrong or a moved address


def _causes(error: BaseException) -> Iterator[BaseException]:
    cause: BaseException | None = error
    while cause is not None:
        yield cause
        cause = cause.__cause__ or cause.__context__


def _tls_of(endpoint: Endpoint) -> ssl.SSLContext:
    context = ssl.create_default_context(cafile=None if endpoint.trust is None else str(endpoint.trust))
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    return context


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False
