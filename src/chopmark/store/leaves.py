"""Appending leaves within a change's own transaction."""

from chopmark.audit.leaf import Leaf, next_tip
from chopmark.audit.recorder import StaleChain
from chopmark.store.script import Notify, Script, query

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


def append(leaf: Leaf) -> Script[None]:
    """Append a leaf; raises StaleChain, and with it rolls the transaction back, when the chain has moved."""
    tip = next_tip(leaf).leaf_hash
    if leaf.version == 1:
        moved = yield query(_FIRST, chain=leaf.chain, tip=tip)
    else:
        moved = yield query(
            _NEXT, chain=leaf.chain, version=leaf.version, tip=tip, before=leaf.version - 1, previous=leaf.previous
        )
    if not moved:
        raise StaleChain
    row = leaf.stored()
    yield query(
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
    yield Notify("leaves")
