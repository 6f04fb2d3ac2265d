"""Idempotency-Key: make a change once, and answer repeats with the first answer."""

import asyncio
import hashlib
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any

import msgspec
from litestar import Response

from chopmark.core.refusal import Kind, Refusal, Refused
from chopmark.core.types import OrderId, text
from chopmark.identity.sessions import SIGN_IN_AGAIN
from chopmark.ra.authentication import AuthenticatedRequest
from chopmark.ra.ports import Answer
from chopmark.ra.snapshots import Repeat
from chopmark.web.api.presenters import order_url
from chopmark.web.problems import problem
from chopmark.web.session import enter, set_session, token_of
from chopmark.web.state import AnyRequest, services

_WAIT_S = 0.05
_WAITS = 100
_RETRIED = frozenset({Kind.UNAUTHENTICATED, Kind.TOO_MANY, Kind.UNAVAILABLE})


class _Named(msgspec.Struct):
    """What a body says that the headers of its answer say, too: the order's id, and the seconds of a problem."""

    id: str = ""
    retry_after_s: int | None = None


_BUSY = Refusal(Kind.CONFLICT, text("This is being done already. Please wait a moment."), code="in_flight")


async def once(
    request: AnyRequest, do: Callable[[AuthenticatedRequest], Awaitable[Response[Any]]], order: OrderId | None = None
) -> Response[Any]:
    """Do a change once for its Idempotency-Key: a repeat gets the first answer, another body is refused (I42)."""
    repeat = await _repeat_of(request)
    if repeat is None:
        authenticated = await enter(request, order)
        return await do(authenticated)
    authenticated = await enter(request, order, repeat)
    scope = repeat.scope(authenticated.session.customer)
    answer = None if authenticated.begun else await _again(request, scope, repeat)
    if answer is None:
        return await _first(request, scope, repeat.name, partial(do, authenticated))
    return _given(request, answer)


async def _repeat_of(request: AnyRequest) -> Repeat | None:
    """Return what makes a repeat of this request the same one; None without an Idempotency-Key."""
    name = request.headers.get("idempotency-key", "")
    if not name:
        return None
    if len(name) > 100 or not name.isprintable():
        raise Refused(
            Refusal(Kind.MALFORMED, text("An Idempotency-Key has at most 100 printable characters."), code="key")
        )
    body = hashlib.sha256(await request.body()).digest()
    return Repeat(name, f"{request.method}:{request.scope['path']}", body)


def _given(request: AnyRequest, answer: Answer) -> Response[Any]:
    """Return a stored answer as it was given first. Its headers are read from its body: status and body are stored."""
    kind = "application/json" if answer.status < 400 else "application/problem+json"
    body = answer.body.encode()
    named, headers = msgspec.json.decode(body, type=_Named), {}
    if answer.status == 201:
        headers["Location"] = order_url(services(request), OrderId(named.id))
    if named.retry_after_s is not None:
        headers["Retry-After"] = str(named.retry_after_s)
    return Response(body, status_code=answer.status, media_type=kind, headers=headers)


async def answer_lost(request: AnyRequest) -> Response[Any]:
    """Repeat an answer that was lost, with another session id; raise Refused for any other request."""
    token, repeat, sessions = token_of(request), await _repeat_of(request), services(request).identity.sessions
    session = None if token is None or repeat is None else await sessions.before(token, repeat.digest)
    if token is None or repeat is None or session is None:
        raise Refused(SIGN_IN_AGAIN)
    answer = await _again(request, repeat.scope(session.customer), repeat)
    if answer is None:  # its process died before the answer was stored
        await services(request).ra.idempotency.forget(repeat.scope(session.customer), repeat.name)
        raise Refused(SIGN_IN_AGAIN)
    response = _given(request, answer)
    set_session(request, response, await sessions.step_up_again(session, token, repeat.digest))
    return response


async def _again(request: AnyRequest, scope: str, repeat: Repeat) -> Answer | None:
    """Return the first answer, waiting while it is being made; None when the request has to be done after all."""
    store, waiting = services(request).ra.idempotency, _BUSY
    for _ in range(_WAITS):
        begun = await store.begin(scope, repeat.name, repeat.body_sha256, services(request).now())
        if not isinstance(begun, Refusal):
            return begun
        if begun.code != "in_flight":
            raise Refused(begun)
        waiting = begun
        await asyncio.sleep(_WAIT_S)
    raise Refused(waiting)


async def _first(
    request: AnyRequest, scope: str, name: str, do: Callable[[], Awaitable[Response[Any]]]
) -> Response[Any]:
    store = services(request).ra.idempotency
    kept = False
    try:
        try:
            response = await do()
        except Refused as refused:
            if refused.refusal.kind in _RETRIED:
                raise
            response = problem(request, refused.refusal)
        body = response.content if isinstance(response.content, bytes) else msgspec.json.encode(response.content)
        response.content = body
        store.finish(scope, name, Answer(response.status_code or 200, body.decode()))
        kept = True
        return response
    finally:
        if not kept:
            await store.forget(scope, name)
