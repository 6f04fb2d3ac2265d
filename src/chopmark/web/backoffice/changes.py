"""For programs of relying firms: which certificate an account has, told as soon as it changes (long poll)."""

from typing import Any

import msgspec
from litestar import Request, Response, Router, get
from litestar.params import FromQuery

from chopmark.core.refusal import Kind, Refusal, Refused
from chopmark.core.types import CertificateState, CustomerId, text
from chopmark.identity.sessions import network_of
from chopmark.ra.feed import Changed, told
from chopmark.web.basic import basic_of
from chopmark.web.problems import PROBLEMS
from chopmark.web.state import address_of, leaving, services

Req = Request[Any, Any, Any]
MOST_WAIT_S = 25
"""The longest wait for a change, shorter than the time-outs of proxies."""
MOST_AFTER = 2**63 - 1
"""The highest place that a database can count."""
LOOKS_A_SECOND = 4
"""Looks are repeated because notifications can be lost, and on SQLite come from this process only."""

_NO_SUCH_PLACE = Refusal(
    Kind.MALFORMED,
    text("This place in the list does not exist. Please read the list from its beginning."),
    field="after",
    code="cursor",
)


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
    if after > MOST_AFTER:
        raise Refused(_NO_SUCH_PLACE)
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


ROUTER = Router("/backoffice/v1", route_handlers=[changes])
