"""Requests to other CAs. A change replaces exactly the version of the row that the caller has read."""

from __future__ import annotations

from collections.abc import Mapping

from chopmark.audit.record import AuditRecord
from chopmark.ca.external.ports import Request, RequestState, Stored
from chopmark.core.types import IssuerId, OrderId, Serial
from chopmark.messaging.ports import OutboxJob
from chopmark.store.engine.columns import blobs, moment, moment_or_none, ms, ms_or_none, unblobs
from chopmark.store.engine.port import Clash, Engine
from chopmark.store.engine.script import Row, Script, Value, query
from chopmark.store.repositories.messaging.outbox import queue
from chopmark.store.repositories.records import append

COLUMNS = """order_id, attempt, issuer, transaction_id, profile, spki_sha256, state, sent_at, doubts, version, next_at,
  ticket, serial, der, chain, not_before, not_after, code, reason, revoked_at, by_hand"""
_NEWEST = f"SELECT {COLUMNS} FROM foreign_requests WHERE order_id = :order_id ORDER BY attempt DESC LIMIT 1"
_BY_SERIAL = f"""
SELECT {COLUMNS} FROM foreign_requests WHERE serial = :serial
ORDER BY CASE WHEN state IN ('received', 'issued', 'revoked') THEN 0 ELSE 1 END, sent_at LIMIT 1
"""
_BEGIN = """
INSERT INTO foreign_requests (order_id, attempt, issuer, transaction_id, profile, spki_sha256, state, sent_at, doubts,
  version, ticket, chain, by_hand)
VALUES (:order_id, :attempt, :issuer, :transaction_id, :profile, :spki, 'sent', :sent_at, :doubts, 1, :ticket, :chain,
  0)
ON CONFLICT DO NOTHING RETURNING order_id
"""
_CHANGE = """
UPDATE foreign_requests SET state = :state, doubts = :doubts, version = :version + 1, next_at = :next_at,
  ticket = :ticket, serial = :serial, der = :der, chain = :chain, not_before = :not_before, not_after = :not_after,
  code = :code, reason = :reason, revoked_at = :revoked_at, by_hand = :by_hand
WHERE order_id = :order_id AND attempt = :attempt AND version = :version RETURNING version
"""
_HELD_BY_ANOTHER = """
SELECT serial FROM holdings WHERE serial = :serial AND order_id <> :order_id
UNION ALL
SELECT serial FROM foreign_requests
WHERE serial = :serial AND (order_id <> :order_id OR attempt <> :attempt)
"""
_ATTENTION = """
SELECT serial, state, code, by_hand FROM foreign_requests
WHERE serial IS NOT NULL AND (by_hand = 1 OR state = 'quarantined') AND revoked_at IS NULL ORDER BY sent_at
"""


def request_of(row: Row) -> Request:
    """Return the request of a row that has COLUMNS."""
    return Request(
        order=OrderId(row["order_id"]),
        attempt=row["attempt"],
        issuer=IssuerId(row["issuer"]),
        transaction=bytes(row["transaction_id"]),
        profile=row["profile"],
        spki_sha256=row["spki_sha256"],
        state=RequestState(row["state"]),
        sent_at=moment(row["sent_at"]),
        doubts=row["doubts"],
        version=row["version"],
        next_at=moment_or_none(row["next_at"]),
        ticket=bytes(row["ticket"]),
        serial=None if row["serial"] is None else Serial(row["serial"]),
        der=None if row["der"] is None else bytes(row["der"]),
        chain=unblobs(bytes(row["chain"])),
        not_before=moment_or_none(row["not_before"]),
        not_after=moment_or_none(row["not_after"]),
        code=row["code"],
        reason=row["reason"],
        revoked_at=moment_or_none(row["revoked_at"]),
        by_hand=bool(row["by_hand"]),
    )


class RequestRepository:
    """Implements `ca.foreign_ports.Requests`."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    async def newest(self, order: OrderId) -> Request | None:
        """Return the order's newest attempt."""

        def script() -> Script[Request | None]:
            rows = yield query(_NEWEST, order_id=order)
            return request_of(rows[0]) if rows else None

        return await self._engine.read(script)

    async def by_serial(self, serial: Serial) -> Request | None:
        """Return the request by which a certificate was issued; of several requests the valid one."""

        def script() -> Script[Request | None]:
            rows = yield query(_BY_SERIAL, serial=serial)
            return request_of(rows[0]) if rows else None

        return await self._engine.read(script)

    async def begin(self, request: Request, record: AuditRecord) -> bool:
        """Store an attempt before it is sent. False when an earlier attempt of the order is still open."""

        def script() -> Script[bool]:
            rows = yield query(
                _BEGIN,
                order_id=request.order,
                attempt=request.attempt,
                issuer=request.issuer,
                transaction_id=request.transaction,
                profile=request.profile,
                spki=request.spki_sha256,
                sent_at=ms(request.sent_at),
                doubts=request.doubts,
                ticket=request.ticket,
                chain=blobs(request.chain),
            )
            if rows:
                yield from append(record)
            return bool(rows)

        return await self._engine.run(script)

    async def change(
        self, before: Request, after: Request, record: AuditRecord | None = None, works: tuple[OutboxJob, ...] = ()
    ) -> Stored:
        """Replace `before` by `after` and queue its work. KNOWN when another request has the serial already."""

        def script() -> Script[Stored]:
            counts = after.state in {RequestState.RECEIVED, RequestState.ISSUED}
            known = {"serial": after.serial, "order_id": after.order, "attempt": after.attempt}
            if counts and (yield query(_HELD_BY_ANOTHER, **known)):
                return Stored.KNOWN
            if not (yield query(_CHANGE, **values)):
                return Stored.MOVED
            yield from queue(works)
            if record is not None:
                yield from append(record)
            return Stored.YES

        values: dict[str, Value] = {
            "order_id": before.order,
            "attempt": before.attempt,
            "version": before.version,
            "state": after.state.value,
            "doubts": after.doubts,
            "next_at": ms_or_none(after.next_at),
            "ticket": after.ticket,
            "serial": after.serial,
            "der": after.der,
            "chain": blobs(after.chain),
            "not_before": ms_or_none(after.not_before),
            "not_after": ms_or_none(after.not_after),
            "code": after.code,
            "reason": after.reason,
            "revoked_at": ms_or_none(after.revoked_at),
            "by_hand": int(after.by_hand),
        }
        try:
            return await self._engine.run(script)
        except Clash:
            return Stored.KNOWN

    async def attention(self) -> Mapping[Serial, str]:
        """Return the serials that a person has to revoke at the CA, and the ones in quarantine."""

        def script() -> Script[Mapping[Serial, str]]:
            rows = yield query(_ATTENTION)
            return {
                Serial(row["serial"]): "revoke_by_hand" if row["by_hand"] else f"quarantined: {row['code']}"
                for row in rows
            }

        return await self._engine.read(script)
