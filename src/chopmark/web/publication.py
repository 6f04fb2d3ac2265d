"""Status for relying parties, in front of the framework: OCSP (RFC 6960 A.1), CRLs and CA certificates.

Plain ASGI: GET and POST, bytes in and bytes out, answered whether or not the portal is well.
"""

import binascii
import hashlib
from base64 import b64decode
from datetime import datetime
from email.utils import format_datetime
from urllib.parse import unquote

from litestar.enums import ScopeType
from litestar.types import ASGIApp, HTTPScope, Receive, Scope, Send

from chopmark.errors import Kind, Refusal, Refused
from chopmark.pki import ocsp
from chopmark.va.responder import OcspAnswer
from chopmark.web import timestamping
from chopmark.web.doors import Doors
from chopmark.web.octets import body_within
from chopmark.words import text

MAX_REQUEST = 16 * 1024
Headers = list[tuple[bytes, bytes]]


class Publication:
    """Serves /ocsp/ISSUER, /pki/NAME and /tsa; everything else goes to the portal."""

    def __init__(self, doors: Doors, portal: ASGIApp) -> None:
        self._doors = doors
        self._portal = portal

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] == ScopeType.HTTP and scope["path"].startswith("/ocsp/"):
            await self._ocsp(scope, receive, send)
        elif scope["type"] == ScopeType.HTTP and scope["path"].startswith("/pki/"):
            await self._file(scope["path"].removeprefix("/pki/"), scope, send)
        elif scope["type"] == ScopeType.HTTP and scope["path"] == timestamping.PATH and self._doors.timestamps:
            await timestamping.serve(self._doors.timestamps.answer, scope, receive, send)
        else:
            await self._portal(scope, receive, send)

    async def _ocsp(self, scope: HTTPScope, receive: Receive, send: Send) -> None:
        raw = scope.get("raw_path") or scope["path"].encode()
        issuer, _, encoded = raw.split(b"?")[0].decode("ascii", "replace").removeprefix("/ocsp/").partition("/")
        responder = self._doors.responders.get(issuer)
        if responder is None:
            await _plain(send, 404, b"")
            return
        method = scope["method"]
        if method == "POST":
            request = await body_within(receive, MAX_REQUEST)
        elif method == "GET" and encoded:
            request = _from_path(encoded)
        else:
            await _plain(send, 405, b"", [(b"allow", b"GET, POST")])
            return
        if request is None:
            answer = OcspAnswer(ocsp.error_response(ocsp.ErrorStatus.MALFORMED_REQUEST))
        else:
            answer = await responder.answer(request)
        cacheable = method == "GET"
        headers = [(b"content-type", b"application/ocsp-response"), *_cache(answer, cacheable, self._doors.now())]
        await _fresh(scope, send, answer.der, headers)

    async def _file(self, name: str, scope: HTTPScope, send: Send) -> None:
        if scope["method"] not in {"GET", "HEAD"}:
            await _plain(send, 405, b"", [(b"allow", b"GET, HEAD")])
            return
        try:
            found = await self._find(name)
        except Refused:
            await _plain(send, 503, b"", [(b"retry-after", b"5")])
            return
        if found is None:
            await _plain(send, 404, b"")
            return
        body, headers = found
        await _fresh(scope, send, body, headers, head=scope["method"] == "HEAD")

    async def _find(self, name: str) -> tuple[bytes, Headers] | None:
        for authority in self._doors.authorities:
            if name == f"{authority.id}.cer":
                headers = [(b"content-type", b"application/pkix-cert"), (b"cache-control", b"public, max-age=86400")]
                return authority.certificate, headers
            for shard in range(authority.shards):
                if name == f"{authority.id}-{shard}.crl":
                    return await self._crl(authority.id, shard)
        return None

    async def _crl(self, issuer: str, shard: int) -> tuple[bytes, Headers] | None:
        crl = await self._doors.crl(issuer, shard)
        if crl is None:
            return None
        if crl.next_update <= self._doors.now():
            raise Refused(_OVERDUE)
        headers = [
            (b"content-type", b"application/pkix-crl"),
            (b"cache-control", b"public, max-age=60"),
            (b"last-modified", _http_date(crl.this_update)),
            (b"expires", _http_date(crl.next_update)),
            (b"etag", b'"%d"' % crl.number),
        ]
        return crl.der, headers


_OVERDUE = Refusal(Kind.UNAVAILABLE, text("The revocation list is being renewed. Please try again in a minute."))
"""I26: an expired list is not served."""


def _from_path(encoded: str) -> bytes | None:
    try:
        return b64decode(unquote(encoded), validate=True)
    except (binascii.Error, ValueError):
        return None


def _http_date(moment: datetime) -> bytes:
    return format_datetime(moment, usegmt=True).encode()


def _cache(answer: OcspAnswer, cacheable: bool, now: datetime) -> Headers:
    """RFC 9919 s.6: a GET answer may be cached, and no longer than it is valid; status changes show within a minute."""
    if not cacheable or answer.produced_at is None or answer.next_update is None:
        return [(b"cache-control", b"no-store")]
    return [
        (b"cache-control", b"max-age=5, public, no-transform, must-revalidate"),
        (b"last-modified", _http_date(answer.produced_at)),
        (b"expires", _http_date(answer.next_update)),
        (b"etag", b'"%s"' % hashlib.sha256(answer.der).hexdigest().encode()),
        (b"date", _http_date(now)),
    ]


async def _fresh(scope: HTTPScope, send: Send, body: bytes, headers: Headers, *, head: bool = False) -> None:
    """Send an answer, or 304 with its headers and no body to whoever has it already (RFC 9110 s.13.1.2, s.15.4.5)."""
    if _has_it(scope, dict(headers).get(b"etag")):
        await send({"type": "http.response.start", "status": 304, "headers": headers})
        await send({"type": "http.response.body", "body": b"", "more_body": False})
        return
    await _plain(send, 200, body, headers, head=head)


def _has_it(scope: HTTPScope, etag: bytes | None) -> bool:
    """Whether If-None-Match names the entity tag, compared weakly (RFC 9110 s.8.8.3.2), or any."""
    given = b",".join(value for name, value in scope["headers"] if name == b"if-none-match")
    if etag is None or not given:
        return False
    named = [tag.strip().removeprefix(b"W/") for tag in given.split(b",")]
    return b"*" in named or etag in named


async def _plain(send: Send, status: int, body: bytes, headers: Headers | None = None, *, head: bool = False) -> None:
    """Send an answer; to a HEAD request with the length of the body that is left out (RFC 9110 s.8.6)."""
    named: Headers = [(b"content-length", str(len(body)).encode()), (b"x-content-type-options", b"nosniff")]
    await send({"type": "http.response.start", "status": status, "headers": [*named, *(headers or [])]})
    await send({"type": "http.response.body", "body": b"" if head else body, "more_body": False})
