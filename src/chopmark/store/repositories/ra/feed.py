"""The feed of certificates for relying firms, read from the records that have their place in the tree."""

from __future__ import annotations

import json
from datetime import datetime, timedelta

from chopmark.core.types import AccountNumber, CertificateState, Serial
from chopmark.ra.feed import Change, Changed, serials_of
from chopmark.store.engine.columns import moment, ms
from chopmark.store.engine.port import Engine
from chopmark.store.engine.script import Row, Script, query
from chopmark.store.repositories.audit.log import PLACED
from chopmark.store.repositories.leases import take

MOST = 200
"""Records that one answer looks at."""
_RECORDS = """
SELECT p.position, l.event, l.facts FROM places p JOIN leaves l ON l.entry = p.entry
WHERE p.position >= :cursor ORDER BY p.position LIMIT :most
"""
_HOLDING = "SELECT serial, account, state, not_before, not_after FROM holdings WHERE serial = :serial"


class FeedRepository:
    """Implements `ra.feed.Feed`."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    async def after(self, cursor: int) -> Changed:
        """Return what was changed at this place of the tree or behind it, bounded."""

        def script() -> Script[Changed]:
            rows = yield query(_RECORDS, cursor=cursor, most=MOST)
            named = [serial for row in rows for serial in serials_of(row["event"], json.loads(row["facts"]))]
            changes: list[Change] = []
            for serial in dict.fromkeys(named):
                changes += [_change(held) for held in (yield query(_HOLDING, serial=serial))]
            return Changed(int(rows[-1]["position"]) + 1 if rows else cursor, tuple(changes))

        return await self._engine.read(script)

    async def rest(self, timeout_s: float) -> None:
        """Return when records have got their place since the last call here, at the latest after the timeout."""
        await self._engine.wait(PLACED, timeout_s)


LEASE_NAME = "webhook"
_NAME = "webhook:cursor"
_FIRST = "INSERT INTO installation (name, value) VALUES (:name, '0') ON CONFLICT (name) DO NOTHING RETURNING value"
_CURSOR = "SELECT value FROM installation WHERE name = :name"
_SIZE = "SELECT size FROM heads ORDER BY size DESC LIMIT 1"
_MOVE = "UPDATE installation SET value = :after WHERE name = :name AND value = :before RETURNING value"


class WebhookCursor:
    """Implements `ra.feed.FeedCursor`: a row of `installation`, and a lease."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    async def take(self, holder: str, now: datetime, ttl: timedelta) -> int | None:
        """Return the cursor, and keep other holders from sending for so long; None while another one may send."""

        def script() -> Script[int | None]:
            return (yield from take(LEASE_NAME, holder, ms(now), ms(now + ttl)))

        def cursor() -> Script[int]:
            rows = (yield query(_FIRST, name=_NAME)) or (yield query(_CURSOR, name=_NAME))
            return int(rows[0]["value"])

        if await self._engine.run(script) is None:
            return None
        return await self._engine.run(cursor)

    async def told(self) -> tuple[int, int]:
        """Return how many records the receiver has been told, and how many there are; nothing is changed."""

        def script() -> Script[tuple[int, int]]:
            cursor = yield query(_CURSOR, name=_NAME)
            size = yield query(_SIZE)
            return (int(cursor[0]["value"]) if cursor else 0, int(size[0]["size"]) if size else 0)

        return await self._engine.read(script)

    async def move(self, before: int, after: int) -> bool:
        """Move the cursor from `before` to `after`; False, and nothing has happened, when it stands elsewhere."""

        def script() -> Script[bool]:
            return bool((yield query(_MOVE, name=_NAME, before=str(before), after=str(after))))

        return await self._engine.run(script)


def _change(row: Row) -> Change:
    return Change(
        AccountNumber(row["account"]),
        Serial(row["serial"]),
        CertificateState(row["state"]),
        moment(row["not_before"]),
        moment(row["not_after"]),
    )
