"""Telling the firm's order host which certificates have changed, in the order of their records, at least once.

The job reads the feed of changes from its cursor, sends what it finds as one message, and moves the cursor on when the
receiver has taken it. A message that is not taken is sent again, with what has happened since, after the worker's
back-off; nothing behind it is sent before it.
"""

import hashlib
import json
from collections.abc import Awaitable, Callable
from datetime import datetime, timedelta

from chopmark.core.clock import Clock
from chopmark.ra.feed import Changed, Feed, FeedCursor, told

LEASE = timedelta(seconds=30)
"""Longer than a receiver may take to answer: nobody else sends meanwhile."""
PASSED = 1000
"""Records without a certificate that are passed before the cursor is written for them alone."""
Send = Callable[[str, datetime, bytes], Awaitable[None]]


class ChangesTold:
    """One receiver and how far it has been told; any number of workers may run it, and one of them sends."""

    def __init__(self, feed: Feed, cursor: FeedCursor, send: Send, clock: Clock, holder: str) -> None:
        self._feed = feed
        self._cursor = cursor
        self._send = send
        self._clock = clock
        self._holder = holder
        self._looked = (0, 0)
        """The cursor, and how far this process has looked behind it without finding a certificate."""

    async def once(self) -> int:
        """Send the next message, if there is one; 1 when there may be more. Raises what `send` raises.

        1. take the lease, and with it the cursor; another worker that has it sends instead
        2. read what has changed since
        3. send it, when there is anything
        4. move the cursor on, unless somebody else has moved it meanwhile
        """
        before = await self._cursor.take(self._holder, self._clock.now(), LEASE)  # 1
        if before is None:
            return 0
        cursor, looked = self._looked
        start = max(before, looked) if before == cursor else before
        found = await self._feed.after(start)  # 2
        if found.changes:
            body = written(found)
            await self._send(message_id(body), self._clock.now(), body)  # 3
        self._looked = (before, found.following)
        if found.changes or found.following - before >= PASSED:
            await self._cursor.move(before, found.following)  # 4
        return int(found.following > start)


def written(found: Changed) -> bytes:
    """Return the body of a message: what the feed's answer says, as the data of an event."""
    event = {"type": "certificates.changed", "data": told(found.following, found.changes)}
    return json.dumps(event, separators=(",", ":"), ensure_ascii=False).encode()


def message_id(body: bytes) -> str:
    """Return the id of a message: the same for the same content, so that a receiver knows it when it comes again.

    What is sent again with more in it is another message: a receiver that skips what it has seen misses nothing.
    """
    return "msg_" + hashlib.sha256(body).hexdigest()[:32]
