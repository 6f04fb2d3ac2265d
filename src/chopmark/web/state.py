"""How a handler reaches what `app.web` built, and the typed request."""

from typing import Any, TypeAlias

from litestar import Request

from chopmark.web.services import WebServices

AnyRequest: TypeAlias = Request[Any, Any, Any]


def services(request: AnyRequest) -> WebServices:
    """Return what this application may call."""
    web: WebServices = request.app.state.services
    return web


def address_of(request: AnyRequest) -> str:
    """Return the client's address: the connection's, or what a trusted proxy says."""
    return services(request).addresses.of(request.scope)
