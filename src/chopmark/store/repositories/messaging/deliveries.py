"""Which gateway was handed which message, and what was reported of it later."""

from __future__ import annotations

from datetime import datetime

from chopmark.messaging.attempts import Attempt, Fate, fate_of
from chopmark.messaging.ports import FaultReason, GatewayFault, Receipt
from chopmark.store.engine.columns import ms
from chopmark.store.engine.port import Engine
from chopmark.store.engine.script import Script, at_once, guard, query, whole

# What stands as begun was begun by a process that is gone, or by one that still waits: either way nobody else begins.
_BEGIN = """
INSERT INTO deliveries (message, gateway, fate, tries, begun_at)
SELECT CAST(:message AS TEXT), CAST(:gateway AS TEXT), 'begun', 1, CAST(:now AS BIGINT)
WHERE NOT EXISTS (SELECT 1 FROM deliveries WHERE message = CAST(:message AS TEXT) AND fate = 'taken')
ON CONFLICT (message, gateway) DO UPDATE SET fate = 'begun', tries = deliveries.tries + 1, begun_at = :now
WHERE deliveries.fate = 'later'
RETURNING message
"""
_BEFORE = """
SELECT gateway, fate, provider_id, reason FROM deliveries
WHERE message = :message AND (fate = 'taken' OR gateway = :gateway)
ORDER BY CASE WHEN fate = 'taken' THEN 0 ELSE 1 END LIMIT 1
"""
_END = """
UPDATE deliveries SET fate = :fate, ended_at = :now, provider_id = :provider, reason = :reason, detail = :detail
WHERE message = :message AND gateway = :gateway AND fate = 'begun'
"""


class DeliveryRepository:
    """Implements `messaging.attempts.Attempts`."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    async def begin(self, message: str, gateway: str, now: datetime) -> Attempt | None:
        """As `Attempts.begin`."""

        def script() -> Script[Attempt | None]:
            begun = guard(_BEGIN, message=message, gateway=gateway, now=ms(now))
            if (yield from at_once(begun)) is not None:
                return None
            rows = yield query(_BEFORE, message=message, gateway=gateway)
            (row,) = rows
            reason = None if row["reason"] is None else FaultReason(row["reason"])
            return Attempt(message, row["gateway"], Fate(row["fate"]), row["provider_id"], reason)

        return await self._engine.run(script)

    async def end(self, message: str, gateway: str, outcome: Receipt | GatewayFault, now: datetime) -> None:
        """As `Attempts.end`."""
        values = {
            "fate": fate_of(outcome).value,
            "provider": outcome.provider_id if isinstance(outcome, Receipt) else None,
            "reason": outcome.named.value if isinstance(outcome, GatewayFault) else None,
            "detail": outcome.detail if isinstance(outcome, GatewayFault) else None,
        }

        def script() -> Script[None]:
            yield whole(_END, message=message, gateway=gateway, now=ms(now), **values)

        await self._engine.run(script)
