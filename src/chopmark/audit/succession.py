"""Signs the successor after a restore: the signed tree head that continues the restored ledger and names the lost tree.

`chopmark.audit.head` says what a successor is. The replacement of one CA by another is in `ca.rollover`.
"""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Protocol

from chopmark.audit.head import Head, HeadPublicKey, HeadSigner, verify_head
from chopmark.audit.ports import Batch, HeadLog, Lease, Waiting
from chopmark.audit.sequencer import LEASE, TreeBroken, look_checked, plan
from chopmark.audit.standing import Behind, Heads, Look

EVERYTHING = 2**31 - 1


class Overtaken(Exception):
    """Another process has sequenced records or signed a successor meanwhile; nothing was written; call again."""


class RestoredTreeRepository(Heads, Protocol):
    """The store as `succeed` needs it: each call is one transaction."""

    async def seize(self, holder: str, above: int, now: datetime, ttl: timedelta) -> Lease:
        """Take the lease, also from another holder; its fencing number is higher than `above` and all earlier ones."""
        ...

    async def unsequenced(self, limit: int) -> Waiting:
        """Return the oldest records without a place, as `TreeRepository.unsequenced` does."""
        ...

    async def sequence(self, batch: Batch, lease: Lease) -> bool:
        """Write a batch under the lease, as `TreeRepository.sequence` does."""
        ...


@dataclass(frozen=True, slots=True)
class Files:
    """The heads file, the signer with the present key, and the former keys that may have signed the existing heads."""

    heads: HeadLog
    signer: HeadSigner
    former_keys: Sequence[HeadPublicKey] = ()

    @property
    def keys(self) -> list[HeadPublicKey]:
        """Every key that may have signed a head."""
        return [self.signer.public_key, *self.former_keys]


async def stand(repository: Heads, files: Files) -> Look:
    """Compare the ledger with the heads file.

    Raises TreeBroken when our key did not sign the newest head of either: then they do not show what was lost.
    """
    seen = await look_checked(repository, files.heads, files.keys)
    if seen.filed is not None and not verify_head(seen.filed, files.keys):
        raise TreeBroken("the last head of the heads file was not signed by our key")
    return seen


async def succeed(
    repository: RestoredTreeRepository, files: Files, *, now: datetime, holder: str, lease_for: timedelta = LEASE
) -> Head | None:
    """Sign the successor over all waiting records and return it; return None if the ledger is whole.

    The record of the restore must have been written already, and must wait for a place. Safe to call again after any
    failure: a successor that was committed and is not in the heads file is appended there. Raises Overtaken,
    TreeBroken and OSError.
    """
    # 1. Compare the ledger with the heads file. If only the file lacks a successor, append it and be done.
    seen = await stand(repository, files)
    head = None if seen.latest is None else seen.latest[0]
    if not isinstance(seen.standing, Behind):
        if head is None or head.draft.lost is None or head == seen.filed:
            return None
        await asyncio.to_thread(files.heads.append, head)
        return head
    # 2. Take the sequencer's lease, with a fencing number higher than any in the lost tree.
    lost = seen.standing.lost_head
    lease = await repository.seize(holder, lost.draft.fencing, now, lease_for)
    # 3. Place all waiting records and sign the successor, outside any transaction.
    waiting = await repository.unsequenced(EVERYTHING)
    if not waiting.records:
        raise TreeBroken("no record of the restore waits for a place")
    planned = plan(seen.latest, waiting, lease.fencing, now, lost)
    batch = planned.signed(await asyncio.to_thread(files.signer.sign, planned.draft.message()))
    # 4. Write places and head, if fencing number and old size are still the same.
    if not await repository.sequence(batch, lease):
        raise Overtaken
    # 5. Append the successor to the heads file. From now on the ledger is no longer behind the file.
    await asyncio.to_thread(files.heads.append, batch.head)
    return batch.head
