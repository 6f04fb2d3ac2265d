"""Telling the firm's order host which certificates have changed, in the order of their records, at least once.

The job reads the feed of changes from its cursor, sends what it finds as one message, and moves the cursor when the
receiver has accepted it. A message that was not accepted is sent again after the worker's back-off, together with the
changes since; later changes are never sent before it.
"""

import hashlib
import json
from collections.abc import Awaitable, Callable
from datetime import datetime, timedelta

from chopmark.core.clock import Clock
from chopmark.ra.feed import Changed, Feed, FeedCursor, told

LEASE = timedelta(seconds=30)
"""How long one worker alone may send: longer than the receiver may take to answer."""
PASSED = 1000
"""How many records without a change of a certificate are read before the cursor is stored although nothing was sent."""
Send = Callable[[str, datetime, bytes], Awaitable[None]]


class ChangesTold:
    """Tells one receiver of changes; any number of workers may run it, and only the holder of the lease sends."""

    def __init__(self, feed: Feed, cursor: FeedCursor, send: Send, clock: Clock, holder: str) -> None:
        self._feed = feed
        self._cursor = cursor
        self._send = send
        self._clock = clock
        self._holder = holder
        self._looked = (0, 0)
        """The stored cursor, and how far beyond it this process has read without finding a change."""

    async def once(self) -> int:
        """Send the next message, if there is one; return 1 when there may be more. Raises what `send` raises."""
        # 1. Take the lease and with it the cursor. If another worker has the lease, that one sends.
        before = await self._cursor.take(self._holder, self._clock.now(), LEASE)
        if before is None:
            return 0
        # 2. Read what has changed since.
        cursor, looked = self._looked
        start = max(before, looked) if before == cursor else before
        found = await self._feed.after(start)
        # 3. Send it, if there is anything.
        if found.changes:
            body = written(found)
            await self._send(message_id(body), self._clock.now(), body)
        # 4. Move the cursor, unless another worker has moved it meanwhile.
        self._looked = (before, found.following)
        if found.changes or found.following - before >= PASSED:
            await self._cursor.move(before, found.following)
        return int(found.following > start)


def written(found: Changed) -> bytes:
    """Return the body of a message: an event whose data is what the feed's answer would say."""
    event = {"type": "certificates.changed", "data": told(found.following, found.changes)}
    return json.dumps(event, separators=(",", ":"), ensure_ascii=False).encode()


def message_id(body: bytes) -> str:
    """Return the id of a message: the same id for the same content, so that a receiver recognizes a repetition.

    A repetition that contains further changes has another id, so a receiver that skips ids it has seen misses nothing.
    """
    return "msg_" + hashlib.sha256(body).hexdigest()[:32]
