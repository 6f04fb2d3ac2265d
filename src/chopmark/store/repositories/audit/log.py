"""The tables of the audit, for the writers of records, the sequencer and the verifier."""

import json
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from datetime import datetime, timedelta

from chopmark.audit.head import Head, decode_head, encode_head
from chopmark.audit.ports import (
    Batch,
    CertificateRow,
    ContactRow,
    FailureRow,
    HoldingRow,
    Lease,
    Placed,
    SlipRow,
    StoredAnchor,
    StoredHead,
    TableRow,
    Unreadable,
)
from chopmark.audit.record import StoredRecord, StreamId, Tip
from chopmark.audit.sequencer import TreeBroken
from chopmark.audit.tree import Frontier
from chopmark.core.counted import counted
from chopmark.store.engine import script
from chopmark.store.engine.columns import moment, ms
from chopmark.store.engine.port import Clash, Engine, Snapshot
from chopmark.store.engine.script import Notify, Row, Script, Value, query, whole
from chopmark.store.repositories.leases import take
from chopmark.store.repositories.records import LEAF, TIP, record_of, tip_of

LEASE_NAME = "sequencer"
PLACED = "records_placed"
"""Who follows the records is woken here when some have got their place."""

_WAITING = f"SELECT {LEAF} FROM leaves WHERE position IS NULL ORDER BY entry LIMIT :most"
_LATEST_HEAD = "SELECT size, line, frontier FROM heads ORDER BY size DESC LIMIT 1"
# Changes nothing, but locks the row: whoever takes the lease or sequences meanwhile waits until we commit.
_STILL_OURS = "UPDATE leases SET fencing = fencing WHERE name = :name AND fencing = :fencing RETURNING fencing"
# Takes the lease away from its holder, whose next write is refused because its fencing number is lower.
_SEIZE = """
INSERT INTO leases (name, holder, fencing, until) VALUES (:name, :holder, CAST(:above AS BIGINT) + 1, :until)
ON CONFLICT (name) DO UPDATE SET
  fencing = CASE WHEN leases.fencing > CAST(:above AS BIGINT) THEN leases.fencing ELSE CAST(:above AS BIGINT) END + 1,
  holder = :holder,
  until = :until
RETURNING fencing
"""
_SIZE = "SELECT size FROM heads ORDER BY size DESC LIMIT 1"
_PLACE = {
    "postgresql": """
UPDATE leaves SET position = p.position
FROM json_to_recordset(CAST(:placed AS JSON)) AS p(chain TEXT, version BIGINT, position BIGINT)
WHERE leaves.chain = p.chain AND leaves.version = p.version AND +leaves.position IS NULL
  AND leaves.chain = ANY(ARRAY(SELECT chain FROM json_to_recordset(CAST(:placed AS JSON)) AS c(chain TEXT)))
RETURNING leaves.version
""",  # the last condition lets the planner use the chain's index, also without statistics of the tables
    "sqlite": """
UPDATE leaves SET position = p.position
FROM (
  SELECT json_extract(value, '$.chain') AS chain, json_extract(value, '$.version') AS version,
    json_extract(value, '$.position') AS position
  FROM json_each(:placed)
) AS p
WHERE leaves.chain = p.chain AND leaves.version = p.version AND +leaves.position IS NULL RETURNING leaves.version
""",  # the plus keeps both engines from reading all waiting records for it
}
_HEAD_LINE = "SELECT line FROM heads WHERE size = :size"
_HEAD = "INSERT INTO heads (size, line, frontier) VALUES (:size, :line, :frontier)"
_ALL_SEQUENCED = f"SELECT {LEAF} FROM leaves WHERE position IS NOT NULL ORDER BY position, entry"
_ALL_WAITING = f"SELECT {LEAF} FROM leaves WHERE position IS NULL ORDER BY entry"
_ALL_CHAINS = "SELECT chain, version, tip FROM chains ORDER BY chain"
_ALL_HEADS = "SELECT size, line, frontier FROM heads ORDER BY size"
_ALL_ANCHORS = "SELECT size, token FROM anchors ORDER BY size"


class _Overtaken(Exception):
    """Another process was faster. Rolls the transaction back."""


