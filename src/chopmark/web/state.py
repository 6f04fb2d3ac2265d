"""How a handler reaches what `app.web` built, and the typed request."""

from typing import Any, Final, TypeAlias, cast

from litestar import Request

from chopmark.web.services import WebServices

AnyRequest: TypeAlias = Request[Any, Any, Any]
LEAVING: Final = "chopmark.leaving"
"""Set in a request's scope when its client has gone or the process is about to end."""


def services(request: AnyRequest) -> WebServices:
    """Return what this application may call."""
    web: WebServices = request.app.state.services
    return web


def address_of(request: AnyRequest) -> str:
    """Return the client's address: the connection's, or what a trusted proxy says."""
    return services(request).addresses.of(request.scope)


def leaving(request: AnyRequest) -> bool:
    """Tell whether nobody waits for this request's answer any more, or the process ends: answer at once."""
    return LEAVING in cast("dict[str, Any]", request.scope)
