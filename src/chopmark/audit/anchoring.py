"""Gets a time-stamp (RFC 3161) over the hash of the newest signed tree head, once an hour.

The token proves, by the clock of the time-stamp authority and not by ours, that the tree head existed by then. The
names in this code call the time-stamp of a tree head an *anchor*.
"""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from typing import Protocol

from chopmark.audit.anchorcheck import ANCHOR_STREAM
from chopmark.audit.events import Event
from chopmark.audit.head import Head, HeadPublicKey, head_hash, verify_head
from chopmark.audit.log import AuditLog, RecordBuilder
from chopmark.audit.ports import AnchorLog, Anchors, KeptAnchor, Stamper, StoredAnchor
from chopmark.audit.sequencer import TreeBroken
from chopmark.audit.tree import Frontier
from chopmark.core.clock import Clock

EVERY = timedelta(hours=1)
TURN = timedelta(minutes=1)
"""How long one worker may take before another one tries; both may then get a token, but only one is stored."""
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class Heads(Protocol):
    """Reads the newest signed tree head."""

    async def latest_head(self) -> tuple[Head, Frontier] | None:
        """Return the head of the greatest size with its frontier, or None; ValueError when one cannot be read."""
        ...


@dataclass(frozen=True, slots=True)
class Places:
    """Where tree heads and their time-stamps are kept: in the database, and in the heads file outside it."""

    heads: Heads
    anchors: Anchors
    log: AnchorLog


class Anchoring:
    """Gets and stores the hourly time-stamp; `holder` is a name that only this process has."""

    def __init__(
        self,
        places: Places,
        stamper: Stamper,
        head_keys: Sequence[HeadPublicKey],
        audit_log: AuditLog,
        clock: Clock,
        holder: str,
    ) -> None:
        self._places = places
        self._stamper = stamper
        self._head_keys = head_keys
        self._audit_log = audit_log
        self._clock = clock
        self._holder = holder
        self._filed: StoredAnchor | None = None

    async def once(self) -> int:
        """Get a time-stamp over the newest tree head if this hour has none yet; return 1 if this call stored one.

        Safe to call again after any failure. Raises NotStamped when no valid token was given, TreeBroken when our
        key did not sign the newest head, and OSError when the heads file cannot be written.
        """
        # 1. Copy the newest time-stamp into the heads file if a crash prevented that last time.
        newest = await self._places.anchors.newest()
        if newest is not None:
            await self._file(newest.anchor)
        # 2. Stop if this hour has a time-stamp, if there is no newer head, or if another worker is getting one.
        now = self._clock.now()
        hour = (now - _EPOCH) // EVERY
        head = await self._head()
        if head is None or (newest is not None and (hour <= newest.hour or head.size <= newest.anchor.size)):
            return 0
        if not await self._places.anchors.take_turn(self._holder, now, TURN):
            return 0
        # 3. Get a token over the head. The stamper has verified it.
        token, at = await self._stamper.stamp(head_hash(head))
        kept = KeptAnchor(StoredAnchor(head.size, token), hour, at)

        async def keep(builder: RecordBuilder) -> bool:
            digest = sha256(token).hexdigest()
            record = builder.record(Event.VA_ANCHOR_MADE, count=head.size, anchor_sha256=digest)
            return await self._places.anchors.keep(kept, record)

        # 4. Store the time-stamp and its audit record in one transaction.
        if not await self._audit_log.write(ANCHOR_STREAM, keep):
            return 0
        # 5. Copy it into the heads file.
        await self._file(kept.anchor)
        return 1

    async def _head(self) -> Head | None:
        try:
            latest = await self._places.heads.latest_head()
        except ValueError as error:
            raise TreeBroken("the latest head or its frontier cannot be read") from error
        if latest is not None and not verify_head(latest[0], self._head_keys):
            raise TreeBroken("the latest head was not signed by our key")
        return None if latest is None else latest[0]

    async def _file(self, anchor: StoredAnchor) -> None:
        if self._filed == anchor:
            return
        if not await asyncio.to_thread(self._places.log.has_anchor, anchor):
            await asyncio.to_thread(self._places.log.append_anchor, anchor)
        self._filed = anchor
