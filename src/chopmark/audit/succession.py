"""After a restore: signs the successor, the head that continues the restored ledger and names the tree that is lost.

Not to be confused with `ca.rollover`, which is about one CA following another.
"""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Protocol

from chopmark.audit.head import Head, HeadPublicKey, HeadSigner, verify_head
from chopmark.audit.ports import Batch, HeadLog, Lease
from chopmark.audit.record import StoredRecord
from chopmark.audit.sequencer import LEASE, LedgerBroken, look_checked, plan
from chopmark.audit.standing import Behind, Heads, Look

EVERYTHING = 2**31 - 1


class Overtaken(Exception):
    """Somebody else sequenced or succeeded meanwhile; nothing was written, and another call looks anew."""


class RestoredLedger(Heads, Protocol):
    """The store's part of a succession: each call is one transaction."""

    async def seize(self, holder: str, above: int, now: datetime, ttl: timedelta) -> Lease:
        """Take the lease from whoever has it; its fencing number is higher than `above` and than any before."""
        ...

    async def unsequenced(self, limit: int) -> list[StoredRecord]:
        """As `Ledger.unsequenced`."""
        ...

    async def sequence(self, batch: Batch, lease: Lease) -> bool:
        """As `Ledger.sequence`."""
        ...


@dataclass(frozen=True, slots=True)
class Files:
    """The heads file and who signs: the present key, and those rotated out that may have signed what is there."""

    heads: HeadLog
    signer: HeadSigner
    former_keys: Sequence[HeadPublicKey] = ()

    @property
    def keys(self) -> list[HeadPublicKey]:
        """Every key that may have signed."""
        return [self.signer.public_key, *self.former_keys]


async def stand(ledger: Heads, files: Files) -> Look:
    """Return how the ledger stands to the heads file.

    Raises LedgerBroken when the newest head of either was not signed by our key: then nothing is known to be lost.
    """
    seen = await look_checked(ledger, files.heads, files.keys)
    if seen.filed is not None and not verify_head(seen.filed, files.keys):
        raise LedgerBroken("the last head of the heads file was not signed by our key")
    return seen


async def succeed(
    ledger: RestoredLedger, files: Files, *, now: datetime, holder: str, lease_for: timedelta = LEASE
) -> Head | None:
    """Sign the successor over everything that waits; return it, or None when the ledger is whole.

    The record of the restore must wait already. Safe to call again after any failure: a successor that was committed
    and did not reach the heads file is brought there. Raises Overtaken, LedgerBroken and OSError.

    1. how the ledger stands; what a crash kept from the heads file is brought there
    2. take the sequencer's lease, with a fencing number that the lost time did not know
    3. place all that waits and sign, outside any transaction
    4. write, guarded by fencing number and old size
    5. append to the heads file, which ends the state
    """
    seen = await stand(ledger, files)  # 1
    head = None if seen.latest is None else seen.latest[0]
    if not isinstance(seen.standing, Behind):
        if head is None or head.draft.lost is None or head == seen.filed:
            return None
        await asyncio.to_thread(files.heads.append, head)
        return head
    lost = seen.standing.lost_head
    lease = await ledger.seize(holder, lost.draft.fencing, now, lease_for)  # 2
    waiting = await ledger.unsequenced(EVERYTHING)
    if not waiting:
        raise LedgerBroken("no record of the restore waits for a place")
    planned = plan(seen.latest, waiting, lease.fencing, now, lost)  # 3
    batch = planned.signed(await asyncio.to_thread(files.signer.sign, planned.draft.message()))
    if not await ledger.sequence(batch, lease):  # 4
        raise Overtaken
    await asyncio.to_thread(files.heads.append, batch.head)  # 5
    return batch.head
