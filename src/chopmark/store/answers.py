"""OCSP answers signed ahead: which are due, and what was kept."""

from __future__ import annotations

from datetime import datetime

from chopmark.store.columns import moment, moment_or_none, ms
from chopmark.store.engine import Engine
from chopmark.store.script import Row, Script, query
from chopmark.va.ports import Due, Signed, Status
from chopmark.words import CertificateState, IssuerId, Serial

NEVER = 2**62
"""When an expired certificate is due: its answers are not signed ahead any more."""
_SIGNED = """
SELECT a.der, a.produced_at, a.next_update, a.turns FROM answers a JOIN certificates c ON c.serial = a.serial
WHERE a.serial = :serial AND a.algorithm = :algorithm AND c.issuer = :issuer
"""
_RETIRE = f"""
UPDATE certificates SET answer_due = {NEVER}
WHERE issuer = :issuer AND answer_due <= :now AND state <> 'reserved' AND not_after <= :now RETURNING serial
"""
_DUE = """
SELECT serial, state, ended_at, reason, turns FROM certificates
WHERE issuer = :issuer AND answer_due <= :now AND state <> 'reserved' AND not_after > :now
ORDER BY answer_due LIMIT :most
"""
_OLDEST = "SELECT MIN(answer_due) AS oldest FROM certificates WHERE issuer = :issuer AND state <> 'reserved'"


def status_of(row: Row) -> Status:
    """Return what a certificate row says of its status."""
    return Status(CertificateState(row["state"]), moment_or_none(row["ended_at"]), row["reason"], row["turns"])


class AnswerLedger:
    """The part of `va.ports.StatusRecords` that keeps answers."""

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

    async def due(self, issuer: IssuerId, now: datetime, limit: int) -> list[Due]:
        """Return certificates, not yet expired, whose answers are missing, of before a change, or past half life."""

        def script() -> Script[list[Due]]:
            yield query(_RETIRE, issuer=issuer, now=ms(now))
            rows = yield query(_DUE, issuer=issuer, now=ms(now), most=limit)
            return [Due(Serial(row["serial"]), status_of(row)) for row in rows]

        return await self._engine.run(script)

    async def oldest_due(self, issuer: IssuerId) -> datetime | None:
        """Return when the certificate is, or was, due that is due first; None without any."""

        def script() -> Script[datetime | None]:
            oldest = (yield query(_OLDEST, issuer=issuer))[0]["oldest"]
            return None if oldest is None or oldest >= NEVER else moment(oldest)

        return await self._engine.read(script)
