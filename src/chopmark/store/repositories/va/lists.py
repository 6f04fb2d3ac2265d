"""Revocation lists: the published ones, what stands in the next one, and whether a status has changed since the last.

The publisher asks this every two seconds for each list, for as long as the installation lives. So what it asks costs
the same however many certificates were ever changed: a list carries a mark of the changes that it has, and an index
leads to those after the mark.
"""

from __future__ import annotations

from datetime import datetime

from chopmark.audit.record import AuditRecord
from chopmark.core.types import IssuerId, Serial
from chopmark.store.engine.columns import moment, ms
from chopmark.store.engine.port import Engine
from chopmark.store.engine.script import Script, guard, whole
from chopmark.store.repositories.records import write_with_record
from chopmark.va.ports import Crl, CrlShard, Ended, LastCrl

_ENDED = """
SELECT serial, ended_at, reason FROM certificates
WHERE issuer = :issuer AND shard = :shard AND ended_at > 0 AND not_after > :keep_after
UNION ALL
SELECT serial, ended_at, reason FROM certificates
WHERE issuer = :issuer AND shard = :shard AND ended_at > :keep_after AND not_after <= :keep_after
UNION ALL
SELECT serial, ended_at, reason FROM service_revocations
WHERE issuer = :issuer AND CAST(:shard AS BIGINT) = 0 AND (not_after > :keep_after OR ended_at > :keep_after)
"""
"""Each part reads a range of an index, so that it costs as much as the list has entries. What expired earlier and was
listed then is not read again.

The first list of an issuer also has the certificates of its own services. The rows are sorted in Python, because with
ORDER BY SQLite would read the whole table."""
_OURS = -2
"""In `seen_end`: the list has a mark. The release before writes there how many changes of status it has counted, or -1
for a list that is due. It runs beside ours during an upgrade, and leaves our mark where it is.

So its lists are judged by its count, until ours take their place. In place of ours that release publishes its own."""
_BESIDE = "(SELECT COUNT(*) FROM service_revocations WHERE issuer = :issuer AND CAST(:shard AS BIGINT) = 0)"
_LISTED = f"""CASE WHEN seen_end = {_OURS} THEN seen_beside ELSE seen_end - (
    SELECT CAST(COALESCE(SUM(turns), 0) AS BIGINT) FROM certificates
    WHERE issuer = :issuer AND shard = :shard AND turns > 0
  ) END AS listed"""
