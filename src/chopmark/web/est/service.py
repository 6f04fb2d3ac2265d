"""The EST interface for customers' programs (RFC 7030, 8951, 9908) at /.well-known/est, plain ASGI; and /health.

Each operation calls one RA verb and decides nothing itself. If an operation needs the customer's approval first, the
answer is 202 with Retry-After, and the program sends the same request again.
"""

import binascii
from base64 import b64decode
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field, replace

from litestar.enums import ScopeType
from litestar.types import HTTPScope, Receive, Scope, Send

from chopmark.core.refusal import Kind, Refusal, Refused
from chopmark.core.types import OrderState, Secret, Text, text
from chopmark.pki import est
from chopmark.pki.key_words import key_words
from chopmark.ra.key_proof import PresentedCertificate
from chopmark.ra.program import ProgramEnrolment, Progress
from chopmark.web.asgi.health import ROOT as HEALTH
from chopmark.web.asgi.health import Health
from chopmark.web.asgi.load import Load
from chopmark.web.asgi.octets import body_within
from chopmark.web.est.client_certificate import CertificateOf
from chopmark.web.i18n import Translator, negotiate

ROOT = "/.well-known/est/"
MAX_BODY = 16 * 1024
STATUS: Mapping[Kind, int] = {
    Kind.MALFORMED: 400,
    Kind.UNAUTHENTICATED: 401,
    Kind.FORBIDDEN: 403,
    Kind.NOT_FOUND: 404,
    Kind.CONFLICT: 409,
    Kind.STEP_REQUIRED: 409,
    Kind.WRONG_CODE: 403,
    Kind.CODE_DEAD: 403,
    Kind.WRONG_BIRTH_DATE: 403,
    Kind.BAD_KEY: 400,
    Kind.BAD_PROOF: 403,
    Kind.LOCKED: 403,
    Kind.TOO_MANY: 429,
    Kind.TOO_LARGE: 413,
    Kind.UNAVAILABLE: 503,
}
"""RFC 7030 s.4.2.3: any 4xx or 5xx, with a sentence for a person; 423 and 422 are no statuses of EST's clients."""
_CERTIFICATES = b"application/pkcs7-mime; smime-type=certs-only"
_ATTRIBUTES = b"application/csrattrs"
_REQUEST = "application/pkcs10"
_FIRST_EDITION = "rfc7030"
"""The label for clients that read base64 only where a Content-Transfer-Encoding says so, which RFC 8951 ended."""
_AT_THE_CA = frozenset({OrderState.SUBMITTED, OrderState.PENDING})
_CHALLENGE = (b"www-authenticate", b'Basic realm="EST", charset="UTF-8"')
_SOON_S, _LATER_S = 5, 15
Headers = list[tuple[bytes, bytes]]


@dataclass(frozen=True, slots=True)
class EstServices:
    """What EST is given: `certificates` are the CA's, DER, the root last; `attributes` are CsrAttrs, DER."""

    program: ProgramEnrolment
    label: str
    certificates: tuple[bytes, ...]
    attributes: bytes | None
    translator: Translator
    certificate_of: CertificateOf
    health: Health
    require_whole: Callable[[], None]
    load: Load


@dataclass(frozen=True, slots=True)
class _Answer:
    status: int
    body: bytes = b""
    headers: Headers = field(default_factory=list)
    encoded: bool = False
    """Whether the body is base64."""


