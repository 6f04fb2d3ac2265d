"""For programs of relying firms: which certificate an account has, told as soon as it changes (long poll)."""

import asyncio
from typing import Any

from litestar import Response, Router, get
from litestar.params import FromQuery

from chopmark.core.types import CustomerId
from chopmark.identity.sessions import network_of
from chopmark.ra.feed import Change, Changed
from chopmark.tw.zone import TAIPEI
from chopmark.web.api import Req, basic_of
from chopmark.web.services import WebServices
from chopmark.web.state import address_of, services

MOST_WAIT_S = 25
"""So long an answer may wait for a change: shorter than what proxies wait for."""
LOOKS_A_SECOND = 4


@get("/changes")
async def changes(request: Req, after: FromQuery[int] = 0, wait: FromQuery[int] = MOST_WAIT_S) -> Response[Any]:
    """Return the certificates that have changed since `after` (client credential, Basic), or wait for one to change.

    `next` is the `after` of the next call. Each certificate stands as it is now, and may come more than once; a
    client sees the accounts of its scope. With `wait` 0 the answer comes at once.
    """
    web = services(request)
    client = await web.identity.launches.authenticate(
        *basic_of(request), CustomerId(""), network_of(address_of(request))
    )
    found = await _changed(web, max(0, after), min(max(0, wait), MOST_WAIT_S))
    seen = [change for change in found.changes if client.scope.covers(change.account)]
    body = {"next": found.following, "changes": [_told(change) for change in seen]}
    return Response(body, headers={"Cache-Control": "no-store"})


async def _changed(web: WebServices, after: int, wait_s: int) -> Changed:
    """Return what has changed; look again until there is something, or the time is over."""
    for _ in range(wait_s * LOOKS_A_SECOND):
        found = await web.ra.feed.after(after)
        if found.changes:
            return found
        if found.following > after:
            after = found.following  # many records without a certificate: look at the next ones at once
            continue
        await asyncio.sleep(1 / LOOKS_A_SECOND)
    return await web.ra.feed.after(after)


def _told(change: Change) -> dict[str, str]:
    return {
        "account": change.account,
        "serial": change.serial,
        "state": change.state.value,
        "from": change.since.astimezone(TAIPEI).isoformat(),
        "to": change.until.astimezone(TAIPEI).isoformat(),
    }


ROUTER = Router("/backoffice/v1", route_handlers=[changes], include_in_schema=False)
