"""One-time credentials of customers' programs: one for an order, stored as a hash, used up by binding a key."""

from __future__ import annotations

from datetime import datetime

from chopmark.audit.record import AuditRecord
from chopmark.core.refusal import Kind, Refusal
from chopmark.core.types import LoginId, OrderId, text
from chopmark.ra.ports import Credential
from chopmark.store.engine.columns import moment, ms
from chopmark.store.engine.port import Engine
from chopmark.store.engine.script import Query, Script, guard, query, whole
from chopmark.store.repositories.records import write_with_record

_PUT = """
INSERT INTO credentials (order_id, customer, token_hash, created_at, expires_at, login)
SELECT id, customer, :token_hash, :now, :expires_at, :login FROM orders
WHERE id = :id AND state IN ('open', 'bound', 'coded', 'checked') AND expires_at > :now
  AND (spki_sha256 IS NULL OR bound_login = :login OR proved_login = :login)
ON CONFLICT (order_id) DO UPDATE SET token_hash = excluded.token_hash, created_at = excluded.created_at,
  expires_at = excluded.expires_at, login = excluded.login, spki_sha256 = NULL, used_at = NULL
RETURNING order_id
"""
_GET = "SELECT order_id, token_hash, expires_at, spki_sha256, login FROM credentials WHERE order_id = :id"
_GOOD = """
WHERE order_id = :id AND token_hash = :token_hash AND expires_at > :now
  AND (spki_sha256 IS NULL OR spki_sha256 = :spki)
"""
_CLAIM = f"UPDATE credentials SET spki_sha256 = :spki, used_at = :now {_GOOD} RETURNING order_id"
_USABLE = f"SELECT order_id FROM credentials {_GOOD}"
USED_UP = Refusal(
    Kind.UNAUTHENTICATED,
    text("This credential was used already or is too old. Please make a new one on the page of your order."),
    code="credential",
)


def claim(order: OrderId, token_hash: bytes, spki_sha256: str, now: datetime) -> Query:
    """Return the guard that uses an order's credential up for one key.

    The guard fails when the credential has expired, was replaced or has bound another key.
    """
    return guard(_CLAIM, id=order, token_hash=token_hash, spki=spki_sha256, now=ms(now))


def usable(order: OrderId, token_hash: bytes, spki_sha256: str, now: datetime) -> Query:
    """Return the statement that returns a row as long as `claim` would succeed."""
    return query(_USABLE, id=order, token_hash=token_hash, spki=spki_sha256, now=ms(now))


class CredentialRepository:
    """Implements `ra.ports.Credentials`."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    async def put(self, credential: Credential, now: datetime, record: AuditRecord) -> bool:
        """Store the credential of an order, in place of an earlier one.

        False when the order was submitted, or when another login holds its key.
        """

        def script() -> Script[bool]:
            put = guard(
                _PUT,
                id=credential.order,
                token_hash=credential.token_hash,
                now=ms(now),
                expires_at=ms(credential.expires_at),
                login=credential.login,
            )
            return (yield from write_with_record(record, put)) is not None

        return await self._engine.run(script)

    async def get(self, order: OrderId) -> Credential | None:
        """Return the order's credential."""

        def script() -> Script[Credential | None]:
            rows = yield whole(_GET, id=order)
            if not rows:
                return None
            row = rows[0]
            hashed = bytes(row["token_hash"])
            login = LoginId(row["login"] or "")
            return Credential(OrderId(row["order_id"]), hashed, moment(row["expires_at"]), login, row["spki_sha256"])

        return await self._engine.read(script)