class Est:
    """Serves /.well-known/est/OPERATION and /.well-known/est/LABEL/OPERATION (RFC 7030 s.3.2.2).

    A label is the profile's name, or `rfc7030` for clients of the first edition.
    """

    def __init__(self, services: EstServices) -> None:
        self.services = services
        self._operations: Mapping[tuple[str, str], Callable[[HTTPScope, Receive], Awaitable[_Answer]]] = {
            ("GET", "cacerts"): self._cacerts,
            ("GET", "csrattrs"): self._csrattrs,
            ("POST", "simpleenroll"): self._simpleenroll,
            ("POST", "simplereenroll"): self._simplereenroll,
        }

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] != ScopeType.HTTP:
            return
        if scope["path"].startswith(HEALTH):
            await self.services.health.serve(scope, send)
            return
        try:
            with self.services.load.counted():
                label, operation = self._operation(scope)
                self.services.require_whole()
                busy = await self.services.load.turn(known=operation != self._simpleenroll)
                if busy is not None:
                    raise Refused(busy)
                answer = await operation(scope, receive)
            if label == _FIRST_EDITION:
                answer = _first_edition(answer)
        except Refused as refused:
            answer = self._refusal(scope, refused.refusal)
        except _Method as other:
            answer = _Answer(405, b"", [(b"allow", other.allowed)])
        headers: Headers = [
            (b"content-length", str(len(answer.body)).encode()),
            (b"cache-control", b"no-store"),
            (b"x-content-type-options", b"nosniff"),
            *answer.headers,
        ]
        await send({"type": "http.response.start", "status": answer.status, "headers": headers})
        await send({"type": "http.response.body", "body": answer.body, "more_body": False})

    def _operation(self, scope: HTTPScope) -> tuple[str, Callable[[HTTPScope, Receive], Awaitable[_Answer]]]:
        label, _, name = scope["path"].removeprefix(ROOT).rpartition("/")
        offered = {operation: method for method, operation in self._operations}
        known = scope["path"].startswith(ROOT) and label in {"", self.services.label, _FIRST_EDITION}
        if not known or name not in offered:
            raise Refused(_NO_OPERATION)
        if scope["method"] != offered[name]:
            raise _Method(offered[name].encode())
        return label, self._operations[scope["method"], name]

    async def _cacerts(self, _: HTTPScope, __: Receive) -> _Answer:
        """RFC 7030 s.4.1: the CA's certificates, nobody needs to be known for them."""
        return _certificates(self.services.certificates)

    async def _csrattrs(self, _: HTTPScope, __: Receive) -> _Answer:
        """RFC 7030 s.4.5, RFC 9908."""
        if self.services.attributes is None:
            return _Answer(204)
        return _base64(self.services.attributes, _ATTRIBUTES)

    async def _simpleenroll(self, scope: HTTPScope, receive: Receive) -> _Answer:
        """RFC 7030 s.4.2.1: the first certificate of an order, with the order's one-time credential (s.3.2.3)."""
        if not _header(scope, b"authorization"):
            # An empty 401: BouncyCastle's client first sends no credential, and cannot read a 401 with a body.
            return _Answer(401, b"", [_CHALLENGE])
        user, secret = _credential(scope)
        csr = await _request(scope, receive)
        return self._progress(scope, await self.services.program.enrol(user, secret, csr))

    async def _simplereenroll(self, scope: HTTPScope, receive: Receive) -> _Answer:
        """RFC 7030 s.4.2.2: a renewal, with the present certificate; or the new certificate's proof of itself."""
        shown = self.services.certificate_of(scope)
        if shown is None:
            raise Refused(_SHOW_CERTIFICATE)
        csr = await _request(scope, receive)
        return self._progress(scope, await self.services.program.reenrol(PresentedCertificate(shown), csr))

    def _progress(self, scope: HTTPScope, progress: Progress) -> _Answer:
        if progress.certificate is not None:
            return _certificates((progress.certificate,))
        soon = progress.order.state in _AT_THE_CA
        key = key_words(progress.order.spki_sha256 or "")
        approve = text(
            "Your key %(key)s has arrived. Please approve it at the portal; then it gets its certificate.", key=key
        )
        sentence = text("Your certificate is being made. Please wait a moment.") if soon else approve
        wait = str(_SOON_S if soon else _LATER_S).encode()
        return self._said(scope, 202, sentence, [(b"retry-after", wait)])

    def _refusal(self, scope: HTTPScope, refusal: Refusal) -> _Answer:
        status = _UNSUPPORTED if refusal is _CONTENT_TYPE else STATUS[refusal.kind]
        headers: Headers = []
        if status == 401:
            headers.append(_CHALLENGE)
        if refusal.retry_after_s is not None:
            headers.append((b"retry-after", str(refusal.retry_after_s).encode()))
        return self._said(scope, status, refusal.public, headers)

    def _said(self, scope: HTTPScope, status: int, sentence: Text, headers: Headers) -> _Answer:
        lang = negotiate(None, None, _header(scope, b"accept-language"))
        body = self.services.translator.translate(sentence, lang).encode()
        return _Answer(status, body, [(b"content-type", b"text/plain; charset=utf-8"), *headers])


