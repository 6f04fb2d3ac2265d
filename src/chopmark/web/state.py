"""How a handler reaches what `main` built, and the typed request."""

from typing import Any, Final, TypeAlias, cast

from litestar import Request

from chopmark.web.doors import Doors

AnyRequest: TypeAlias = Request[Any, Any, Any]
LEAVING: Final = "chopmark.leaving"
"""Set in a request's scope when its client has gone or the process is about to end."""


def house(request: AnyRequest) -> Doors:
    """Return the doors of this application."""
    doors: Doors = request.app.state.doors
    return doors


def address_of(request: AnyRequest) -> str:
    """Return the client's address: the connection's, or what a trusted proxy says."""
    return house(request).addresses.of(request.scope)


def leaving(request: AnyRequest) -> bool:
    """Tell whether nobody waits for this request's answer any more, or the process ends: answer at once."""
    return LEAVING in cast("dict[str, Any]", request.scope)
