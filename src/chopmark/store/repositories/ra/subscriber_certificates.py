"""Subscriber certificates: what the RA itself has stored of the certificates of its customers."""

from __future__ import annotations

from dataclasses import replace

from chopmark.core.types import AccountNumber, CertificateState, CustomerId, KeyHome, OrderId, Serial
from chopmark.ra.imported import Former, Way
from chopmark.ra.ports import SubscriberCertificate
from chopmark.store.engine.columns import moment, moment_or_none, unblobs
from chopmark.store.engine.port import Engine
from chopmark.store.engine.script import Row, Script, whole
from chopmark.store.repositories.ra.imported_certificates import COUNTS

HOLDING = """serial, customer, profile, order_id, account, key_home, spki_sha256, state, der, chain, not_before,
  not_after, issued_at, activated_at, ended_at, reason, superseded_by"""
BROUGHT_ALONG = f"""
SELECT i.fingerprint, i.customer, i.profile, '',
  COALESCE(i.account, (SELECT a.number FROM accounts a WHERE a.customer = i.customer ORDER BY a.position LIMIT 1), ''),
  'file', i.spki_sha256, CASE i.state WHEN 'ended' THEN 'revoked' ELSE i.state END, i.der, i.chain, i.not_before,
  i.not_after, i.not_before, i.not_before, i.ended_at, i.reason, i.superseded_by, i.issuer, i.serial, i.way
FROM imported_certificates i WHERE {COUNTS}
"""
"""The imported certificates with the columns of `HOLDING`: they were in use before, so they count as proved."""
OURS = "CAST(NULL AS TEXT) AS former, CAST(NULL AS TEXT) AS former_serial, CAST(NULL AS TEXT) AS way"
HOLDINGS = f"""
SELECT {HOLDING}, {OURS} FROM holdings WHERE customer = :customer
UNION ALL {BROUGHT_ALONG} AND i.customer = :customer ORDER BY issued_at DESC, serial
"""
_HOLDING_BY_SERIAL = f"""
SELECT {HOLDING}, {OURS} FROM holdings WHERE serial = :serial
UNION ALL {BROUGHT_ALONG} AND i.fingerprint = :serial
"""


def stored_certificate(row: Row) -> SubscriberCertificate:
    """Return a row as a subscriber certificate."""
    return SubscriberCertificate(
        serial=Serial(row["serial"]),
        customer=CustomerId(row["customer"]),
        profile=row["profile"],
        order=OrderId(row["order_id"]),
        account=AccountNumber(row["account"]),
        key_home=KeyHome(row["key_home"]),
        spki_sha256=row["spki_sha256"],
        state=CertificateState(row["state"]),
        der=bytes(row["der"]),
        chain=unblobs(bytes(row["chain"])),
        not_before=moment(row["not_before"]),
        not_after=moment(row["not_after"]),
        issued_at=moment(row["issued_at"]),
        activated_at=moment_or_none(row["activated_at"]),
        ended_at=moment_or_none(row["ended_at"]),
        reason=row["reason"],
        superseded_by=None if row["superseded_by"] is None else Serial(row["superseded_by"]),
    )


def any_holding_of(row: Row) -> SubscriberCertificate:
    """Return a row of `HOLDINGS`, whose certificate may be an imported one."""
    held = stored_certificate(row)
    return held if row["former"] is None else replace(held, former=_former(row))


def _former(row: Row) -> Former:
    return Former(row["former"], row["former_serial"], Way(row["way"]))


class SubscriberCertificateRepository:
    """Implements `ra.ports.SubscriberCertificates`."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    async def all(self, customer: CustomerId) -> list[SubscriberCertificate]:
        """Return the customer's certificates, newest first."""

        def script() -> Script[list[SubscriberCertificate]]:
            return [any_holding_of(row) for row in (yield whole(HOLDINGS, customer=customer))]

        return await self._engine.read(script)

    async def get(self, serial: Serial) -> SubscriberCertificate | None:
        """Return one certificate by serial; an imported one by its fingerprint."""

        def script() -> Script[SubscriberCertificate | None]:
            rows = yield whole(_HOLDING_BY_SERIAL, serial=serial)
            return any_holding_of(rows[0]) if rows else None

        return await self._engine.read(script)
