"""Which gateway was handed which message, and what was reported of it later."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Final

from chopmark.messaging.attempts import Attempt, Fate, fate_of
from chopmark.messaging.ports import FaultReason, GatewayFault, Receipt
from chopmark.messaging.reports import Report, ReportState, Unreported
from chopmark.store.engine.columns import ms, span
from chopmark.store.engine.port import Engine
from chopmark.store.engine.script import Query, Script, at_once, guard, in_turn, query, whole
from chopmark.store.repositories.leases import LOCK
from chopmark.store.repositories.listed import CHOSEN, ROW
from chopmark.store.repositories.unreachable import IN_PLACE, RETURNED

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
# Of a report nothing depends but a sentence on the page: it is the gateway's word, and no record of ours.
_REPORTED = """
UPDATE deliveries AS d SET report = :state, report_detail = :detail, reported_at = :now
WHERE {which} AND (d.report IS NULL OR (d.report <> 'delivered' AND CAST(:state AS TEXT) = 'delivered'))
RETURNING message
"""
_SAID = """
WITH chosen AS MATERIALIZED (SELECT d.message AS place FROM deliveries d WHERE {which})
UPDATE work SET outcome = :outcome
WHERE id {chosen} AND COALESCE(done_at, -1) >= 0 AND outcome IN ('sent', 'failed:reported')
"""
# A gateway names a message by its own id. A mail that comes back names it by ours, and proves that it was taken, also
# where the answer of the mail server was lost.
_BY_PROVIDER = "d.gateway = :gateway AND d.provider_id = :provider AND d.fate = 'taken'"
_BY_MESSAGE = "d.gateway || '' = :gateway AND d.message = :message AND d.fate IN ('taken', 'unknown', 'begun')"
# A notice by mail may be sent again, so no attempt of it was stored.
_NOTICED = """
INSERT INTO deliveries (message, gateway, fate, tries, begun_at, ended_at)
SELECT id, CAST(:gateway AS TEXT), 'taken', 1, CAST(:now AS BIGINT), CAST(:now AS BIGINT) FROM work
WHERE id = :message AND kind = 'notice' AND channel = 'email'
  AND (outcome = 'sent' OR (done_at IS NULL AND attempts > 0))
ON CONFLICT (message, gateway) DO NOTHING RETURNING message
"""
# A gateway may be quicker than we: it reports before the answer to the sending has come here.
_EARLY = """
INSERT INTO early_reports (gateway, provider_id, state, detail, at)
SELECT CAST(:gateway AS TEXT), CAST(:provider AS TEXT), CAST(:state AS TEXT), CAST(:detail AS TEXT),
  CAST(:now AS BIGINT)
WHERE NOT EXISTS (
  SELECT 1 FROM deliveries
  WHERE gateway = CAST(:gateway AS TEXT) AND provider_id = CAST(:provider AS TEXT) AND fate = 'taken'
)
ON CONFLICT (gateway, provider_id) DO UPDATE SET state = excluded.state, detail = excluded.detail
WHERE early_reports.state <> 'delivered' AND excluded.state = 'delivered'
"""
_ARRIVED_EARLY = """
SELECT e.gateway, e.provider_id, e.state, e.detail FROM early_reports e
WHERE EXISTS (SELECT 1 FROM deliveries d
  WHERE d.gateway = e.gateway AND d.provider_id = e.provider_id AND d.fate = 'taken' LIMIT 1 OFFSET 0)
LIMIT :most
"""
_FORGET_EARLY = "DELETE FROM early_reports WHERE gateway = :gateway AND provider_id = :provider"
# A report that came between the gateway's answer and the end of the row of work did not find that row ended.
_SETTLE = """
WITH chosen AS MATERIALIZED (
  SELECT message AS place FROM deliveries
  WHERE report IS NOT NULL AND reported_at > :since AND report <> 'delivered'
)
UPDATE work SET outcome = 'failed:reported'
WHERE id {chosen} AND outcome = 'sent' AND COALESCE(done_at, -1) >= 0
"""
_UNREPORTED = """
WITH chosen AS MATERIALIZED (
  SELECT {row} AS place FROM deliveries
  WHERE fate = 'taken' AND report IS NULL AND begun_at > :oldest AND provider_id IS NOT NULL
    AND gateway IN ({gateways})
    AND CASE WHEN asked_at IS NULL THEN ended_at + :first ELSE asked_at + asked_at - ended_at END <= :now
  ORDER BY begun_at LIMIT :most {lock}
)
UPDATE deliveries SET asked_at = :now WHERE {row} {chosen}
RETURNING gateway, provider_id
"""
# A reminder that did not arrive within a day tells that nothing arrives at this contact, and so does a notice. A code's
# life is too short to tell: the phone may have been off.
_DEAD = f"""
INSERT INTO unreachable_contacts (customer, channel, version, why, since)
SELECT customer, channel, MAX(version), CAST(:why AS TEXT), CAST(:now AS BIGINT) FROM (
  SELECT r.customer AS customer, r.channel AS channel, r.contact_version AS version
  FROM deliveries d JOIN reminders r ON r.id = d.message
  WHERE {{which}}
  UNION ALL
  SELECT w.customer AS customer, w.channel AS channel, w.contact_version AS version
  FROM deliveries d JOIN work w ON w.id = d.message AND w.kind = 'notice'
  WHERE {{which}}
) m WHERE m.customer IS NOT NULL AND m.channel IS NOT NULL AND m.version IS NOT NULL
GROUP BY customer, channel{IN_PLACE}"""
_FREED = """
DELETE FROM unreachable_contacts WHERE EXISTS (
  SELECT 1 FROM deliveries d LEFT JOIN reminders r ON r.id = d.message LEFT JOIN work w ON w.id = d.message
  WHERE {which}
    AND COALESCE(r.customer, w.customer) = unreachable_contacts.customer
    AND COALESCE(r.channel, w.channel) = unreachable_contacts.channel
    AND COALESCE(r.contact_version, w.contact_version) = unreachable_contacts.version)
