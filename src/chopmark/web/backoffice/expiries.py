"""For programs of the firm: which certificates end when, how far their renewal is, and who cannot trade next."""

from typing import Any

import msgspec
from litestar import Request, Response, Router, get
from litestar.params import FromQuery

from chopmark.core.types import CustomerId
from chopmark.identity.sessions import network_of
from chopmark.ra.expiries import Funnel, Only, Unreached, cursor_of, told, told_window, written
from chopmark.tw.trading_days import Standing
from chopmark.web.basic import basic_of
from chopmark.web.problems import PROBLEMS
from chopmark.web.state import address_of, services

Req = Request[Any, Any, Any]


class ExpiryOut(msgspec.Struct):
    """A certificate that ends, and how far its renewal is; moments are ISO 8601 in Taipei's time."""

    ends: str
    last_trading_day: str
    trading_days_left: int
    funnel: Funnel
    cannot_trade: bool
    unreached: Unreached | None
    reminders: int
    reminded_at: str | None
    customer: str
    account: str
    serial: str
    issuer: str


class ExpiriesOut(msgspec.Struct):
    """Certificates in the order of their ends; `next` is the `after` of the next call, null at the end."""

    as_of: str
    next_session: str
    calendar: Standing
    certificates: list[ExpiryOut]
    next: str | None


@get("/expiries", responses=PROBLEMS)
async def expiries(
    request: Req,
    days: FromQuery[int] = 30,
    since: FromQuery[int] = 7,
    only: FromQuery[Only] = "all",
    after: FromQuery[str] = "",
) -> Response[ExpiriesOut]:
    """Return certificates that end, from `since` days ago to `days` ahead (client credential, Basic), page by page.

    `only` is all, cannot-trade (no certificate in use when the exchange opens next), unnoticed (of these: not
    reminded, and no order open) or unreachable. A page may be empty and not the last; a client sees the accounts of
    its scope.
    """
    web = services(request)
    client = await web.identity.launches.authenticate(
        *basic_of(request), CustomerId(""), network_of(address_of(request))
    )
    window = web.ra.expiries.window(days, since)
    page = await web.ra.expiries.page(window, cursor_of(after))
    rows = [row for row in page.rows if client.scope.covers(row.account) and row.is_of(only)]
    body = {**told_window(window), "certificates": [told(row) for row in rows], "next": written(page.following)}
    return Response(msgspec.convert(body, ExpiriesOut), headers={"Cache-Control": "no-store"})


ROUTER = Router("/backoffice/v1", route_handlers=[expiries])
