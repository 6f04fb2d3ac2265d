"""The feed of changed certificates for relying firms, read from the audit records that have a place in the tree."""

from __future__ import annotations

import json

from chopmark.core.types import AccountNumber, CertificateState, Serial
from chopmark.ra.feed import Change, Changed, serials_of
from chopmark.store.engine.columns import moment
from chopmark.store.engine.port import Engine
from chopmark.store.engine.script import Row, Script, query

MOST = 200
"""How many records one answer covers."""
_RECORDS = """
SELECT position, event, facts FROM leaves WHERE position >= :cursor ORDER BY position LIMIT :most
"""
_HOLDING = "SELECT serial, account, state, not_before, not_after FROM holdings WHERE serial = :serial"


class FeedRepository:
    """Implements `ra.feed.Feed`."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    async def after(self, cursor: int) -> Changed:
        """Return the certificates that were changed from this place of the tree on, up to MOST records."""

        def script() -> Script[Changed]:
            rows = yield query(_RECORDS, cursor=cursor, most=MOST)
            named = [serial for row in rows for serial in serials_of(row["event"], json.loads(row["facts"]))]
            changes: list[Change] = []
            for serial in dict.fromkeys(named):
                changes += [_change(held) for held in (yield query(_HOLDING, serial=serial))]
            return Changed(int(rows[-1]["position"]) + 1 if rows else cursor, tuple(changes))

        return await self._engine.read(script)


def _change(row: Row) -> Change:
    return Change(
        AccountNumber(row["account"]),
        Serial(row["serial"]),
        CertificateState(row["state"]),
        moment(row["not_before"]),
        moment(row["not_after"]),
    )
