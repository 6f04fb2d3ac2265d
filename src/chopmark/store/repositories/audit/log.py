"""The tables of the audit, for the writers of records, the sequencer and the verifier."""

import json
from collections.abc import AsyncIterator, Callable, Mapping
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
    SlipRow,
    StoredAnchor,
    StoredHead,
    TableRow,
    Unreadable,
    Waiting,
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
from chopmark.store.repositories.xids import OLDEST_XID, OWN_XID

LEASE_NAME = "places"
PLACED = "records_placed"
"""Who follows the records is woken here when some have got their place."""

_SETTLED = "COALESCE((SELECT settled FROM heads ORDER BY size DESC LIMIT 1), 0)"
"""Every record up to this entry has its place, and none will come. It keeps the search for the others short."""
_OLDEST_XID = {"sqlite": "0", "postgresql": OLDEST_XID}
_OWN_XID = {"sqlite": "0", "postgresql": OWN_XID}
_WAITING = """
SELECT {leaf}, entry, {settled} AS before, (
  SELECT p.entry FROM heads h JOIN places p ON p.position = h.size - 1
  WHERE h.size > (SELECT MAX(size) FROM heads) - 50000 AND h.xid <= {oldest} ORDER BY h.size DESC LIMIT 1
) AS given
FROM leaves
WHERE entry > {settled} AND NOT EXISTS (SELECT 1 FROM places p WHERE p.entry = leaves.entry AND p.entry > {settled})
ORDER BY entry LIMIT :most
"""
_WAITS = {
    dialect: _WAITING.format(leaf=LEAF, settled=_SETTLED, oldest=oldest) for dialect, oldest in _OLDEST_XID.items()
}
"""Records without a place. `given`: the last entry that got its place under a head so old that whoever was writing
then, and so might have had a lower entry, has ended since. This very statement therefore sees all records up to it.

Entries are given before the transactions commit, so a lower one may become visible after a higher one has its place."""
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
INSERT INTO places (position, entry) SELECT CAST(:size AS BIGINT) + e.number - 1, CAST(e.entry AS BIGINT)
FROM json_array_elements_text(CAST(:entries AS JSON)) WITH ORDINALITY AS e (entry, number)
""",
    "sqlite": "INSERT INTO places (position, entry) SELECT :size + key, value FROM json_each(:entries)",
}
_HEAD_LINE = "SELECT line FROM heads WHERE size = :size"
_HEAD = "INSERT INTO heads (size, line, frontier, settled, xid) VALUES (:size, :line, :frontier, :settled, {xid})"
_ALL_SEQUENCED = {
    "sqlite": f"""
SELECT {LEAF}, p.position FROM places p JOIN leaves l ON l.entry = p.entry ORDER BY p.position, p.entry
""",
    "postgresql": f"""
SELECT {LEAF}, p.position FROM places p CROSS JOIN LATERAL (SELECT * FROM leaves WHERE entry = p.entry OFFSET 0) l
ORDER BY p.position, p.entry
""",  # OFFSET keeps the planner from joining by a hash and sorting whole records, on disk, before the first one comes
}
_ALL_WAITING = f"""
SELECT {LEAF} FROM leaves l WHERE NOT EXISTS (SELECT 1 FROM places p WHERE p.entry = l.entry) ORDER BY l.entry
"""
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

    async def unsequenced(self, limit: int) -> Waiting:
        """Return the oldest records without a place, at most `limit`, by `entry`.

        The row of a stream is locked before a record gets its `entry`. So the versions of a stream come in order, and
        a transaction has its number before it has an entry.
        """
        rows = await self._engine.read(_rows, _WAITS[self._engine.dialect], {"most": limit})
        return Waiting(tuple(map(record_of, rows)), tuple(row["entry"] for row in rows), _settled(rows, limit))

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
        """Write places, head and frontier in one transaction. False when another process was faster.

        Raises:
            TreeBroken: one of the places is taken, or one of the records has a place, which no sequencer would write.
        """
        try:
            await self._engine.run(_sequence, self._engine.dialect, batch, lease.fencing)
        except _Overtaken:
            return False
        except Clash as clash:
            raise TreeBroken(f"a leaf beyond the latest head, of size {batch.old_size}, has a place") from clash
        return True

    @asynccontextmanager
    async def snapshot(self) -> AsyncIterator["AuditSource"]:
        """Open a view of one moment. Read the heads file before, so that the view has all its heads."""
        async with self._engine.snapshot() as snapshot:
            yield AuditSource(snapshot, self._engine.dialect)


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

    def __init__(self, snapshot: Snapshot, dialect: str) -> None:
        self._snapshot = snapshot
        self._dialect = dialect

    async def sequenced(self) -> AsyncIterator[StoredRecord]:
        """Yield every record that has a place, by its index."""
        async for row in self._rows(_ALL_SEQUENCED[self._dialect]):
            yield record_of(row, row["position"])

    async def unsequenced(self) -> AsyncIterator[StoredRecord]:
        """Yield every record without a place, in the order in which they were written."""
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


def _settled(rows: list[Row], limit: int) -> int:
    """Return up to which entry nothing waits once these rows have their places.

    Where there were more rows than `limit`, others may wait behind the last of these.
    """
    if not rows:
        return 0
    before, given = int(rows[0]["before"]), int(rows[0]["given"] or 0)
    return max(before, given if len(rows) < limit else min(given, int(rows[-1]["entry"])))


def _sequence(dialect: str, batch: Batch, fencing: int) -> Script[None]:
    """Write a batch. Raises _Overtaken when a check fails."""
    # 1. The lease must still be ours.
    if not (yield query(_STILL_OURS, name=LEASE_NAME, fencing=fencing)):
        raise _Overtaken
    # 2. Nobody may have written a head since.
    newest = yield query(_SIZE)
    if (newest[0]["size"] if newest else 0) != batch.old_size:
        raise _Overtaken
    # 3. The places, and the head over them.
    yield query(_PLACE[dialect], size=batch.old_size, entries=json.dumps(batch.entries))
    yield query(
        _HEAD.format(xid=_OWN_XID[dialect]),
        size=batch.head.size,
        line=encode_head(batch.head),
        frontier=batch.frontier.to_bytes(),
        settled=batch.settled,
    )
    yield Notify(PLACED)


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
