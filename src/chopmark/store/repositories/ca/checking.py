"""For the checker: all certificate rows, with everything that has to agree with them, as of one moment."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import aclosing

from chopmark.audit.events import Event
from chopmark.audit.record import StoredRecord
from chopmark.ca.checker import Held, Ordered, Stored, Told
from chopmark.core.types import CertificateState, Serial
from chopmark.store.engine.columns import moment_or_none
from chopmark.store.engine.port import Engine
from chopmark.store.engine.script import Row, Script, query
from chopmark.store.repositories.ca.certificates import entry_of
from chopmark.store.repositories.ra.submissions import Chains

_TOLD = """(SELECT COUNT(*) FROM leaves l WHERE l.chain = c.order_id AND l.event = '{event}'
    AND l.facts LIKE '%"' || c.serial || '"%')"""
_CERTIFICATES = f"""
SELECT c.serial, c.issuer, c.order_id, c.attempt, c.profile, c.profile_version, c.spki_sha256, c.tbs, c.der, c.state,
  c.shard, c.not_before, c.not_after, c.reserved_at, c.ended_at, c.reason,
  h.order_id AS held_order, h.spki_sha256 AS held_spki, h.state AS held_state, h.der AS held_der,
  h.ended_at AS held_ended_at,
  o.state AS order_state, o.customer AS order_customer, o.serial AS order_serial, o.spki_sha256 AS order_spki,
  o.account AS order_account,
  k.customer AS key_customer,
  {_TOLD.format(event=Event.CA_CERTIFICATE_RESERVED.value)} AS told_reserved,
  {_TOLD.format(event=Event.CA_CERTIFICATE_ISSUED.value)} AS told_issued,
  {_TOLD.format(event=Event.CA_CERTIFICATE_REVOKED.value)} AS told_revoked,
  {_TOLD.format(event=Event.CA_CERTIFICATE_ORPHANED.value)} AS told_orphaned,
  {_TOLD.format(event=Event.CA_CERTIFICATE_HELD.value)} AS told_held,
  {_TOLD.format(event=Event.CA_CERTIFICATE_RELEASED.value)} AS told_released
FROM certificates c
LEFT JOIN holdings h ON h.serial = c.serial
LEFT JOIN orders o ON o.id = c.order_id
LEFT JOIN keys k ON k.spki_sha256 = c.spki_sha256
ORDER BY c.order_id, c.serial
"""
STRAYS = """
SELECT serial FROM holdings
WHERE serial NOT IN (SELECT serial FROM certificates)
  AND serial NOT IN (SELECT serial FROM foreign_requests WHERE serial IS NOT NULL) ORDER BY serial
"""


def held_of(row: Row) -> Held | None:
    """Return what the RA has stored of a certificate, from the columns `held_*`."""
    if row["held_order"] is None:
        return None
    return Held(
        row["held_order"],
        row["held_spki"],
        CertificateState(row["held_state"]),
        bytes(row["held_der"]),
        moment_or_none(row["held_ended_at"]),
    )


def ordered_of(row: Row) -> Ordered | None:
    """Return the certificate's order and its key's customer, from the columns `order_*` and `key_customer`."""
    if row["order_state"] is None:
        return None
    return Ordered(
        row["order_state"],
        row["order_customer"],
        row["order_serial"],
        row["order_spki"],
        row["key_customer"],
        row["order_account"],
    )


def _stored(row: Row, records: tuple[StoredRecord, ...]) -> Stored:
    told = Told(
        row["told_reserved"],
        row["told_issued"],
        row["told_revoked"],
        row["told_orphaned"],
        row["told_held"],
        row["told_released"],
    )
    return Stored(entry_of(row), held_of(row), ordered_of(row), told, records)


class CertificateRows:
    """Implements `ca.checker.Rows`."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    async def certificates(self) -> AsyncGenerator[Stored, None]:
        """Yield every certificate row as of one moment, with the records of its order.

        Rows of one order come together.
        """
        async with self._engine.snapshot() as snapshot:
            chains = Chains(snapshot, "SELECT order_id FROM certificates")
            async with aclosing(snapshot.stream(_CERTIFICATES, {}, 200)) as batches:
                async for batch in batches:
                    for row in batch:
                        yield _stored(row, await chains.of(row["order_id"]))

    async def strays(self) -> list[Serial]:
        """Return the serials of subscriber certificates for which the CA has no row."""

        def script() -> Script[list[Serial]]:
            return [Serial(row["serial"]) for row in (yield query(STRAYS))]

        return await self._engine.read(script)
