"""How much a process is doing, and who waits when it is too much. Three rules, in the order in which they begin:

1. From half of its requests on, whoever begins an application, a first certificate, is asked to come again.
2. From three quarters on, so is whoever has not signed in; a known browser and a launch by the trading program go on.
3. At all of them everybody is. OCSP, lists and health are not counted here: they have an allowance of their own.

A request that is begun waits for its turn, so that those not yet begun are counted too, and status need not wait.
"""

import asyncio
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Final, cast

from litestar.types import ASGIApp, Receive, Scope, Send

from chopmark.errors import Kind, Refusal
from chopmark.words import text


class Line:
    """Who comes first goes first, one in a turn of the event loop; status is read and answered between two turns.

    A page that waits for nothing is made in one go: five hundred of them would be one turn of half a second.
    """

    def __init__(self) -> None:
        self._waiting: deque[asyncio.Future[None]] = deque()
        self._taken = False

    async def turn(self) -> None:
        """Wait until it is one's turn; where nobody has had this one, that is at once."""
        loop = asyncio.get_running_loop()
        if self._taken:
            waiter: asyncio.Future[None] = loop.create_future()
            self._waiting.append(waiter)
            await waiter
        else:
            self._taken = True
            loop.call_soon(self._next, loop)

    def _next(self, loop: asyncio.AbstractEventLoop) -> None:
        while self._waiting:
            waiter = self._waiting.popleft()
            if not waiter.done():  # who has gone meanwhile takes no turn
                waiter.set_result(None)
                loop.call_soon(self._next, loop)
                return
        self._taken = False


class Load:
    """Requests in progress in this process; a whole request that came is in progress until its answer is made.

    Whatever is slow, the database, another CA or the processor, shows in their number.
    """

    def __init__(self, requests: int, status_requests: int) -> None:
        self.requests = requests
        self.status_requests = status_requests
        self.in_progress = 0
        self.status_in_progress = 0
        self._begun = Line()
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

        Refusing costs time too and has a line of its own; who stands there takes nobody's place.
        """
        busy = self.refuses(known=known)
        if busy is None:
            await self._begun.turn()
            return None
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
        with self._load.counted():
            busy = await self._load.turn(known=self._known(scope))
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
