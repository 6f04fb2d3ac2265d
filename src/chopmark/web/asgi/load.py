"""Count the requests in progress, and refuse or delay some when there are too many. Three rules, by load:

1. From half of its requests on, whoever begins an application, a first certificate, is asked to come again.
2. From three quarters on, so is whoever has not signed in; a known browser and a launch by the trading program go on.
3. At all of them everybody is. OCSP, lists and health are not counted here: they have an allowance of their own.

A request that is begun waits for its turn, so that those not yet begun are counted too, and status need not wait.
"""

import asyncio
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any, Final, cast

from litestar.enums import ScopeType
from litestar.types import ASGIApp, Receive, Scope, Send

from chopmark.core.refusal import Kind, Refusal
from chopmark.core.types import text

TURNS_BETWEEN: Final = 8


class Line:
    """A queue: one request at a time, in order of arrival, with some turns of the event loop between two of them.

    A page that waits for nothing is made in one go: five hundred of them would be one turn of half a second. In the
    turns between two, connections are accepted (uvloop takes one a turn) and status is read and answered.
    """

    def __init__(self) -> None:
        self._waiting: deque[asyncio.Future[None]] = deque()
        self._taken = False

    def __len__(self) -> int:
        """Count those who wait."""
        return len(self._waiting)

    async def turn(self) -> None:
        """Wait for this request's turn; return at once if nobody waits and no other request has used this turn."""
        loop = asyncio.get_running_loop()
        if self._taken:
            waiter: asyncio.Future[None] = loop.create_future()
            self._waiting.append(waiter)
            await waiter
        else:
            self._taken = True
            loop.call_soon(self._pass, loop, 1)

    def _pass(self, loop: asyncio.AbstractEventLoop, turns: int) -> None:
        """Let turns pass, then the first of those who still wait; who has gone meanwhile takes none."""
        while self._waiting and self._waiting[0].done():
            self._waiting.popleft()
        if not self._waiting:
            self._taken = False
        elif turns < TURNS_BETWEEN:
            loop.call_soon(self._pass, loop, turns + 1)
        else:
            self._waiting.popleft().set_result(None)
            loop.call_soon(self._pass, loop, 1)


class Load:
    """Requests in progress in this process; a whole request that came is in progress until its answer is made.

    Whatever is slow, the database, another CA or the processor, shows in their number.
    """

    def __init__(self, requests: int, status_requests: int) -> None:
        self.requests = requests
        self.status_requests = status_requests
        self.in_progress = 0
        self.status_in_progress = 0
        self._customers = Line()
        self._strangers = Line()
        self._refused = Line()

    @contextmanager
    def counted(self) -> Iterator[None]:
        """Count a request of the portal."""
        self.in_progress += 1
        try:
            yield
        finally:
            self.in_progress -= 1

    def refuses_applications(self) -> Refusal | None:
        """Return why an application cannot begin now, or None."""
        return _APPLY_LATER if self.in_progress > self.requests // 2 else None

    @property
    def at_ease(self) -> bool:
        """Whether nobody has to wait."""
        return self.in_progress <= self.requests * 3 // 4

    def refuses(self, *, known: bool) -> Refusal | None:
        """Return why a request cannot be answered now, or None; `known`: of somebody whom we know already."""
        if self.in_progress > self.requests:
            return _FULL
        return None if known or self.at_ease else _SIGN_IN_LATER

    async def turn(self, *, known: bool) -> Refusal | None:
        """Wait for a counted request's turn; return why it cannot be answered, or None.

        Customers do not stand behind strangers. Refusing costs time too; who waits for that takes nobody's place,
        and where too many do, CROWD is returned at once.
        """
        busy = self.refuses(known=known)
        if busy is None:
            await (self._customers if known else self._strangers).turn()
            return None
        if len(self._refused) >= self.requests:
            return CROWD
        self.in_progress -= 1
        try:
            await self._refused.turn()
        finally:
            self.in_progress += 1
        return busy


class Counted:
    """The portal, whose requests are counted and have their turns; `known` tells who says that we know him."""

    def __init__(self, load: Load, portal: ASGIApp, known: Callable[[Scope], bool]) -> None:
        self._load = load
        self._portal = portal
        self._known = known

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] != ScopeType.HTTP:
            await self._portal(scope, receive, send)
            return
        with self._load.counted():
            busy = await self._load.turn(known=self._known(scope))
            if busy is CROWD:
                await send({"type": "http.response.start", "status": 503, "headers": _CROWDED})
                await send({"type": "http.response.body", "body": b"", "more_body": False})
                return
            if busy is not None:
                cast("dict[str, Any]", scope)[_BUSY] = busy
            await self._portal(scope, receive, send)


def busy_of(scope: Scope) -> Refusal | None:
    """Return why a request has to be refused, as was found when it came, or None."""
    return cast("dict[str, Any]", scope).get(_BUSY)


BUSY: Final = "busy"
_BUSY: Final = "chopmark.busy"
_APPLY_LATER = Refusal(
    Kind.UNAVAILABLE,
    text("Very many customers are here right now, and renewals go first. Please apply again in a minute."),
    code=BUSY,
    retry_after_s=60,
)
_SIGN_IN_LATER = Refusal(
    Kind.UNAVAILABLE,
    text("Very many customers are here right now. Please come back in half a minute and sign in then."),
    code=BUSY,
    retry_after_s=30,
)
_FULL = Refusal(
    Kind.UNAVAILABLE,
    text("Very many customers are here right now. Please try again in a few seconds; your order is kept."),
    code=BUSY,
    retry_after_s=5,
)
CROWD: Final = replace(_FULL)
"""For which there is not even time to make a page: a bare 503, and the connection's place is free again."""
_CROWDED: Final = [(b"content-length", b"0"), (b"connection", b"close"), (b"retry-after", b"5")]
