"""Append audit records in the transaction of the change that they tell of.

`write_with_record` makes the change and appends its record as one bundle. `append` is for a transaction of several
steps.
"""

from collections.abc import Sequence

from chopmark.audit.log import StaleStream
from chopmark.audit.record import AuditRecord, StoredRecord, StreamId, Tip, new_stream, next_tip
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
LEAF = "chain, version, previous, at, event, facts, kid, mac"
RECORDS = f"SELECT {LEAF} FROM leaves WHERE chain = :chain ORDER BY version"


def record_of(row: Row, index: int | None = None) -> StoredRecord:
    """Return a record with its columns as they are stored, and its index in the tree if known. Nothing is checked."""
    return StoredRecord(
        stream=row["chain"],
        version=row["version"],
        previous=row["previous"],
        at=row["at"],
        event=row["event"],
        facts=row["facts"],
        kid=row["kid"],
        mac=row["mac"],
        index=index,
    )


def tip_of(chain: StreamId, rows: list[Row]) -> Tip:
    """Return the tip that `TIP` found; version 0 and GENESIS for a stream without records."""
    return Tip(chain, rows[0]["version"], rows[0]["tip"]) if rows else new_stream(chain)


def append(record: AuditRecord) -> Script[None]:
    """Append a record. When the stream has got another record meanwhile, raise StaleStream, which rolls back."""
    move, entry = _parts(record)
    if not (yield move):
        raise StaleStream
    yield entry


def again(chain: StreamId, records: Sequence[StoredRecord]) -> Script[bool]:
    """Append those of a stream's first records that are missing here, unchanged. Raises StaleStream as `append` does.

    False, and nothing is written, when the stream has other records here. ValueError for a malformed record.
    """
    tip = tip_of(chain, (yield query(TIP, chain=chain)))
    if tip.version >= len(records):
        return True
    if tip.version and records[tip.version - 1].leaf_hash() != tip.leaf_hash:
        return False
    for one in records[tip.version :]:
        yield from append(one.record())
    return True


def write_with_record(record: AuditRecord, *parts: Query, batchable: bool = False) -> Script[list[list[Row]] | None]:
    """Make a change and append its record, as one bundle. Return the rows of each part.

    None when a guard of the change failed. Then nothing was changed, and the script may go on to find out why. Raises
    StaleStream when the stream has got another record meanwhile. `batchable`: see `Bundle`.
    """
    done = yield from at_once(*parts, *_parts(record), batchable=batchable)
    if done is None:
        if tip_of(record.stream, (yield query(TIP, chain=record.stream))) != Tip(
            record.stream, record.version - 1, record.previous
        ):
            raise StaleStream
        return None
    return done


def note(record: AuditRecord, *parts: Query) -> Script[None]:
    """Append a record, together with changes that have no condition. Raises StaleStream as `append` does."""
    if (yield from write_with_record(record, *parts)) is None:
        raise StaleStream


def _parts(record: AuditRecord) -> tuple[Query, Query]:
    """Return the guard that moves the tip of the stream, and the statement that stores the record."""
    tip = next_tip(record).leaf_hash
    if record.version == 1:
        move = guard(_FIRST, chain=record.stream, tip=tip)
    else:
        move = guard(
            _NEXT,
            chain=record.stream,
            version=record.version,
            tip=tip,
            before=record.version - 1,
            previous=record.previous,
        )
    row = record.stored()
    entry = query(
        _LEAF,
        chain=row.stream,
        version=row.version,
        previous=row.previous,
        at=row.at,
        event=row.event,
        facts=row.facts,
        kid=row.kid,
        mac=row.mac,
    )
    return move, entry
