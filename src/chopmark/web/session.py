"""The session cookie, and who is calling."""

from typing import Any, TypeAlias

from litestar.datastructures import Cookie
from litestar.di import NamedDependency
from litestar.params import SkipValidation
from litestar.response import Response

from chopmark.core.refusal import Refused
from chopmark.core.types import OrderId, Secret
from chopmark.identity.known import KNOWN_FOR
from chopmark.identity.sessions import SIGN_IN_AGAIN
from chopmark.ra.authentication import AuthenticatedRequest
from chopmark.ra.context import Caller
from chopmark.ra.snapshots import Repeat
from chopmark.web.pages.frames import lang_of
from chopmark.web.state import AnyRequest, services

KNOWN = "known"
"""The cookie of a known browser (`identity.known`)."""


Authenticated: TypeAlias = NamedDependency[SkipValidation[AuthenticatedRequest]]
"""A handler's parameter `authenticated`: whoever has not signed in is refused before it."""


def cookie_name(request: AnyRequest, name: str) -> str:
    """Return the cookie's name: `__Host-` on https, so that no other host can set it."""
    return cookie_called(name, https=services(request).https)


def cookie_called(name: str, *, https: bool) -> str:
    """Return what a cookie is called on https and without."""
    return f"__Host-{name}" if https else name


def token_of(request: AnyRequest) -> str | None:
    """Return the session token that the browser sent, if any."""
    return request.cookies.get(cookie_name(request, "chopmark"))


async def authenticated_or_none(request: AnyRequest) -> AuthenticatedRequest | None:
    """Return the request of a signed-in customer, or None."""
    token = token_of(request)
    if token is None:
        return None
    session = await services(request).identity.sessions.seen(token)
    if session is None:
        return None
    caller = Caller(session.customer, session.factors, session.interface, session.login, lang_of(request).value)
    return AuthenticatedRequest(token, session, caller)


async def authenticated_request(request: AnyRequest) -> AuthenticatedRequest:
    """Return the authenticated request; raise Refused (UNAUTHENTICATED) when nobody is signed in."""
    authenticated = await authenticated_or_none(request)
    if authenticated is None:
        raise Refused(SIGN_IN_AGAIN)
    return authenticated


async def enter(
    request: AnyRequest, order: OrderId | None = None, repeat: Repeat | None = None
) -> AuthenticatedRequest:
    """Return the authenticated request with what its step works on; its Idempotency-Key is taken where it is new.

    Raises Refused (UNAUTHENTICATED) when nobody is signed in.
    """
    token = token_of(request)
    if token is None:
        raise Refused(SIGN_IN_AGAIN)
    found = await services(request).ra.authentication.authenticate(token, lang_of(request).value, order, repeat)
    if found is None:
        raise Refused(SIGN_IN_AGAIN)
    return found


def private_cookie(request: AnyRequest, name: str, value: str, max_age: int | None = None) -> Cookie:
    """Return a cookie that scripts cannot read and other sites do not send along with a POST."""
    return Cookie(
        key=cookie_name(request, name),
        value=value,
        path="/",
        httponly=True,
        secure=services(request).https,
        samesite="lax",
        max_age=max_age,
    )


def set_known(request: AnyRequest, response: Response[Any], token: Secret) -> None:
    """Let this browser be known at the next sign-in: its customer has signed in here in full."""
    life = int(KNOWN_FOR.total_seconds())
    response.set_cookie(private_cookie(request, KNOWN, token.reveal(), max_age=life))


def set_session(request: AnyRequest, response: Response[Any], token: Secret) -> None:
    """Give the browser its session."""
    response.set_cookie(private_cookie(request, "chopmark", token.reveal()))
