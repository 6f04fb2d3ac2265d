"""Find the certificate with which a program has opened its TLS connection.

If a proxy ends TLS, it names the certificate in a header, which is trusted because only the proxy can reach the private
socket. If our own server ends TLS, it puts the certificate into the ASGI scope (asgi.readthedocs.io, TLS extension
0.2), and the header is ignored.
"""

import ssl
from collections.abc import Callable
from typing import TypeAlias
from urllib.parse import unquote_to_bytes

from litestar.types import HTTPScope

from chopmark.core.refusal import Kind, Refusal, Refused
from chopmark.core.types import text

HEADER = b"x-client-certificate"
"""What the proxy sets: nginx's `$ssl_client_escaped_cert`, empty when the program showed none."""
CertificateOf: TypeAlias = Callable[[HTTPScope], bytes | None]


def from_proxy(scope: HTTPScope) -> bytes | None:
    """Return the certificate, DER, that the proxy has verified and names; None when it names none."""
    named = [value for name, value in scope["headers"] if name.lower() == HEADER]
    if not any(named):
        return None
    if len(named) > 1:
        raise Refused(_UNREADABLE)
    return _der(unquote_to_bytes(named[0]).decode("ascii", "replace"))


def from_tls(scope: HTTPScope) -> bytes | None:
    """Return the certificate, DER, that this server's own TLS has verified; None when the program showed none."""
    extension = (scope.get("extensions") or {}).get("tls")
    chain = None if extension is None else extension["client_cert_chain"]
    return _der(chain[0]) if isinstance(chain, list) and chain else None


def _der(pem: str) -> bytes:
    try:
        return ssl.PEM_cert_to_DER_cert(pem)
    except ValueError as error:
        raise Refused(_UNREADABLE) from error


_UNREADABLE = Refusal(
    Kind.MALFORMED, text("The certificate of your connection could not be read."), code="client_certificate"
)
