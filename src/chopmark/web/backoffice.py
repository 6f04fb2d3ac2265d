"""For programs of the firm: which certificate an account has, told as soon as it changes; and which ones end when."""

import msgspec
from litestar import Response, Router, get
from litestar.params import FromQuery

from chopmark.core.types import CertificateState, CustomerId
from chopmark.identity.sessions import network_of
from chopmark.ra.expiries import Funnel, Only, Unreached, cursor_of, told_window, written
from chopmark.ra.expiries import told as told_expiry
from chopmark.ra.feed import Changed, told
from chopmark.tw.trading_days import Standing
from chopmark.web.api import PROBLEMS, Req, basic_of
from chopmark.web.state import address_of, leaving, services

MOST_WAIT_S = 25
"""So long an answer may wait for a change: shorter than what proxies wait for."""
LOOKS_A_SECOND = 4
"""A wake-up can be lost, and on SQLite it comes from this process only."""


class ChangeOut(msgspec.Struct, rename={"since": "from", "until": "to"}):
    """A certificate as it stands now; `from` and `to` are its validity, ISO 8601 in Taipei's time."""

    account: str
    serial: str
    state: CertificateState
    since: str
    until: str


class ChangesOut(msgspec.Struct):
    """What has changed; `next` is the `after` of the next call."""

    next: int
    changes: list[ChangeOut]


@get("/changes", responses=PROBLEMS)
async def changes(request: Req, after: FromQuery[int] = 0, wait: FromQuery[int] = MOST_WAIT_S) -> Response[ChangesOut]:
    """Return the certificates that have changed since `after` (client credential, Basic), or wait for one to change.

    `next` is the `after` of the next call. Each certificate stands as it is now, and may come more than once; a
    client sees the accounts of its scope. With `wait` 0 the answer comes at once.
    """
    launches = services(request).identity.launches
    client = await launches.authenticate(*basic_of(request), CustomerId(""), network_of(address_of(request)))
    found = await _changed(request, max(0, after), min(max(0, wait), MOST_WAIT_S))
    seen = [change for change in found.changes if client.scope.covers(change.account)]
    body = msgspec.convert(told(found.following, seen), ChangesOut)
    return Response(body, headers={"Cache-Control": "no-store"})


async def _changed(request: Req, after: int, wait_s: int) -> Changed:
    """Return what has changed; look again until there is something, the time is over, or the process has to end."""
    feed, looks = services(request).ra.feed, wait_s * LOOKS_A_SECOND
    while True:
        found = await feed.after(after)
        if found.changes or looks <= 0 or leaving(request):
            return found
        if found.following > after:
            after = found.following  # many records without a certificate: look at the next ones at once
            continue
        await feed.rest(1 / LOOKS_A_SECOND)
        looks -= 1


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
    body = {**told_window(window), "certificates": [told_expiry(row) for row in rows], "next": written(page.following)}
    return Response(msgspec.convert(body, ExpiriesOut), headers={"Cache-Control": "no-store"})


ROUTER = Router("/backoffice/v1", route_handlers=[changes, expiries])
