"""How much a process is doing, and who waits when it is too much. Three rules, in the order in which they begin:

1. From half of its requests on, whoever begins an application, a first certificate, is asked to come again.
2. From three quarters on, so is whoever has not signed in; a known browser and a launch by the trading program go on.
3. At all of them everybody is. OCSP, lists and health are not counted here: they have an allowance of their own.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from litestar.types import ASGIApp, Receive, Scope, Send

from chopmark.errors import Kind, Refusal
from chopmark.words import text


class Load:
    """Requests in progress in this process; a whole request that came is in progress until its answer is made.

    Whatever is slow, the database, another CA or the processor, shows in their number.
    """

    def __init__(self, requests: int, status_requests: int) -> None:
        self.requests = requests
        self.status_requests = status_requests
        self.in_progress = 0
        self.status_in_progress = 0

    @contextmanager
    def counted(self) -> Iterator[None]:
        """Count a request of the portal."""
        self.in_progress += 1
        try:
            yield
        finally:
            self.in_progress -= 1

    @contextmanager
    def status_counted(self) -> Iterator[bool]:
        """Count a question for status, and tell whether it can be answered now."""
        self.status_in_progress += 1
        try:
            yield self.status_in_progress <= self.status_requests
        finally:
            self.status_in_progress -= 1

    def refuses_applications(self) -> Refusal | None:
        """Return why an application cannot begin now, or None."""
        return _APPLY_LATER if self.in_progress > self.requests // 2 else None

    def refuses(self, *, known: bool) -> Refusal | None:
        """Return why a request cannot be answered now, or None; `known`: of somebody whom we know already."""
        if self.in_progress > self.requests:
            return _FULL
        if not known and self.in_progress > self.requests * 3 // 4:
            return _SIGN_IN_LATER
        return None


class Counted:
    """The portal, whose requests are counted."""

    def __init__(self, load: Load, portal: ASGIApp) -> None:
        self._load = load
        self._portal = portal

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        with self._load.counted():
            await self._portal(scope, receive, send)


BUSY: Final = "busy"
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
