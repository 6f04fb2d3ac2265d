"""TLS with client certificates in our own process: adds what uvicorn and asyncio lack.

uvicorn hands no client certificate on; asyncio closes a failed handshake without the alert that says why.
"""

import asyncio
import ssl
from asyncio.sslproto import SSLProtocol
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, cast

from chopmark.app.connections import Bounded, bounded
from chopmark.app.settings import Settings

MOST_UNREAD = 64 * 1024
"""Octets of a connection whose handshake has failed, until it is closed whether or not the other side has."""


class _Alerting(ssl.SSLObject):
    """A TLS connection that tells the other side why its handshake failed: "unknown ca", "certificate expired".

    asyncio writes what waits to be sent when a handshake wants more, and drops it when the handshake fails. So a
    failure is reported as "wants more" until the other side, which has read the alert, closes the connection, or
    sends too much, or asyncio's time for a handshake is over.
    """

    _failed: ssl.SSLError | None = None
    _incoming: ssl.MemoryBIO

    def do_handshake(self) -> None:
        """Go on with the handshake; a failure is raised only when the other side goes on sending."""
        if self._failed is not None:
            if self._incoming.pending > MOST_UNREAD:
                raise self._failed
            raise ssl.SSLWantReadError
        try:
            super().do_handshake()
        except (ssl.SSLWantReadError, ssl.SSLWantWriteError):
            raise
        except ssl.SSLError as error:
            self._failed = error
            raise ssl.SSLWantReadError from error


class _Context(ssl.SSLContext):
    """A context whose connections are `_Alerting`."""

    sslobject_class = _Alerting

    def wrap_bio(self, incoming: ssl.MemoryBIO, *rest: Any, **named: Any) -> ssl.SSLObject:
        """Return a connection over two buffers."""
        made = super().wrap_bio(incoming, *rest, **named)
        if isinstance(made, _Alerting):
            made._incoming = incoming  # noqa: SLF001 - it is this module's own
        return made


def context(certificate: Path, key: Path, authorities: Iterable[bytes], former: Iterable[bytes] = ()) -> ssl.SSLContext:
    """Return a server's TLS context: at least TLS 1.2, a client certificate of `authorities` (DER) or none.

    `certificate` is a PEM file of the server's certificate and what stands between it and its root. `former` are the
    issuing certificates of former issuers, whose roots nobody here knows: they are trusted by themselves. Whether such
    a certificate may do anything is for the verbs to decide (`ra.program`).
    """
    made = _Context(ssl.PROTOCOL_TLS_SERVER)
    made.minimum_version = ssl.TLSVersion.TLSv1_2
    made.load_cert_chain(certificate, key)
    pinned = tuple(former)
    made.load_verify_locations(cadata=b"".join((*authorities, *pinned)))
    if pinned:
        made.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
    made.verify_mode = ssl.CERT_OPTIONAL
    return made


class _Secured(SSLProtocol):
    """asyncio's TLS, whose connections are counted from their first packet on and have little memory before.

    asyncio itself gives a silent connection 60 s and 256 KiB: 1100 of them took 300 MiB and no place at all.
    """

    max_size = 32 * 1024

    def __init__(self, inner: Bounded, context: ssl.SSLContext, handshake_s: int) -> None:
        super().__init__(
            inner.loop, inner, context, cast("Any", None), server_side=True, ssl_handshake_timeout=handshake_s
        )
        self._inner = inner

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin TLS, if there is a place."""
        super().connection_made(transport)
        raw = cast("asyncio.Transport", transport)
        if not self._inner.arrive(raw):
            raw.abort()

    def connection_lost(self, exc: BaseException | None) -> None:
        """Give the place back, also when TLS never came about."""
        super().connection_lost(exc)
        self._inner.depart()


def secured(settings: Settings, context: ssl.SSLContext) -> Callable[..., asyncio.BaseProtocol]:
    """Return what makes a process's connections where it ends TLS."""
    make = bounded(settings, CertificateProtocol)

    def made(**named: Any) -> asyncio.BaseProtocol:
        return _Secured(make(**named), context, settings.limits.first_byte_s)

    return made


class CertificateProtocol(Bounded):
    """Our HTTP/1.1, with the client's certificate in the scope (ASGI's TLS extension 0.2)."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin a connection: every request of it carries the certificate that opened it."""
        super().connection_made(transport)
        connection = transport.get_extra_info("ssl_object")
        der = None if connection is None else connection.getpeercert(binary_form=True)
        chain = [] if der is None else [ssl.DER_cert_to_PEM_cert(der)]
        application = self.app

        async def with_certificate(scope: Any, receive: Any, send: Any) -> None:
            scope.setdefault("extensions", {})["tls"] = {"client_cert_chain": chain, "client_cert_error": None}
            await application(scope, receive, send)

        self.app = with_certificate
