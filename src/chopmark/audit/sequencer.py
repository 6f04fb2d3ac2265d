"""Gives records their places in the Merkle tree and signs the tree head over them.

`plan` decides, without I/O; a worker calls `sequence_once` every second or more often.
"""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from chopmark.audit.head import FIRST_HEAD, Head, HeadDraft, HeadPublicKey, HeadSigner, Lost, head_hash, verify_head
from chopmark.audit.ports import Batch, HeadLog, TreeRepository, Waiting
from chopmark.audit.record import parse_stamp, stamp
from chopmark.audit.standing import Behind, Filed, Heads, Look, look
from chopmark.audit.tree import Frontier
from chopmark.core.counted import counted

LEASE = timedelta(seconds=10)
MOST_LEAVES = 1000


class TreeBroken(Exception):
    """The ledger contradicts its own signed tree head or the heads file; stop and run the verifier."""


class TreeBehind(TreeBroken):
    """The heads file has a head that the ledger lacks; after a restore, run `chopmark db restored`."""

    def __init__(self, behind: Behind) -> None:
        kept, lost = behind.kept_size, behind.lost_head.size
        ahead = "is ahead of the ledger" if kept < lost else "has another head than the ledger"
        super().__init__(
            f"the heads file {ahead}: it knows {counted(lost, 'leaf', 'leaves')}, the ledger has {kept}. Rows and "
            "heads were cut, or an older copy was restored. If it was restored, `chopmark db restored` is the way on"
        )


@dataclass(frozen=True, slots=True)
class UnsignedBatch:
    """A batch whose head is not signed yet."""

    old_size: int
    entries: tuple[int, ...]
    settled: int
    frontier: Frontier
    draft: HeadDraft

    def signed(self, signature: bytes) -> Batch:
        """Return the batch to write."""
        return Batch(self.old_size, self.entries, self.settled, self.draft.signed(signature), self.frontier)


def plan(
    latest: tuple[Head, Frontier] | None,
    waiting: Waiting,
    fencing: int,
    at: datetime,
    lost: Head | None = None,
) -> UnsignedBatch:
    """Return places for the records, in the given order, after those of the latest head, and the new head's draft.

    If `lost`, the last head of a lost tree, is given, the new head is a successor. Raises TreeBroken when the
    frontier does not belong to the latest head or a record is malformed.
    """
    head, frontier = latest or (None, Frontier())
    if head and (frontier.size != head.size or frontier.root() != head.root):
        raise TreeBroken("the stored frontier does not belong to the latest head")
    old_size = frontier.size
    for record in waiting.records:
        try:
            frontier = frontier.append(record.leaf_hash())
        except ValueError as error:
            raise TreeBroken(f"the waiting leaf {record.leaf_id!r} is malformed") from error
    base = head_hash(head) if head else FIRST_HEAD
    draft = HeadDraft(
        size=frontier.size,
        root=frontier.root(),
        at=parse_stamp(stamp(at)),
        previous=base if lost is None else head_hash(lost),
        fencing=fencing,
        lost=None if lost is None else Lost(base, lost.root, lost.size),
    )
    return UnsignedBatch(old_size, waiting.entries, waiting.settled, frontier, draft)


async def sequence_once(
    repository: TreeRepository,
    signer: HeadSigner,
    heads: HeadLog,
    *,
    now: datetime,
    holder: str,
    former_keys: Sequence[HeadPublicKey] = (),
    lease_for: timedelta = LEASE,
    limit: int = MOST_LEAVES,
) -> int:
    """Give the waiting records, at most `limit`, their places in the tree; return how many were placed.

    Returns zero when no record waits, when another process holds the lease, or when it was faster. Safe to call again
    after any failure. Raises TreeBroken, and OSError when the heads file cannot be written; no further record is
    placed until the missing head is in the file. After a rotation of the key, one of `former_keys` may have signed the
    latest head.
    """
    # 1. Take the lease.
    lease = await repository.take_lease(holder, now, lease_for)
    if lease is None:
        return 0
    # 2. Read the heads file, then the latest head. The ledger must not be behind the file.
    seen = await look_checked(repository, heads, [signer.public_key, *former_keys])
    if isinstance(seen.standing, Behind):
        raise TreeBehind(seen.standing)
    # 3. Append the latest head to the file if a crash prevented that last time.
    latest = seen.latest
    if latest and latest[0] != seen.filed:
        await asyncio.to_thread(heads.append, latest[0])
    # 4. Place the waiting records and sign the head, outside any transaction.
    waiting = await repository.unsequenced(limit)
    if not waiting.records:
        return 0
    planned = plan(latest, waiting, lease.fencing, now)
    batch = planned.signed(await asyncio.to_thread(signer.sign, planned.draft.message()))
    # 5. Write places and head, if fencing number and old size are still the same.
    if not await repository.sequence(batch, lease):
        return 0
    # 6. Append the head to the heads file.
    await asyncio.to_thread(heads.append, batch.head)
    return len(batch.entries)


async def look_checked(repository: Heads, heads: Filed, keys: Sequence[HeadPublicKey]) -> Look:
    """Compare the ledger with the heads file.

    Raises TreeBroken when the ledger's newest head cannot be read or none of `keys` signed it.
    """
    try:
        seen = await look(repository, heads)
    except ValueError as error:
        raise TreeBroken("the latest head or its frontier cannot be read") from error
    if seen.latest and not verify_head(seen.latest[0], keys):
        raise TreeBroken("the latest head was not signed by our key")
    return seen