class AuditRepository:
    """Implements `audit.ports.TreeRepository` and `audit.audit_log.Tips`.

    Each process needs a holder's name of its own, because the lease belongs to the name.
    """

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    async def tip(self, chain: StreamId) -> Tip:
        """Return the stream's newest version and hash; version 0 and GENESIS when it has no record."""
        return await self._engine.read(_tip, chain)

    async def take_lease(self, holder: str, now: datetime, ttl: timedelta) -> Lease | None:
        """Take the lease when it is free, run out or already ours (then it is extended); else None."""
        return await self._engine.run(_take_lease, holder, ms(now), ms(now + ttl))

    async def unsequenced(self, limit: int) -> list[StoredRecord]:
        """Return the oldest records without an index, at most `limit`, by `entry`.

        The row of a stream is locked before a record gets its `entry`. So the versions of a stream come in order.
        """
        rows = await self._engine.read(_rows, _WAITING, {"most": limit})
        return [record_of(row) for row in rows]

    async def latest_head(self) -> tuple[Head, Frontier] | None:
        """Return the head of the greatest size with its frontier, or None; ValueError when one cannot be read."""
        rows = await self._engine.read(_rows, _LATEST_HEAD, {})
        return _head_and_frontier(rows[0]) if rows else None

    async def head_line(self, size: int) -> str | None:
        """Return the stored line of the head over so many records, or None."""
        rows = await self._engine.read(_rows, _HEAD_LINE, {"size": size})
        return rows[0]["line"] if rows else None

    async def seize(self, holder: str, above: int, now: datetime, ttl: timedelta) -> Lease:
        """Take the lease, whoever has it. The fencing number is higher than `above` and than all before."""
        fencing = await self._engine.run(_seize, holder, above, ms(now + ttl))
        return Lease(holder, fencing, now + ttl)

    async def newest_time(self) -> datetime | None:
        """Return the time of the newest head; None without one.

        For one that cannot be read, too: `audit verify` tells.
        """
        try:
            found = await self.latest_head()
        except ValueError:
            return None
        return None if found is None else found[0].draft.at

    async def sequence(self, batch: Batch, lease: Lease) -> bool:
        """Write indexes, head and frontier in one transaction. False when another process was faster.

        Raises:
            TreeBroken: a record outside all heads has one of the indexes already, which no sequencer would write.
        """
        try:
            await self._engine.run(_sequence, _PLACE[self._engine.dialect], batch, lease.fencing)
        except _Overtaken:
            return False
        except Clash as clash:
            raise TreeBroken(f"a leaf beyond the latest head, of size {batch.old_size}, has a place") from clash
        return True

    @asynccontextmanager
    async def snapshot(self) -> AsyncIterator["AuditSource"]:
        """Open a view of one moment. Read the heads file before, so that the view has all its heads."""
        async with self._engine.snapshot() as snapshot:
            yield AuditSource(snapshot)


_ALL_CERTIFICATES = "SELECT serial, state, 0 AS foreign_one FROM certificates ORDER BY serial"
_ALL_REQUESTS = "SELECT serial, state, 1 AS foreign_one FROM foreign_requests WHERE serial IS NOT NULL ORDER BY serial"
_ALL_HOLDINGS = "SELECT serial, state FROM holdings ORDER BY serial"
_ALL_CONTACTS = "SELECT customer, channel, version, verified_at, cool_until FROM contacts ORDER BY customer, channel"
_ALL_FAILURES = """
SELECT customer, factor, window_start, in_window, ever, held_at FROM failures ORDER BY customer, factor
"""
_ALL_SLIPS = "SELECT id, customer, state, order_id, expires_at FROM slips ORDER BY id"


class AuditSource:
    """Implements `audit.ports.Source` and `Tables` over a snapshot of the database. Columns are returned as stored."""

    def __init__(self, snapshot: Snapshot) -> None:
        self._snapshot = snapshot

    async def sequenced(self) -> AsyncIterator[StoredRecord]:
        """Yield every record whose index is not null, by index."""
        async for row in self._rows(_ALL_SEQUENCED):
            yield record_of(row)

    async def unsequenced(self) -> AsyncIterator[StoredRecord]:
        """Yield every record whose index is null, in the order in which they were written."""
        async for row in self._rows(_ALL_WAITING):
            yield record_of(row)

    async def streams(self) -> AsyncIterator[Tip]:
        """Yield the tip of every stream."""
        async for row in self._rows(_ALL_CHAINS):
            yield Tip(row["chain"], row["version"], row["tip"])

    async def heads(self) -> AsyncIterator[StoredHead]:
        """Yield every head, in the order of sizes."""
        async for row in self._rows(_ALL_HEADS):
            yield StoredHead(row["size"], row["line"], row["frontier"])

    async def anchors(self) -> AsyncIterator[StoredAnchor]:
        """Yield every tree-head time-stamp, in the order of sizes."""
        async for row in self._rows(_ALL_ANCHORS):
            yield StoredAnchor(row["size"], row["token"])

    async def rows(self) -> AsyncIterator[TableRow | Unreadable]:
        """Yield every row of the tables whose changes have records.

        A row with impossible values comes as Unreadable.
        """
        for sql, made in _TABLES:
            async for row in self._rows(sql):
                try:
                    yield made(row)
                except (ValueError, TypeError, OverflowError) as error:
                    place = " ".join(str(row[name]) for name in list(row.keys())[:2])
                    yield Unreadable(place, type(error).__name__)

    async def _rows(self, sql: str) -> AsyncIterator[Row]:
        async for rows in self._snapshot.stream(sql, {}):
            for row in rows:
                yield row


