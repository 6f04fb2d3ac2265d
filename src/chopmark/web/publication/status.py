"""Status in front of the framework: OCSP (RFC 6960 A.1), CRLs and CA certificates for relying parties, and our health.

Plain ASGI: GET and POST, bytes in and bytes out, answered whether or not the portal is well.
"""

import hashlib
from base64 import urlsafe_b64encode
from dataclasses import replace
from datetime import datetime
from email.utils import format_datetime

from litestar.enums import ScopeType
from litestar.types import ASGIApp, HTTPScope, Receive, Scope, Send

from chopmark.core.refusal import Kind, Refusal, Refused
from chopmark.core.types import text
from chopmark.identity.sessions import UNKNOWN, network_of
from chopmark.pki import ocsp
from chopmark.pki.ocsp_get import requests_in
from chopmark.va.responder import OcspAnswer, Responder
from chopmark.web.asgi.health import ROOT as HEALTH
from chopmark.web.asgi.health import Health
from chopmark.web.asgi.octets import body_within
from chopmark.web.publication import timestamping
from chopmark.web.publication.ocsp_response_cache import MOST_KEPT, Headers, OcspResponseCache, Ready
from chopmark.web.services import WebServices

MAX_REQUEST = 16 * 1024
_TYPE = (b"content-type", b"application/ocsp-response")
_NO_STORE = (b"cache-control", b"no-store")
_LATER: Headers = [(b"retry-after", b"5")]


class Publication:
    """Serves /ocsp/ISSUER, /pki/NAME, /tsa and /health; everything else goes to the portal."""

    def __init__(self, web: WebServices, portal: ASGIApp, most_kept: int = MOST_KEPT) -> None:
        self._web = web
        self._portal = portal
        self.answered = OcspResponseCache(web.clock, most_kept)
        """OCSP answers that were given before and may be given again."""
        self._health = Health(web.checks, web.clock)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request; slashes too many before a status address do not hurt."""
        if scope["type"] != ScopeType.HTTP:
            await self._portal(scope, receive, send)
        elif scope["method"] == "GET" and (ready := self.answered.find(scope.get("raw_path"))) is not None:
            await ready.send(scope, send)
        elif (path := _one_slash(scope["path"])).startswith(("/ocsp/", "/pki/")):
            await self._status(path, scope, receive, send)
        elif scope["path"].startswith(HEALTH):
            await self._health.serve(scope, send)
        elif scope["path"] == timestamping.PATH and self._web.publication.timestamps:
            network = network_of(self._web.addresses.of(scope))
            with self._web.load.counted():
                if await self._web.load.turn(known=False) is not None:
                    await _plain(send, 503, b"", _LATER)
                    return
                await timestamping.serve(
                    self._web.publication.timestamps, "" if network == UNKNOWN else network, scope, receive, send
                )
        else:
            await self._portal(scope, receive, send)

    async def _status(self, path: str, scope: HTTPScope, receive: Receive, send: Send) -> None:
        load = self._web.load
        load.status_in_progress += 1
        try:
            if load.status_in_progress > load.status_requests:
                await _plain(send, 503, b"", _LATER)
            elif path.startswith("/ocsp/"):
                await self._ocsp(scope, receive, send)
            else:
                await self._file(path.removeprefix("/pki/").lstrip("/"), scope, send)
        finally:
            load.status_in_progress -= 1

    async def _ocsp(self, scope: HTTPScope, receive: Receive, send: Send) -> None:
        raw = (scope.get("raw_path") or scope["path"].encode()).split(b"?")[0]
        asked = _one_slash(raw.decode("ascii", "replace")).removeprefix("/ocsp/")
        issuer, _, encoded = asked.lstrip("/").partition("/")
        responder = self._web.publication.responders.get(issuer)
        if responder is None:
            await _plain(send, 404, b"")
        elif scope["method"] == "POST":
            ready = await self._posted(responder, raw, await body_within(receive, MAX_REQUEST))
            await ready.send(scope, send)
        elif scope["method"] == "GET" and encoded.strip("/"):
            answer = await _answer(responder, await responder.likeliest(requests_in(encoded)))
            ready = Ready.of(answer.der, [_TYPE, *_cache(answer)])
            self.answered.keep(raw, ready, answer)
            await ready.send(scope, send)
        else:
            await _plain(send, 405, b"", [(b"allow", b"GET, POST")])

    async def _posted(self, responder: Responder, raw: bytes, request: bytes | None) -> Ready:
        question = raw, request or b""
        ready = self.answered.find(question)
        if ready is None:
            answer = await _answer(responder, request)
            ready = Ready.of(answer.der, [_TYPE, _NO_STORE])
            self.answered.keep(question, ready, answer)
        return ready

    async def _file(self, name: str, scope: HTTPScope, send: Send) -> None:
        if scope["method"] not in {"GET", "HEAD"}:
            await _plain(send, 405, b"", [(b"allow", b"GET, HEAD")])
            return
        try:
            found = await self._find(name)
        except Refused:
            await _plain(send, 503, b"", _LATER)
            return
        if found is None:
            await _plain(send, 404, b"")
            return
        body, headers = found
        ready = Ready.of(body, headers)
        if scope["method"] == "HEAD":
            ready = replace(ready, body=b"")
        await ready.send(scope, send)

    async def _find(self, name: str) -> tuple[bytes, Headers] | None:
        for authority in self._web.publication.authorities:
            if name == f"{authority.id}.cer":
                headers = [(b"content-type", b"application/pkix-cert"), (b"cache-control", b"public, max-age=86400")]
                return authority.certificate, headers
            for shard in range(authority.shards):
                if name == f"{authority.id}-{shard}.crl":
                    return await self._crl(authority.id, shard)
        return None

    async def _crl(self, issuer: str, shard: int) -> tuple[bytes, Headers] | None:
        crl = await self._web.publication.crl(issuer, shard)
        if crl is None:
            return None
        if crl.next_update <= self._web.now():
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


async def _answer(responder: Responder, request: bytes | None) -> OcspAnswer:
    """Return the answer; None is what could not be read."""
    if request is None:
        return OcspAnswer(ocsp.error_response(ocsp.ErrorStatus.MALFORMED_REQUEST))
    return await responder.answer(request)


def _one_slash(path: str) -> str:
    return "/" + path.lstrip("/")


def _http_date(moment: datetime) -> bytes:
    return format_datetime(moment, usegmt=True).encode()


def _cache(answer: OcspAnswer) -> Headers:
    """RFC 9919 s.6: a GET answer may be cached, and no longer than it is valid; status changes show within seconds.

    The server itself adds Date to every answer.
    """
    if answer.produced_at is None or answer.next_update is None:
        return [_NO_STORE]
    return [
        (b"cache-control", b"max-age=5, public, no-transform, must-revalidate"),
        (b"last-modified", _http_date(answer.produced_at)),
        (b"expires", _http_date(answer.next_update)),
        (b"etag", b'"%s"' % urlsafe_b64encode(hashlib.sha256(answer.der).digest()[:12])),
    ]


async def _plain(send: Send, status: int, body: bytes, headers: Headers | None = None) -> None:
    named: Headers = [(b"content-length", str(len(body)).encode()), (b"x-content-type-options", b"nosniff")]
    await send({"type": "http.response.start", "status": status, "headers": [*named, *(headers or [])]})
    await send({"type": "http.response.body", "body": body, "more_body": False})