_SHARD = {
    "sqlite": f"""
SELECT now.mark, now.beside, number, this_update, {_LISTED}, seen_end = {_OURS} AND seen_mark IS NOT now.mark AS changed
FROM (
  SELECT CAST(COALESCE(MAX(changed), 0) AS TEXT) AS mark, {_BESIDE} AS beside FROM certificates
  WHERE issuer = :issuer AND shard = :shard AND changed > 0
) AS now LEFT JOIN crls ON crls.issuer = :issuer AND crls.shard = :shard
""",
    "postgresql": f"""
SELECT CAST(now.snapshot AS TEXT) AS mark, now.beside, number, this_update, {_LISTED}, seen_end = {_OURS} AND (
    seen IS NULL OR pg_snapshot_xmax(seen) > pg_snapshot_xmax(now.snapshot) OR EXISTS (
      SELECT 1 FROM certificates WHERE issuer = :issuer AND shard = :shard AND changed > 0
        AND changed >= CAST(CAST(pg_snapshot_xmin(seen) AS TEXT) AS BIGINT)
        AND changed < CAST(CAST(pg_snapshot_xmax(now.snapshot) AS TEXT) AS BIGINT)
        AND NOT pg_visible_in_snapshot(CAST(CAST(changed AS TEXT) AS XID8), seen)
        AND pg_visible_in_snapshot(CAST(CAST(changed AS TEXT) AS XID8), now.snapshot)
    )
  ) AS changed
FROM (SELECT pg_current_snapshot() AS snapshot, {_BESIDE} AS beside) AS now LEFT JOIN (
  SELECT number, this_update, seen_end, seen_beside,
    CAST(CASE WHEN seen_mark LIKE '%:%:%' THEN seen_mark END AS PG_SNAPSHOT) AS seen
  FROM crls WHERE issuer = :issuer AND shard = :shard
) AS list ON TRUE
""",
}
"""The present list of a shard, whether it may lack a change, and the mark of what can be seen now.

SQLite numbers the changes in the order of their commits, so a shard's highest number is the mark; no certificate is
ever deleted, so it only rises.

PostgreSQL numbers transactions when they begin to write, and they end in any order. The mark is the snapshot itself: it
names the transactions that were still running. What they change is found once they end, and what the list has already
is not found again, however long one of them runs (with the oldest number alone it would be, at each look).

In a new cluster into which a dump was loaded the numbers begin anew. A mark from the future counts as a change, as does
one of SQLite's, so the list is published and gets a mark of this cluster. Certificates' numbers from the future count
as none.
"""
_CRL = """
SELECT number, der, this_update, next_update, seen_mark, seen_beside FROM crls
WHERE issuer = :issuer AND shard = :shard
"""
_PUBLISH = f"""
INSERT INTO crls (issuer, shard, number, der, this_update, next_update, seen_end, seen_mark, seen_beside)
VALUES (:issuer, :shard, :number, :der, :this_update, :next_update, {_OURS}, :seen_mark, :seen_beside)
ON CONFLICT (issuer, shard) DO UPDATE SET number = :number, der = :der, this_update = :this_update,
  next_update = :next_update, seen_end = {_OURS}, seen_mark = :seen_mark, seen_beside = :seen_beside
WHERE crls.number < :number RETURNING number
"""


class CrlRepository:
    """The part of `va.ports.StatusRecords` that is about revocation lists."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    async def ended(self, issuer: IssuerId, shard: int, keep_after: datetime) -> list[Ended]:
        """Return the certificates of a shard, by serial, that were valid or were ended later than `keep_after`."""

        def script() -> Script[list[Ended]]:
            rows = yield whole(_ENDED, issuer=issuer, shard=shard, keep_after=ms(keep_after))
            ended = (Ended(Serial(row["serial"]), moment(row["ended_at"]), row["reason"]) for row in rows)
            return sorted(ended, key=lambda one: one.serial)

        return await self._engine.read(script)

    async def crl(self, issuer: IssuerId, shard: int) -> Crl | None:
        """Return the published list of a shard, if any."""

        def script() -> Script[Crl | None]:
            rows = yield whole(_CRL, issuer=issuer, shard=shard)
            if not rows:
                return None
            row = rows[0]
            der, this_update, next_update = bytes(row["der"]), moment(row["this_update"]), moment(row["next_update"])
            return Crl(row["number"], der, this_update, next_update, row["seen_mark"], row["seen_beside"])

        return await self._engine.read(script)

    async def shard(self, issuer: IssuerId, shard: int) -> CrlShard:
        """Return what is published of a shard, and whether its status has changed since, without the list itself."""

        def script() -> Script[CrlShard]:
            (row,) = yield whole(_SHARD[self._engine.dialect], issuer=issuer, shard=shard)
            last = None
            if row["number"] is not None:
                last = LastCrl(row["number"], moment(row["this_update"]), row["listed"])
            return CrlShard(last, bool(row["changed"]), row["mark"], row["beside"])

        return await self._engine.read(script)

    async def publish(self, issuer: IssuerId, shard: int, crl: Crl, record: AuditRecord) -> bool:
        """Store a list. False when one with the same or a higher number is stored."""

        def script() -> Script[bool]:
            published = guard(
                _PUBLISH,
                issuer=issuer,
                shard=shard,
                number=crl.number,
                der=crl.der,
                this_update=ms(crl.this_update),
                next_update=ms(crl.next_update),
                seen_mark=crl.mark,
                seen_beside=crl.beside,
            )
            return (yield from write_with_record(record, published)) is not None

        return await self._engine.run(script)
