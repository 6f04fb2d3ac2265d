"""What people at the firm look up, and the revocation of one certificate."""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import datetime

from chopmark.audit.record import AuditRecord
from chopmark.core.types import CustomerId, Serial
from chopmark.messaging.ports import OutboxJob
from chopmark.ra.imported import Fingerprint
from chopmark.ra.model import Order
from chopmark.ra.ports import SubscriberCertificate
from chopmark.store.engine.columns import moment, moment_or_none, ms
from chopmark.store.engine.port import Engine
from chopmark.store.engine.script import Script, query
from chopmark.store.repositories.messaging.outbox import queue
from chopmark.store.repositories.ra.imported_certificates import COUNTS
from chopmark.store.repositories.ra.order_rows import ORDER_COLUMNS, order_of
from chopmark.store.repositories.ra.subscriber_certificates import BROUGHT_ALONG, HOLDING, OURS, any_holding_of
from chopmark.store.repositories.records import append

_END = """
UPDATE holdings SET state = 'revoked', ended_at = :now, reason = :reason
WHERE serial = :serial AND state IN ('issued', 'active', 'held') RETURNING order_id
"""
_END_IMPORTED = f"""
UPDATE imported_certificates AS i SET state = 'revoked', ended_at = :now, reason = :reason, revoke_after = :now
WHERE i.fingerprint = :fingerprint AND i.state IN ('active', 'held') AND {COUNTS} RETURNING fingerprint
"""
_END_ORDER = """
UPDATE orders SET state = 'refused', ended = 'old_revoked', nonce = NULL WHERE id = :id AND state = 'issued'
"""
_ORDERS = f"SELECT {ORDER_COLUMNS} FROM orders WHERE customer = :customer ORDER BY created_at DESC LIMIT :most"
_MESSAGES = """
SELECT kind, channel, facts, not_before, done_at FROM work
WHERE customer = :customer AND kind IN ('code', 'notice') ORDER BY not_before DESC, id DESC LIMIT :most
"""
_FIND = f"""
SELECT {HOLDING}, {OURS} FROM holdings
WHERE serial LIKE :serial OR customer = :text OR order_id = :text OR account = :text OR spki_sha256 = :text
UNION ALL {BROUGHT_ALONG} AND (i.serial LIKE :serial OR i.serial = :bare OR i.customer = :text OR i.account = :text
  OR i.spki_sha256 = :text OR i.fingerprint LIKE :fingerprint)
ORDER BY issued_at DESC, serial LIMIT :most
"""
_LEAST, _DIGITS = 6, frozenset("0123456789ABCDEF")
"""A search needs at least so many hexadecimal digits of a serial number."""


@dataclass(frozen=True, slots=True)
class Told:
    """A message to a customer: its subject, its channel, and whether it was sent."""

    about: str
    channel: str
    at: datetime
    done_at: datetime | None


class StaffViews:
    """Reads for the console, newest first and bounded; implements `ra.ending.Endings`."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    async def orders(self, customer: CustomerId, most: int) -> list[Order]:
        """Return the customer's orders, of any state."""

        def script() -> Script[list[Order]]:
            return [order_of(row) for row in (yield query(_ORDERS, customer=customer, most=most))]

        return await self._engine.read(script)

    async def messages(self, customer: CustomerId, most: int) -> list[Told]:
        """Return the messages to a customer, without their texts."""

        def script() -> Script[list[Told]]:
            rows = yield query(_MESSAGES, customer=customer, most=most)
            return [
                Told(
                    str(json.loads(row["facts"]).get("template", "code")),
                    row["channel"] or "",
                    moment(row["not_before"]),
                    moment_or_none(row["done_at"]),
                )
                for row in rows
            ]

        return await self._engine.read(script)

    async def find(self, written: str, most: int) -> list[SubscriberCertificate]:
        """Return certificates by serial or its beginning, customer number, order, account or key digest.

        Imported ones too, also by their fingerprint or its beginning.
        """

        def script() -> Script[list[SubscriberCertificate]]:
            bare = written.replace(":", "").replace(" ", "").upper()
            begins = f"{bare}%" if len(bare) >= _LEAST and set(bare) <= _DIGITS else ""
            named = {"serial": begins, "bare": bare, "fingerprint": begins.lower(), "text": written}
            return [any_holding_of(row) for row in (yield query(_FIND, **named, most=most))]

        return await self._engine.read(script)

    async def end(
        self, serial: Serial, reason: str, now: datetime, works: tuple[OutboxJob, ...], record: AuditRecord
    ) -> bool:
        """Revoke a certificate that is issued, active or on hold, and end its order. False in any other state."""

        def script() -> Script[bool]:
            rows = yield query(_END, serial=serial, reason=reason, now=ms(now))
            if rows:
                yield query(_END_ORDER, id=rows[0]["order_id"])
                yield from queue(works)
                yield from append(record)
            return bool(rows)

        return await self._engine.run(script)

    async def end_imported(
        self, fingerprint: Fingerprint, reason: str, now: datetime, works: tuple[OutboxJob, ...], record: AuditRecord
    ) -> bool:
        """Revoke an imported certificate that is active or on hold; False in any other state."""

        def script() -> Script[bool]:
            rows = yield query(_END_IMPORTED, fingerprint=fingerprint, reason=reason, now=ms(now))
            if rows:
                yield from queue(works)
                yield from append(record)
            return bool(rows)

        return await self._engine.run(script)