def _tip(chain: StreamId) -> Script[Tip]:
    return tip_of(chain, (yield whole(TIP, chain=chain)))


def _take_lease(holder: str, now: int, until: int) -> Script[Lease | None]:
    fencing = yield from take(LEASE_NAME, holder, now, until)
    return None if fencing is None else Lease(holder, fencing, moment(until))


def _seize(holder: str, above: int, until: int) -> Script[int]:
    rows = yield whole(_SEIZE, name=LEASE_NAME, holder=holder, above=above, until=until)
    return int(rows[0]["fencing"])


def _rows(sql: str, values: Mapping[str, Value]) -> Script[list[Row]]:
    return (yield script.Query(sql, values, whole=True))


def _sequence(place: str, batch: Batch, fencing: int) -> Script[None]:
    """Write a batch. `place` is the engine's statement for all indexes. Raises _Overtaken when a check fails."""
    # 1. The lease must still be ours.
    if not (yield query(_STILL_OURS, name=LEASE_NAME, fencing=fencing)):
        raise _Overtaken
    # 2. Nobody may have written a head since.
    newest = yield query(_SIZE)
    if (newest[0]["size"] if newest else 0) != batch.old_size:
        raise _Overtaken
    # 3. Every record must still have no index: as many rows change as the batch has.
    if len((yield query(place, placed=_places(batch.placed)))) != len(batch.placed):
        raise _Overtaken
    # 4. The head.
    frontier = batch.frontier.to_bytes()
    yield query(_HEAD, size=batch.head.size, line=encode_head(batch.head), frontier=frontier)
    yield Notify(PLACED)


def _places(placed: Sequence[Placed]) -> str:
    return json.dumps(
        [{"chain": record.stream, "version": record.version, "position": record.index} for record in placed]
    )


def _head_and_frontier(row: Row) -> tuple[Head, Frontier]:
    size, line, frontier = row["size"], row["line"], row["frontier"]
    if not isinstance(line, str) or not isinstance(frontier, bytes):
        raise ValueError("the latest head or its frontier is missing or of a wrong type")
    head = decode_head(line)
    if head.size != size:
        raise ValueError(f"the head filed under size {size} counts {counted(head.size, 'leaf', 'leaves')}")
    return head, Frontier.from_bytes(head.size, frontier)


def _certificate(row: Row) -> TableRow:
    return CertificateRow(row["serial"], row["state"], foreign=bool(row["foreign_one"]))


def _holding(row: Row) -> TableRow:
    return HoldingRow(row["serial"], row["state"])


def _contact(row: Row) -> TableRow:
    verified, cool = moment(row["verified_at"]), moment(row["cool_until"])
    return ContactRow(row["customer"], row["channel"], row["version"], verified, cool)


def _failure(row: Row) -> TableRow:
    counts = moment(row["window_start"]), int(row["in_window"]), int(row["ever"])
    return FailureRow(row["customer"], row["factor"], *counts, held=row["held_at"] is not None)


def _slip(row: Row) -> TableRow:
    return SlipRow(row["id"], row["customer"], row["state"], row["order_id"], moment(row["expires_at"]))


_TABLES: tuple[tuple[str, Callable[[Row], TableRow]], ...] = (
    (_ALL_CERTIFICATES, _certificate),
    (_ALL_REQUESTS, _certificate),
    (_ALL_HOLDINGS, _holding),
    (_ALL_CONTACTS, _contact),
    (_ALL_FAILURES, _failure),
    (_ALL_SLIPS, _slip),
)
