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
    """Return the client's address: the connection's, or what the trusted proxy's header says last."""
    return address_in(request.scope, house(request).client_address_header)


def address_in(scope: Any, header: str) -> str:
    """Return the address in a connection's scope; `header` names the trusted proxy's, and is empty without one."""
    wanted = header.lower().encode()
    named = ",".join(value.decode("latin-1") for name, value in scope["headers"] if name == wanted)
    last = named.split(",")[-1].strip() if header else ""
    client = scope.get("client")
    return last or (client[0] if client else "unknown")
