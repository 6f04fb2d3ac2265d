"""Appending leaves within a change's own transaction: `record` where one statement does it all, else `append`."""

from collections.abc import Sequence

from chopmark.audit.leaf import ChainId, Leaf, StoredLeaf, Tip, new_chain, next_tip
from chopmark.audit.recorder import StaleChain
from chopmark.store.engine.script import Query, Row, Script, at_once, guard, query

_FIRST = """
INSERT INTO chains (chain, version, tip) VALUES (:chain, 1, :tip)
ON CONFLICT (chain) DO NOTHING RETURNING version
"""
_NEXT = """
UPDATE chains SET version = :version, tip = :tip
WHERE chain = :chain AND version = :before AND tip = :previous RETURNING version
"""
_LEAF = """
INSERT INTO leaves (chain, version, previous, at, event, facts, kid, mac)
VALUES (:chain, :version, :previous, :at, :event, :facts, :kid, :mac)
"""


TIP = "SELECT version, tip FROM chains WHERE chain = :chain"
LEAF = "chain, version, previous, at, event, facts, kid, mac, position"


def leaf_of(row: Row) -> StoredLeaf:
    """Return a leaf as it is stored: a column comes as it stands, trusted for nothing."""
    return StoredLeaf(
        chain=row["chain"],
        version=row["version"],
        previous=row["previous"],
        at=row["at"],
        event=row["event"],
        facts=row["facts"],
        kid=row["kid"],
        mac=row["mac"],
        index=row["position"],
    )


def tip_of(chain: ChainId, rows: list[Row]) -> Tip:
    """Return the tip that `TIP` found; version 0 and GENESIS for a chain without a leaf."""
    return Tip(chain, rows[0]["version"], rows[0]["tip"]) if rows else new_chain(chain)


def append(leaf: Leaf) -> Script[None]:
    """Append a leaf; raises StaleChain, and with it rolls the transaction back, when the chain has moved."""
    move, entry = _parts(leaf)
    if not (yield move):
        raise StaleChain
    yield entry


def again(chain: ChainId, records: Sequence[StoredLeaf]) -> Script[bool]:
    """Append those of a chain's first records that are not here, as they were sealed; raises StaleChain.

    False, and nothing is written, when the chain has gone another way here. ValueError for a malformed record.
    """
    tip = tip_of(chain, (yield query(TIP, chain=chain)))
    if tip.version >= len(records):
        return True
    if tip.version and records[tip.version - 1].leaf_hash() != tip.leaf_hash:
        return False
    for one in records[tip.version :]:
        yield from append(one.leaf())
    return True


def record(leaf: Leaf, *parts: Query, joint: bool = False) -> Script[list[list[Row]] | None]:
    """Make a change and append its leaf at once; return the rows of each part.

    None, and nothing has happened, when a guard of the change failed: the script may go on to find out why. Raises
    StaleChain when the chain has moved. `joint` is the bundle's.
    """
    done = yield from at_once(*parts, *_parts(leaf), joint=joint)
    if done is None:
        if tip_of(leaf.chain, (yield query(TIP, chain=leaf.chain))) != Tip(leaf.chain, leaf.version - 1, leaf.previous):
            raise StaleChain
        return None
    return done


def note(leaf: Leaf, *parts: Query) -> Script[None]:
    """Append a leaf, with a change that has no condition or with none; raises StaleChain."""
    if (yield from record(leaf, *parts)) is None:
        raise StaleChain


def _parts(leaf: Leaf) -> tuple[Query, Query]:
    """Return the statement that moves the chain, a guard, and the one that stores the leaf."""
    tip = next_tip(leaf).leaf_hash
    if leaf.version == 1:
        move = guard(_FIRST, chain=leaf.chain, tip=tip)
    else:
        move = guard(
            _NEXT, chain=leaf.chain, version=leaf.version, tip=tip, before=leaf.version - 1, previous=leaf.previous
        )
    row = leaf.stored()
    entry = query(
        _LEAF,
        chain=row.chain,
        version=row.version,
        previous=row.previous,
        at=row.at,
        event=row.event,
        facts=row.facts,
        kid=row.kid,
        mac=row.mac,
    )
    return move, entry
