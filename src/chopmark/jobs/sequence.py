"""Gives every waiting audit record its place in the audit tree."""

from collections.abc import Sequence

from chopmark.audit.head import HeadPublicKey, HeadSigner
from chopmark.audit.ports import HeadLog, TreeRepository
from chopmark.audit.sequencer import MOST_LEAVES, sequence_once
from chopmark.core.clock import Clock


async def sequence(
    repository: TreeRepository,
    signer: HeadSigner,
    heads: HeadLog,
    clock: Clock,
    holder: str,
    *,
    former_keys: Sequence[HeadPublicKey] = (),
    limit: int = MOST_LEAVES,
) -> int:
    """Place every waiting record in the tree, unless another process holds the lease; return how many were placed.

    Works in batches of `limit` and stops after the first batch that is not full: so a busy system does not sign a tree
    head for every single record. Raises what `sequence_once` raises; records placed before that keep their places, and
    the next call continues from there. `holder` must name this process and no other.
    """
    placed = 0
    while True:
        batch = await sequence_once(
            repository, signer, heads, now=clock.now(), holder=holder, former_keys=former_keys, limit=limit
        )
        placed += batch
        if batch < limit:
            return placed
