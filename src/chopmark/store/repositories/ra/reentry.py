"""Store again what a restore lost: submitted orders, and changes of status, both from the journal."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping, Sequence

from chopmark.audit.journal import Deed, Line
from chopmark.audit.record import AuditRecord, StoredRecord, order_stream
from chopmark.core.types import OrderId
from chopmark.ra.model import Order
from chopmark.store.engine.columns import ms, ms_or_none, span, words
from chopmark.store.engine.port import Engine
from chopmark.store.engine.script import Script, Value, query
from chopmark.store.repositories.ca.certificates import HOLD, RELEASE, REVOKE
from chopmark.store.repositories.listed import LISTED
from chopmark.store.repositories.ra.order_rows import ORDER_COLUMNS, order_of
from chopmark.store.repositories.records import again, append
from chopmark.store.repositories.va.answers import CHANGED

_KNOWN = "SELECT id FROM customers WHERE id = :customer"
_RIVALS = f"""
SELECT {ORDER_COLUMNS} FROM orders
WHERE customer = :customer AND profile = :profile AND id <> :id AND operation <> 'revoke'
  AND state IN ('open', 'bound', 'coded', 'checked', 'submitted', 'pending', 'issued')
"""
_UNPROVED = "SELECT id FROM orders WHERE id {listed} AND state || '' = 'issued'"
_ENTER = """
INSERT INTO orders (id, customer, operation, reason, account, profile, key_home, state, login_factors, policy,
  created_at, expires_at, birth_date_asked, old_serial, spki_sha256, csr, bound_at, code_channel, coded_at, checked_at,
  consent, submitted_at, login, bound_login, approved_login, key_evidence, both_codes, delay)
VALUES (:id, :customer, :operation, :reason, :account, :profile, :key_home, 'submitted', :login_factors, :policy,
  :created_at, :expires_at, :birth_date_asked, :old_serial, :spki, :csr, :bound_at, :code_channel, :coded_at,
  :checked_at, :consent, :submitted_at, :login, :bound_login, :approved_login, :evidence, :both_codes, :delay)
ON CONFLICT (id) DO UPDATE SET state = 'submitted', spki_sha256 = :spki, csr = :csr, bound_at = :bound_at,
  code_channel = :code_channel, coded_at = :coded_at, checked_at = :checked_at, consent = :consent,
  submitted_at = :submitted_at, bound_login = :bound_login, approved_login = :approved_login, key_evidence = :evidence,
  nonce = NULL
WHERE orders.customer = :customer AND orders.state IN ('open', 'bound', 'coded', 'checked') RETURNING id
"""
_KEY = """
INSERT INTO keys (spki_sha256, customer, first_seen_at) VALUES (:spki, :customer, :now)
ON CONFLICT (spki_sha256) DO NOTHING
"""
_RA_TURNS = {
    Deed.REVOKED: """
UPDATE holdings SET state = 'revoked', ended_at = :at, reason = :reason
WHERE serial = :serial AND state IN ('issued', 'active', 'held')
""",
    Deed.HELD: """
UPDATE holdings SET state = 'held', ended_at = :at, reason = 'held'
WHERE serial = :serial AND state IN ('issued', 'active')
""",
    Deed.RELEASED: """
UPDATE holdings SET state = CASE WHEN activated_at IS NULL THEN 'issued' ELSE 'active' END, ended_at = NULL,
  reason = NULL
WHERE serial = :serial AND state = 'held' AND NOT EXISTS (SELECT 1 FROM holdings o
  WHERE o.customer = holdings.customer AND o.profile = holdings.profile AND o.state = 'active')
""",
}
_CA_TURNS = {Deed.REVOKED: REVOKE, Deed.HELD: HOLD, Deed.RELEASED: RELEASE}


class ReentryRepository:
    """Implements `ra.reentry.Records`."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    async def rivals(self, order: Order) -> list[Order]:
        """Return the customer's other live orders of this profile. The lost order was opened after them."""

        def script() -> Script[list[Order]]:
            values = {"customer": order.customer, "profile": order.profile, "id": order.id}
            return [order_of(row) for row in (yield query(_RIVALS, **values))]

        return await self._engine.read(script)

    async def unproved(self, orders: Collection[OrderId]) -> set[OrderId]:
        """Return those of these orders whose certificate is issued and not active."""

        def script() -> Script[set[OrderId]]:
            sql = _UNPROVED.format(listed=LISTED[self._engine.dialect])
            return {OrderId(row["id"]) for row in (yield query(sql, listed=json.dumps(sorted(orders))))}

        return await self._engine.read(script)

    async def enter(self, order: Order, records: Sequence[StoredRecord]) -> bool:
        """Store a submitted order, and those of its records that are missing. It may be repeated.

        False, and nothing is stored, when the customer is unknown or the audit stream has other records here. Raises
        StaleStream when the stream gets a record meanwhile, and ValueError for a malformed record.
        """

        def script() -> Script[bool]:
            if not (yield query(_KNOWN, customer=order.customer)):
                return False
            if not (yield from again(order_stream(order.id), records)):
                return False
            yield query(_ENTER, **_columns(order))
            yield query(_KEY, spki=order.spki_sha256, customer=order.customer, now=ms(order.created_at))
            return True

        return await self._engine.run(script)

    async def turn(self, line: Line, records: Sequence[AuditRecord]) -> bool:
        """Repeat a change of status of the journal, for the CA and for the customer, with its original time.

        False when the certificate is in a state in which this change is not possible.
        """
        values = {"serial": line.serial, "reason": line.reason}
        numbered = _CA_TURNS[line.deed].format(changed=CHANGED[self._engine.dialect])

        def script() -> Script[bool]:
            if not (yield query(numbered, now=ms(line.at), **_named(numbered, values))):
                return False
            ours = _RA_TURNS[line.deed]
            yield query(ours, **_named(ours, {**values, "at": ms(line.at)}))
            for record in records:
                yield from append(record)
            return True

        return await self._engine.run(script)


def _named(sql: str, values: Mapping[str, Value]) -> dict[str, Value]:
    return {name: value for name, value in values.items() if f":{name}" in sql}


def _columns(order: Order) -> dict[str, Value]:
    return {
        "id": order.id,
        "customer": order.customer,
        "operation": order.operation.value,
        "reason": None if order.reason is None else order.reason.value,
        "account": order.account,
        "profile": order.profile,
        "key_home": order.key_home.value,
        "login_factors": words(frozenset(order.login_factors)),
        "policy": order.policy,
        "created_at": ms(order.created_at),
        "expires_at": ms(order.expires_at),
        "birth_date_asked": int(order.birth_date_asked),
        "old_serial": order.old_serial,
        "spki": order.spki_sha256,
        "csr": order.csr,
        "bound_at": ms_or_none(order.bound_at),
        "code_channel": None if order.code_channel is None else order.code_channel.value,
        "coded_at": ms_or_none(order.coded_at),
        "checked_at": ms_or_none(order.checked_at),
        "consent": order.consent,
        "submitted_at": ms_or_none(order.submitted_at),
        "login": order.login,
        "bound_login": order.bound_login,
        "approved_login": order.approved_login,
        "evidence": None if order.key_evidence is None else order.key_evidence.value,
        "both_codes": int(order.both_codes),
        "delay": span(order.delay),
    }
