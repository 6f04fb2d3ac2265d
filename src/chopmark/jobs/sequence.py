"""Gives every waiting record its place in the audit tree."""

from collections.abc import Sequence

from chopmark.audit.head import HeadPublicKey, HeadSigner
from chopmark.audit.ports import HeadLog, Ledger
from chopmark.audit.sequencer import MOST_LEAVES, sequence_once
from chopmark.core.clock import Clock


async def sequence(
    ledger: Ledger,
    signer: HeadSigner,
    heads: HeadLog,
    clock: Clock,
    holder: str,
    *,
    former_keys: Sequence[HeadPublicKey] = (),
    limit: int = MOST_LEAVES,
) -> int:
    """Every leaf that waited has its place, unless somebody else holds the lease; return how many got theirs.

    Works in batches of `limit`; one that is not full is the last, so that a busy system does not get a head for every
    leaf. Raises what `sequence_once` raises; whatever was placed stays, and another call goes on from there. `holder`
    names this process and no other.
    """
    placed = 0
    while True:
        batch = await sequence_once(
            ledger, signer, heads, now=clock.now(), holder=holder, former_keys=former_keys, limit=limit
        )
        placed += batch
        if batch < limit:
            return placed
