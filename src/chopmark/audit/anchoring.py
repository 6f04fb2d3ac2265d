"""Every hour somebody with a clock of their own says that the newest head existed: an RFC 3161 token over its hash."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from typing import Protocol

from chopmark.audit.anchorcheck import ANCHOR_CHAIN
from chopmark.audit.events import Event
from chopmark.audit.head import Head, HeadPublicKey, head_hash, verify_head
from chopmark.audit.log import AuditLog, RecordBuilder
from chopmark.audit.ports import AnchorLog, Anchors, KeptAnchor, Stamper, StoredAnchor
from chopmark.audit.sequencer import LedgerBroken
from chopmark.audit.tree import Frontier
from chopmark.core.clock import Clock

EVERY = timedelta(hours=1)
TURN = timedelta(minutes=1)
"""How long one worker may take before another tries; a token is asked for at most twice then, and kept once."""
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class Heads(Protocol):
    """Reads the newest head."""

    async def latest_head(self) -> tuple[Head, Frontier] | None:
        """Return the head of the greatest size with its frontier, or None; ValueError when one cannot be read."""
        ...


@dataclass(frozen=True, slots=True)
class Places:
    """Where heads and anchors are: the ledger's, and the file outside the database."""

    heads: Heads
    anchors: Anchors
    log: AnchorLog


class Anchoring:
    """Makes the hourly anchor; `holder` names this process and no other."""

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
        """Anchor the newest head when this hour has no anchor yet; 1 when it was done here.

        Safe to call again after any failure. Raises NotStamped, LedgerBroken for a head that our key did not sign,
        and OSError when the heads file takes nothing.
        1 an anchor that a crash kept from the heads file is brought there  2 due, something new, and our turn
        3 a token over the head, verified  4 [tx] anchor and leaf  5 the heads file.
        """
        newest = await self._places.anchors.newest()
        if newest is not None:  # 1
            await self._file(newest.anchor)
        now = self._clock.now()
        hour = (now - _EPOCH) // EVERY
        head = await self._head()
        if head is None or (newest is not None and (hour <= newest.hour or head.size <= newest.anchor.size)):  # 2
            return 0
        if not await self._places.anchors.take_turn(self._holder, now, TURN):
            return 0
        token, at = await self._stamper.stamp(head_hash(head))  # 3
        kept = KeptAnchor(StoredAnchor(head.size, token), hour, at)

        async def keep(builder: RecordBuilder) -> bool:
            digest = sha256(token).hexdigest()
            record = builder.record(Event.VA_ANCHOR_MADE, count=head.size, anchor_sha256=digest)
            return await self._places.anchors.keep(kept, record)

        if not await self._audit_log.write(ANCHOR_CHAIN, keep):  # 4
            return 0
        await self._file(kept.anchor)  # 5
        return 1

    async def _head(self) -> Head | None:
        try:
            latest = await self._places.heads.latest_head()
        except ValueError as error:
            raise LedgerBroken("the latest head or its frontier cannot be read") from error
        if latest is not None and not verify_head(latest[0], self._head_keys):
            raise LedgerBroken("the latest head was not signed by our key")
        return None if latest is None else latest[0]

    async def _file(self, anchor: StoredAnchor) -> None:
        if self._filed == anchor:
            return
        if not await asyncio.to_thread(self._places.log.has_anchor, anchor):
            await asyncio.to_thread(self._places.log.append_anchor, anchor)
        self._filed = anchor
