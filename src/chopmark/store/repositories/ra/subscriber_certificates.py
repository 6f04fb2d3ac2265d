"""Subscriber certificates: what the RA itself has stored of the certificates of its customers."""

from __future__ import annotations

from chopmark.core.types import AccountNumber, CertificateState, CustomerId, KeyHome, OrderId, Serial
from chopmark.ra.ports import SubscriberCertificate
from chopmark.store.engine.columns import moment, moment_or_none, unblobs
from chopmark.store.engine.port import Engine
from chopmark.store.engine.script import Row, Script, whole

HOLDING = """serial, customer, profile, order_id, account, key_home, spki_sha256, state, der, chain, not_before,
  not_after, issued_at, activated_at, ended_at, reason, superseded_by"""
HOLDINGS = f"SELECT {HOLDING} FROM holdings WHERE customer = :customer ORDER BY issued_at DESC, serial"
_HOLDING_BY_SERIAL = f"SELECT {HOLDING} FROM holdings WHERE serial = :serial"


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


class SubscriberCertificateRepository:
    """Implements `ra.ports.SubscriberCertificates`."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    async def all(self, customer: CustomerId) -> list[SubscriberCertificate]:
        """Return the customer's certificates, newest first."""

        def script() -> Script[list[SubscriberCertificate]]:
            return [stored_certificate(row) for row in (yield whole(HOLDINGS, customer=customer))]

        return await self._engine.read(script)

    async def get(self, serial: Serial) -> SubscriberCertificate | None:
        """Return one certificate by serial."""

        def script() -> Script[SubscriberCertificate | None]:
            rows = yield whole(_HOLDING_BY_SERIAL, serial=serial)
            return stored_certificate(rows[0]) if rows else None

        return await self._engine.read(script)
