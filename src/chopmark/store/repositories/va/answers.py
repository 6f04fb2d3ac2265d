"""OCSP answers: which are due, which are stored, and which certificates have changed their status since a mark."""

from __future__ import annotations

from datetime import datetime

from chopmark.core.types import CertificateState, IssuerId, Serial
from chopmark.store.engine.columns import moment, moment_or_none, ms
from chopmark.store.engine.port import Engine
from chopmark.store.engine.script import Row, Script, at_once, query
from chopmark.store.repositories.listed import CHOSEN
from chopmark.store.repositories.xids import OLDEST_XID, OWN_XID
from chopmark.va.ports import Changed, Changes, Due, Signed, Status

CHANGES_CHANNEL = "changes"
CHANGED = {
    "sqlite": "(SELECT COALESCE(MAX(changed), 0) + 1 FROM certificates WHERE changed > 0)",
    "postgresql": OWN_XID,
}
"""The number that a change of status gets. SQLite's numbers rise in the order of the commits.

PostgreSQL numbers a transaction when it begins to write, and transactions commit in any order. So a reader continues
with the number of the oldest transaction that was still running when it read.
"""
_MARK = {
    "sqlite": "SELECT COALESCE(MAX(changed), 0) AS mark FROM certificates WHERE changed > 0",
    "postgresql": f"SELECT {OLDEST_XID} AS mark",
}
_BEFORE = {
    "sqlite": "",
    "postgresql": "AND changed < CAST(CAST(pg_snapshot_xmax(pg_current_snapshot()) AS TEXT) AS BIGINT)",
}
"""Numbers in the future come from another PostgreSQL cluster, whose dump was loaded."""
_CHANGES = "SELECT serial, turns FROM certificates WHERE changed >= :since AND changed > 0 {before} LIMIT :most"
MOST_CHANGES = 10_000
NEVER = 2**62
"""The due time of an expired certificate, so that its answers are not signed ahead any more."""
_SIGNED = """
SELECT a.der, a.produced_at, a.next_update, a.turns FROM answers a JOIN certificates c ON c.serial = a.serial
WHERE a.serial = :serial AND a.algorithm = :algorithm AND c.issuer = :issuer
"""
_RETIRE = f"""
WITH due AS MATERIALIZED (
  SELECT serial, not_after FROM certificates
  WHERE issuer = :issuer AND answer_due <= :now AND state <> 'reserved' ORDER BY answer_due LIMIT :most
), chosen AS MATERIALIZED (SELECT serial AS place FROM due WHERE not_after <= :now)
UPDATE certificates SET answer_due = {NEVER} WHERE serial {{chosen}} RETURNING serial
"""
_DUE = """
SELECT serial, state, ended_at, reason, turns FROM certificates
WHERE issuer = :issuer AND answer_due <= :now AND state <> 'reserved' AND not_after > :now
ORDER BY answer_due LIMIT :most
"""
_OLDEST = """
SELECT answer_due AS oldest FROM certificates
WHERE issuer = :issuer AND answer_due >= 0 AND state <> 'reserved' ORDER BY answer_due LIMIT 1
"""


def status_of(row: Row) -> Status:
    """Return the status that a certificate row has."""
    return Status(CertificateState(row["state"]), moment_or_none(row["ended_at"]), row["reason"], row["turns"])


class AnswerRepository:
    """The part of `va.ports.StatusRecords` that is about answers."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    async def signed(self, issuer: IssuerId, serial: Serial, algorithm: str) -> Signed | None:
        """Return the answer that was signed ahead for a CertID of this hash (sha1 or sha256), if any."""

        def script() -> Script[Signed | None]:
            rows = yield query(_SIGNED, issuer=issuer, serial=serial, algorithm=algorithm)
            if not rows:
                return None
            row = rows[0]
            return Signed(bytes(row["der"]), moment(row["produced_at"]), moment(row["next_update"]), row["turns"])

        return await self._engine.read(script)

    async def changed(self, since: int | None) -> Changes:
        """Return the certificates of all issuers whose status was changed since a mark, and the next mark."""
        dialect = self._engine.dialect
        mark, changes = _MARK[dialect], _CHANGES.format(before=_BEFORE[dialect])

        def script() -> Script[Changes]:
            first = NEVER if since is None else since
            found = yield from at_once(query(mark), query(changes, since=first, most=MOST_CHANGES + 1))
            (marked,), rows = found or ([{"mark": first}], [])
            if len(rows) > MOST_CHANGES:
                return Changes(marked["mark"], None)
            return Changes(marked["mark"], tuple(Changed(Serial(row["serial"]), row["turns"]) for row in rows))

        return await self._engine.read(script)

    async def wait_changed(self, timeout_s: float) -> bool:
        """Wait until a certificate's status changed, or the timeout."""
        return await self._engine.wait(CHANGES_CHANNEL, timeout_s)

    async def due(self, issuer: IssuerId, now: datetime, limit: int) -> list[Due]:
        """Return unexpired certificates whose answers are missing, outdated by a change, or past half their life."""
        retired = _RETIRE.format(chosen=CHOSEN[self._engine.dialect])

        def script() -> Script[list[Due]]:
            yield query(retired, issuer=issuer, now=ms(now), most=limit)
            rows = yield query(_DUE, issuer=issuer, now=ms(now), most=limit)
            return [Due(Serial(row["serial"]), status_of(row)) for row in rows]

        return await self._engine.run(script)

    async def oldest_due(self, issuer: IssuerId) -> datetime | None:
        """Return the earliest due time of a certificate, also when it has passed; None without certificates."""

        def script() -> Script[datetime | None]:
            rows = yield query(_OLDEST, issuer=issuer)
            return None if not rows or rows[0]["oldest"] >= NEVER else moment(rows[0]["oldest"])

        return await self._engine.read(script)
