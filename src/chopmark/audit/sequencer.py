"""Gives records their places in the tree and signs the head over them.

`plan` decides and is pure; `sequence_once` is the verb that a worker calls every second or less.
"""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from chopmark.audit.head import FIRST_HEAD, Head, HeadDraft, HeadPublicKey, HeadSigner, Lost, head_hash, verify_head
from chopmark.audit.ports import Batch, HeadLog, Ledger, Placed
from chopmark.audit.record import StoredRecord, parse_stamp, stamp
from chopmark.audit.standing import Behind, Filed, Heads, Look, look
from chopmark.audit.tree import Frontier

LEASE = timedelta(seconds=10)
MOST_LEAVES = 1000


class LedgerBroken(Exception):
    """The ledger contradicts its own signed head or the heads file: stop, and run the verifier."""


class LedgerBehind(LedgerBroken):
    """The heads file knows a head that the ledger does not hold: `chopmark db restored` is the way on."""

    def __init__(self, behind: Behind) -> None:
        kept, lost = behind.kept_size, behind.lost_head.size
        ahead = "is ahead of the ledger" if kept < lost else "has another head than the ledger"
        super().__init__(
            f"the heads file {ahead}: it knows {lost} leaves, the ledger has {kept}. Rows and heads were cut, or an "
            "older copy was restored. If it was restored, `chopmark db restored` is the way on"
        )


@dataclass(frozen=True, slots=True)
class UnsignedBatch:
    """A batch whose head has no signature yet."""

    old_size: int
    placed: tuple[Placed, ...]
    frontier: Frontier
    draft: HeadDraft

    def signed(self, signature: bytes) -> Batch:
        """Return the batch to write."""
        return Batch(self.old_size, self.placed, self.draft.signed(signature), self.frontier)


def plan(
    latest: tuple[Head, Frontier] | None,
    unsequenced: Sequence[StoredRecord],
    fencing: int,
    at: datetime,
    lost: Head | None = None,
) -> UnsignedBatch:
    """Return places for the records, in the order given, after the latest head.

    With the last head of a tree that was `lost` the head is a successor. Raises LedgerBroken when the frontier is not
    the head's or a record is malformed.
    """
    head, frontier = latest or (None, Frontier())
    if head and (frontier.size != head.size or frontier.root() != head.root):
        raise LedgerBroken("the stored frontier does not belong to the latest head")
    old_size = frontier.size
    placed: list[Placed] = []
    for record in unsequenced:
        placed.append(Placed(record.chain, record.version, frontier.size))
        try:
            frontier = frontier.append(record.leaf_hash())
        except ValueError as error:
            raise LedgerBroken(f"the waiting leaf {record.leaf_id!r} is malformed") from error
    base = head_hash(head) if head else FIRST_HEAD
    draft = HeadDraft(
        size=frontier.size,
        root=frontier.root(),
        at=parse_stamp(stamp(at)),
        previous=base if lost is None else head_hash(lost),
        fencing=fencing,
        lost=None if lost is None else Lost(base, lost.root, lost.size),
    )
    return UnsignedBatch(old_size, tuple(placed), frontier, draft)


async def sequence_once(
    ledger: Ledger,
    signer: HeadSigner,
    heads: HeadLog,
    *,
    now: datetime,
    holder: str,
    former_keys: Sequence[HeadPublicKey] = (),
    lease_for: timedelta = LEASE,
    limit: int = MOST_LEAVES,
) -> int:
    """Sequence what waits, at most `limit` leaves; return how many got their place.

    Zero when nothing waits, when somebody else holds the lease, or was faster. Safe to call again
    after any failure. Raises LedgerBroken, and OSError when the heads file takes nothing: then no
    leaf is placed before it does. `former_keys` may have signed the latest head, after a rotation.

    1. take the lease
    2. read the heads file, then the latest head: the ledger must not be behind the file
    3. bring a head that a crash kept from the file into it
    4. place the waiting records and sign the head, outside any transaction
    5. write, guarded by fencing number and old size
    6. append the head to the file
    """
    lease = await ledger.take_lease(holder, now, lease_for)  # 1
    if lease is None:
        return 0
    seen = await look_checked(ledger, heads, [signer.public_key, *former_keys])  # 2
    if isinstance(seen.standing, Behind):
        raise LedgerBehind(seen.standing)
    latest = seen.latest
    if latest and latest[0] != seen.filed:  # 3
        await asyncio.to_thread(heads.append, latest[0])
    waiting = await ledger.unsequenced(limit)
    if not waiting:
        return 0
    planned = plan(latest, waiting, lease.fencing, now)  # 4
    batch = planned.signed(await asyncio.to_thread(signer.sign, planned.draft.message()))
    if not await ledger.sequence(batch, lease):  # 5
        return 0
    await asyncio.to_thread(heads.append, batch.head)  # 6
    return len(batch.placed)


async def look_checked(ledger: Heads, heads: Filed, keys: Sequence[HeadPublicKey]) -> Look:
    """Return how the ledger stands to the heads file; LedgerBroken when its newest head is unreadable or not ours."""
    try:
        seen = await look(ledger, heads)
    except ValueError as error:
        raise LedgerBroken("the latest head or its frontier cannot be read") from error
    if seen.latest and not verify_head(seen.latest[0], keys):
        raise LedgerBroken("the latest head was not signed by our key")
    return seen
