"""How a handler reaches what `main` built, and the typed request."""

from typing import Any, TypeAlias

from litestar import Request

from chopmark.web.doors import Doors

AnyRequest: TypeAlias = Request[Any, Any, Any]


def house(request: AnyRequest) -> Doors:
    """Return the doors of this application."""
    doors: Doors = request.app.state.doors
    return doors


def address_of(request: AnyRequest) -> str:
    """Return the client's address: the connection's, or what a trusted proxy says."""
    return house(request).addresses.of(request.scope)
