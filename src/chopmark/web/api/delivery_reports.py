"""Take the delivery reports of gateways, at an address that ends with a secret of each gateway.

Some gateways report by GET. A GET that changes something is acceptable here: nobody else knows the address, and it
changes only the delivery state of one message.
"""

from typing import Any, Final

from litestar import MediaType, Request, Response, Router, get, post
from litestar.params import FromPath

from chopmark.core.refusal import Kind, Refusal, Refused
from chopmark.core.types import text
from chopmark.web.state import services

Req = Request[Any, Any, Any]
MOST_FIELDS: Final = 40
LONGEST_FIELD: Final = 512


async def _take(request: Req, gateway: str, secret: str) -> Response[str]:
    form = await request.form() if request.method == "POST" else {}
    came = {**dict(request.query_params.items()), **dict(form.items())}
    fields = {
        name: value for name, value in list(came.items())[:MOST_FIELDS]
        if isinstance(value, str) and len(value) <= LONGEST_FIELD and "\0" not in value
    }  # fmt: skip
    if not await services(request).reports.came(gateway, secret, fields):
        raise Refused(Refusal(Kind.NOT_FOUND, text("There is no such page.")))
    return Response("OK\n", media_type=MediaType.TEXT, status_code=200)


@get("/hooks/gateways/{gateway:str}/{secret:str}")
async def reported(request: Req, gateway: FromPath[str], secret: FromPath[str]) -> Response[str]:
    """Take a delivery report that comes by GET."""
    return await _take(request, gateway, secret)


@post("/hooks/gateways/{gateway:str}/{secret:str}", status_code=200, opt={"exclude_from_csrf": True})
async def reported_by_form(request: Req, gateway: FromPath[str], secret: FromPath[str]) -> Response[str]:
    """Take a delivery report that comes as a form."""
    return await _take(request, gateway, secret)


ROUTER = Router("/", include_in_schema=False, route_handlers=[reported, reported_by_form])
