"""The one translation from a Refusal to HTTP: RFC 9457 problems for programs, pages for people.

This is the web's home for the unexpected: anything else becomes a 500 that says nothing about its cause.
"""

import hashlib
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import msgspec
import structlog
from litestar import Response
from litestar.datastructures import Cookie
from litestar.exceptions import HTTPException
from litestar.openapi import ResponseSpec
from litestar.response import Redirect

from chopmark.core.refusal import Kind, Refusal, Refused
from chopmark.core.types import Text, text
from chopmark.web.pages.frames import frame_of, html, lang_of
from chopmark.web.pages.views import error_page
from chopmark.web.state import AnyRequest, services

log = structlog.get_logger()

STATUS: Mapping[Kind, int] = {
    Kind.MALFORMED: 400,
    Kind.UNAUTHENTICATED: 401,
    Kind.FORBIDDEN: 403,
    Kind.NOT_FOUND: 404,
    Kind.CONFLICT: 409,
    Kind.STEP_REQUIRED: 409,
    Kind.WRONG_CODE: 422,
    Kind.CODE_DEAD: 410,
    Kind.WRONG_BIRTH_DATE: 422,
    Kind.BAD_KEY: 422,
    Kind.BAD_PROOF: 422,
    Kind.LOCKED: 423,
    Kind.TOO_MANY: 429,
    Kind.TOO_LARGE: 413,
    Kind.UNAVAILABLE: 503,
}
TITLES: Mapping[Kind, Text] = {
    Kind.MALFORMED: text("Please look at what you entered"),
    Kind.UNAUTHENTICATED: text("Please sign in"),
    Kind.FORBIDDEN: text("This is not possible"),
    Kind.NOT_FOUND: text("There is no such thing"),
    Kind.CONFLICT: text("The order has changed"),
    Kind.STEP_REQUIRED: text("Another step comes first"),
    Kind.WRONG_CODE: text("The code is not right"),
    Kind.CODE_DEAD: text("This code can no longer be used"),
    Kind.WRONG_BIRTH_DATE: text("The birth date is not right"),
    Kind.BAD_KEY: text("This key cannot be used"),
    Kind.BAD_PROOF: text("The signature does not hold"),
    Kind.LOCKED: text("On hold"),
    Kind.TOO_MANY: text("Too many attempts"),
    Kind.TOO_LARGE: text("What was sent is too large"),
    Kind.UNAVAILABLE: text("The service is not available at the moment"),
}
_BY_STATUS: Mapping[int, Refusal] = {
    400: Refusal(Kind.MALFORMED, text("The request could not be read. Please reload the page and try again.")),
    401: Refusal(Kind.UNAUTHENTICATED, text("Please sign in.")),
    403: Refusal(Kind.FORBIDDEN, text("The page was open too long. Please reload it and try again."), code="csrf"),
    404: Refusal(Kind.NOT_FOUND, text("There is no such page.")),
    405: Refusal(Kind.NOT_FOUND, text("This page cannot be used that way."), code="method"),
    413: Refusal(Kind.TOO_LARGE, text("What was sent is too large.")),
    415: Refusal(Kind.MALFORMED, text("The request could not be read. Please reload the page and try again.")),
    429: Refusal(Kind.TOO_MANY, text("Please wait a moment and try again."), retry_after_s=5),
}


class ProblemBody(msgspec.Struct, omit_defaults=True):
    """An RFC 9457 problem; `detail` is a translated sentence to show, `field` the request's member it is about."""

    type: str
    title: str
    status: int
    detail: str
    kind: str
    request_id: str
    code: str | None = None
    field: str | None = None
    retry_after_s: int | None = None


PROBLEMS = {
    code: ResponseSpec(
        ProblemBody, generate_examples=False, description="RFC 9457 problem", media_type="application/problem+json"
    )
    for code in sorted({*STATUS.values(), 500})
}
"""What any route may answer instead; for the OpenAPI document."""


def wants_json(request: AnyRequest) -> bool:
    """Tell whether a program asked rather than a person's browser for a page."""
    path = request.scope["path"]
    return path.startswith(("/api/", "/backoffice/")) or "application/json" in request.headers.get("accept", "")


def request_id(request: AnyRequest) -> str:
    """Return the id that a customer can read out to the help line: eight letters and digits of this request."""
    now = services(request).now().isoformat()
    return hashlib.sha256(f"{now}{id(request)}".encode()).hexdigest()[:8].upper()


def problem(request: AnyRequest, refusal: Refusal, status: int | None = None) -> Response[bytes]:
    """Return a refusal as application/problem+json in the caller's language; `status` overrules the kind's own."""
    lang = lang_of(request)
    translate = request.app.state.pages.translator.translate
    body = ProblemBody(
        type=f"{services(request).portal_url}/problems/{refusal.kind.value}",
        title=translate(TITLES[refusal.kind], lang),
        status=status or STATUS[refusal.kind],
        detail=translate(refusal.public, lang),
        kind=refusal.kind.value,
        request_id=request_id(request),
        code=refusal.code,
        field=refusal.field,
        retry_after_s=refusal.retry_after_s,
    )
    headers = {} if refusal.retry_after_s is None else {"Retry-After": str(refusal.retry_after_s)}
    return Response(
        msgspec.json.encode(body), status_code=body.status, media_type="application/problem+json", headers=headers
    )