class _Method(Exception):
    """The operation has another method."""

    def __init__(self, allowed: bytes) -> None:
        super().__init__(allowed)
        self.allowed = allowed


def _certificates(certificates: tuple[bytes, ...]) -> _Answer:
    return _base64(est.certs_only(certificates), _CERTIFICATES)


def _first_edition(answer: _Answer) -> _Answer:
    """Return the answer as clients of RFC 7030's first edition read it: BouncyCastle 1.72 expects no body at 202."""
    if answer.encoded:
        return replace(answer, headers=[*answer.headers, (b"content-transfer-encoding", b"base64")])
    if answer.status == 202:
        return _Answer(202, b"", [header for header in answer.headers if header[0] != b"content-type"])
    return answer


def _base64(der: bytes, kind: bytes) -> _Answer:
    return _Answer(200, est.to_base64(der), [(b"content-type", kind)], encoded=True)


def _header(scope: HTTPScope, name: bytes) -> str:
    return next((value.decode("latin-1") for key, value in scope["headers"] if key.lower() == name), "")


def _credential(scope: HTTPScope) -> tuple[str, Secret]:
    """Return user and secret of HTTP Basic (RFC 7617); raise Refused for anything else."""
    scheme, _, encoded = _header(scope, b"authorization").partition(" ")
    try:
        user, colon, secret = b64decode(encoded.strip(), validate=True).decode().partition(":")
    except (binascii.Error, ValueError) as error:
        raise Refused(_CREDENTIAL) from error
    if scheme.lower() != "basic" or not colon or not user.isprintable():
        raise Refused(_CREDENTIAL)
    return user, Secret(secret)


async def _request(scope: HTTPScope, receive: Receive) -> bytes:
    """Return the PKCS #10 request of the body, DER; a Content-Transfer-Encoding says nothing (RFC 8951 s.3.1)."""
    if _header(scope, b"content-type").partition(";")[0].strip().lower() != _REQUEST:
        raise Refused(_CONTENT_TYPE)
    body = await body_within(receive, MAX_BODY)
    if body is None:
        raise Refused(_TOO_LARGE)
    der = est.from_base64(body)
    if der is None:
        raise Refused(_NOT_BASE64)
    return der


_UNSUPPORTED = 415
_NO_OPERATION = Refusal(Kind.NOT_FOUND, text("This EST service has no such operation."), code="operation")
_CREDENTIAL = Refusal(
    Kind.UNAUTHENTICATED,
    text("Please begin at the portal and give this program the credential that you get there."),
    code="credential",
)
_SHOW_CERTIFICATE = Refusal(
    Kind.FORBIDDEN,
    text("A renewal is asked for with your present certificate; this program has not shown it."),
    code="no_certificate",
)
_CONTENT_TYPE = Refusal(
    Kind.MALFORMED, text("A certificate request is sent as application/pkcs10."), code="content_type"
)
_NOT_BASE64 = Refusal(
    Kind.MALFORMED, text("A certificate request is sent as DER in base64, without header lines."), code="base64"
)
_TOO_LARGE = Refusal(Kind.TOO_LARGE, text("The certificate request is too large."), code="too_large")