"""
_WHY: Final = {ReportState.FAILED: "reported", ReportState.UNDELIVERED: RETURNED}
FIRST_ASKED: Final = timedelta(seconds=30)
ASKED_FOR: Final = timedelta(days=1)
SETTLED_WITHIN: Final = timedelta(minutes=10)
SETTLED_AT_ONCE: Final = 200
_OUTCOMES: Final = {
    ReportState.DELIVERED.value: "sent",
    ReportState.FAILED.value: "failed:reported",
    ReportState.UNDELIVERED.value: "failed:reported",
}


class DeliveryRepository:
    """Implements `messaging.attempts.Attempts` and `messaging.reports.ReportStore`."""

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

    async def reported(self, gateway: str, report: Report, now: datetime) -> bool:
        """As `ReportStore.reported`."""
        named = {"gateway": gateway, "provider": report.provider_id}
        said = {"state": report.state.value, "detail": report.detail, "now": ms(now), **named}

        def script() -> Script[bool]:
            if (yield from at_once(*self._ending(_BY_PROVIDER, report, now, named))) is not None:
                return True
            yield query(_EARLY, **said)
            return False

        return await self._engine.run(script)

    async def returned(self, gateway: str, message: str, report: Report, now: datetime) -> bool:
        """As `ReportStore.returned`."""
        named = {"gateway": gateway, "message": message}

        def ended() -> Script[bool]:
            return (yield from at_once(*self._ending(_BY_MESSAGE, report, now, named))) is not None

        def noticed() -> Script[bool]:
            return bool((yield whole(_NOTICED, now=ms(now), **named)))

        if await self._engine.run(ended):
            return True
        return await self._engine.run(noticed) and await self._engine.run(ended)

    async def settle(self, now: datetime) -> int:
        """As `ReportStore.settle`."""
        settled = _SETTLE.format(chosen=CHOSEN[self._engine.dialect])

        def script() -> Script[int]:
            rows = yield query(_ARRIVED_EARLY, most=SETTLED_AT_ONCE)
            for row in rows:
                named = {"gateway": row["gateway"], "provider": row["provider_id"]}
                report = Report(row["provider_id"], ReportState(row["state"]), row["detail"])
                found, *others = self._ending(_BY_PROVIDER, report, now, named)
                if (yield replace(found, guard=False)):
                    yield from in_turn(tuple(others))
                yield query(_FORGET_EARLY, **named)
            yield query(settled, since=ms(now) - span(SETTLED_WITHIN))
            return len(rows)

        return await self._engine.run(script)

    async def unreported(self, gateways: Sequence[str], now: datetime, most: int) -> list[Unreported]:
        """As `ReportStore.unreported`."""
        if not gateways:
            return []
        names = {f"gateway{number}": name for number, name in enumerate(gateways)}
        dialect = self._engine.dialect
        parts = {"lock": LOCK[dialect], "row": ROW[dialect], "chosen": CHOSEN[dialect]}
        sql = _UNREPORTED.format(gateways=", ".join(f":{name}" for name in names), **parts)
        times = {"now": ms(now), "oldest": ms(now) - span(ASKED_FOR), "first": span(FIRST_ASKED)}

        def script() -> Script[list[Unreported]]:
            rows = yield whole(sql, most=most, **times, **names)
            return [Unreported(row["gateway"], row["provider_id"]) for row in rows]

        return await self._engine.run(script)

    def _ending(self, which: str, report: Report, now: datetime, named: dict[str, str]) -> tuple[Query, ...]:
        """Return the statements that add a report to its message, the first being the guard.

        The others write what the report means for the page of a code, and for the contact: that nothing arrives there,
        or that something did.
        """
        state, chosen = report.state, CHOSEN[self._engine.dialect]
        said = {"state": state.value, "detail": report.detail, "now": ms(now), **named}
        ending = (
            guard(_REPORTED.format(which=which), **said),
            query(_SAID.format(which=which, chosen=chosen), outcome=_OUTCOMES[state.value], **named),
        )
        if state in _WHY:
            return (*ending, query(_DEAD.format(which=which), why=_WHY[state], now=ms(now), **named))
        return (*ending, query(_FREED.format(which=which), **named)) if state is ReportState.DELIVERED else ending