def _page(request: AnyRequest, refusal: Refusal, status: int | None = None) -> Response[str]:
    status = status or STATUS[refusal.kind]
    page = error_page(frame_of(request), status, request_id(request), refusal.public, TITLES[refusal.kind])
    response = html(request, page, status)
    if refusal.retry_after_s is not None:
        response.headers["Retry-After"] = str(refusal.retry_after_s)
    return response


def refused(request: AnyRequest, error: Refused) -> Response[bytes] | Response[str] | Redirect:
    """Answer a refusal: a problem for programs; for people a page, or the way to sign in."""
    if wants_json(request):
        return problem(request, error.refusal)
    if error.refusal.kind is Kind.UNAUTHENTICATED and request.method == "GET":
        return Redirect("/sign-in", query_params={"next": _here(request)}, status_code=303)
    return _page(request, error.refusal)


def _here(request: AnyRequest) -> str:
    """Return the address that was asked for, without the portal's own part: `/certificates?account=1`."""
    return request.url.path + (f"?{request.url.query}" if request.url.query else "")


def http_error(request: AnyRequest, error: HTTPException) -> Response[bytes] | Response[str]:
    """Answer what the framework refused: unknown page, wrong form token, malformed or too large request."""
    if error.status_code >= 500:
        return unexpected(request, error)
    refusal = _BY_STATUS.get(error.status_code) or _BY_STATUS[400]
    if refusal.kind is Kind.MALFORMED:
        refusal = replace(refusal, field=_member(error))
    status = 405 if error.status_code == 405 else None
    answer: Response[bytes] | Response[str] = (
        problem(request, refusal, status) if wants_json(request) else _page(request, refusal, status)
    )
    if "allow" in (error.headers or {}):
        answer.headers["Allow"] = (error.headers or {})["allow"]
    if refusal.code == "csrf":
        _renew_form_token(request, answer)
    return answer


def _member(error: HTTPException) -> str | None:
    """Return the request's member that the framework could not read, if it names one."""
    extra = error.extra
    named = extra[0].get("key") if isinstance(extra, list) and extra and isinstance(extra[0], dict) else None
    return named if isinstance(named, str) and named.isidentifier() else None


def _renew_form_token(request: AnyRequest, answer: Response[Any]) -> None:
    """Drop a form cookie that no longer holds (its key has changed), so that a reloaded page brings a new one."""
    web = services(request)
    name = "__Host-csrf" if web.https else "csrf"
    if name in request.cookies:
        answer.set_cookie(
            Cookie(key=name, value="", path="/", max_age=0, httponly=True, secure=web.https, samesite="lax")
        )


def too_deep(request: AnyRequest, error: RecursionError) -> Response[bytes] | Response[str]:
    """Answer a body that is nested deeper than the decoder goes; any other recursion is a bug."""
    if "deserializing" not in str(error):
        return unexpected(request, error)
    return problem(request, _BY_STATUS[400])


def not_utf8(request: AnyRequest, error: UnicodeDecodeError) -> Response[bytes] | Response[str]:
    """Answer a body whose octets are no UTF-8; text that we fail to decode anywhere else is a bug."""
    if _innermost(error) != "decode_json":
        return unexpected(request, error)
    return problem(request, _BY_STATUS[400])


def _innermost(error: Exception) -> str:
    """Return the function in which an error was raised."""
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    return "" if trace is None else trace.tb_frame.f_code.co_name


def unexpected(request: AnyRequest, error: Exception) -> Response[bytes] | Response[str]:
    """Answer a bug: log its type and place, tell the person only a number to give to the help line."""
    number = request_id(request)
    frames = []
    trace = error.__traceback__
    while trace is not None:
        frames.append(f"{trace.tb_frame.f_code.co_name}:{trace.tb_lineno}")
        trace = trace.tb_next
    log.error("unexpected", request_id=number, error=type(error).__name__, at=" ".join(frames[-4:]))
    if wants_json(request):
        return _internal_problem(request, number)
    return html(request, error_page(frame_of(request), 500, number), 500)


def _internal_problem(request: AnyRequest, number: str) -> Response[bytes]:
    page = error_page(frame_of(request), 500, number)
    translate = request.app.state.pages.translator.translate
    body = ProblemBody(
        type="about:blank",
        title=translate(page.title, page.frame.lang),
        status=500,
        detail=translate(page.detail, page.frame.lang),
        kind="internal",
        request_id=number,
    )
    return Response(msgspec.json.encode(body), status_code=500, media_type="application/problem+json")
