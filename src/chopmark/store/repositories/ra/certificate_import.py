"""The import of certificates of former issuers: what is on record, staged rows, and the one switch at the end."""

from __future__ import annotations

import json
from collections.abc import Collection, Sequence
from datetime import datetime

from chopmark.audit.record import AuditRecord
from chopmark.core.refusal import Refusal, Refused
from chopmark.core.types import AccountNumber, CustomerId
from chopmark.ra.certificate_import.ports import Asked, Begun, Known
from chopmark.ra.certificate_import.run import TAKEN
from chopmark.ra.imported import Fingerprint, ImportedCertificate
from chopmark.store.engine.columns import blobs, ms
from chopmark.store.engine.port import Clash, Engine
from chopmark.store.engine.script import Batch, Row, Script, Value, guard, query
from chopmark.store.repositories.listed import LISTED
from chopmark.store.repositories.ra.imported_certificates import COUNTS
from chopmark.store.repositories.records import write_with_record

_ATTEMPTS = 3
_PERSONS = "SELECT person_id_hash AS named, id AS customer FROM customers WHERE person_id_hash {listed}"
_CUSTOMERS = "SELECT id AS named, id AS customer FROM customers WHERE id {listed}"
_ACCOUNTS = "SELECT number AS named, customer FROM accounts WHERE number {listed}"
_THERE = f"SELECT i.fingerprint FROM imported_certificates i WHERE i.fingerprint {{listed}} AND {COUNTS}"
_KEYS = f"""
SELECT spki_sha256, customer FROM keys WHERE spki_sha256 {{listed}}
UNION SELECT spki_sha256, customer FROM holdings WHERE spki_sha256 {{listed}}
UNION SELECT i.spki_sha256, i.customer FROM imported_certificates i WHERE i.spki_sha256 {{listed}} AND {COUNTS}
"""
_BLOCKED = """
SELECT spki_sha256 FROM blocked_keys WHERE spki_sha256 {listed}
UNION SELECT spki_sha256 FROM keys WHERE spki_sha256 {listed} AND blocked IS NOT NULL
"""
_CERTIFIED = (
    "SELECT customer FROM holdings WHERE customer {listed} AND state IN ('active', 'held') AND not_after + 0 >= :now"
)
_UNFINISHED = "SELECT run, done FROM certificate_imports WHERE input_sha256 = :input AND state = 'staging'"
_GIVE_UP_OTHERS = "UPDATE certificate_imports SET state = 'given_up' WHERE state = 'staging' AND input_sha256 <> :input"
_BEGIN = """
INSERT INTO certificate_imports (run, input_sha256, state, done, staff, created_at)
VALUES (:run, :input, 'staging', 0, :staff, :now)
"""
_SWEEP = """
DELETE FROM imported_certificates WHERE fingerprint IN (
  SELECT i.fingerprint FROM imported_certificates i JOIN certificate_imports r ON r.run = i.run
  WHERE r.state = 'given_up' LIMIT :most)
RETURNING fingerprint
"""
_MARK = """
UPDATE certificate_imports SET done = :after
WHERE run = :run AND done = :before AND state = 'staging' RETURNING run
"""
_STAGE = f"""
INSERT INTO imported_certificates AS i (fingerprint, issuer, serial, customer, account, profile, way, spki_sha256, der,
  chain, not_before, not_after, state, imported_at, run)
VALUES (:fingerprint, :issuer, :serial, :customer, :account, :profile, :way, :spki, :der, :chain, :not_before,
  :not_after, 'active', :imported_at, :run)
ON CONFLICT (fingerprint) DO UPDATE SET customer = excluded.customer, account = excluded.account,
  way = excluded.way, issuer = excluded.issuer, profile = excluded.profile, imported_at = excluded.imported_at,
  run = excluded.run
WHERE NOT {COUNTS}
"""
_LEAVE_OUT = "DELETE FROM imported_certificates WHERE run || '' = :run AND spki_sha256 {listed}"
_SHARED = """
WITH staged AS MATERIALIZED (SELECT spki_sha256, customer FROM imported_certificates WHERE run = :run)
SELECT spki_sha256 FROM staged
GROUP BY spki_sha256 HAVING COUNT(DISTINCT customer) > 1 LIMIT :most
"""
_FINISH = """
UPDATE certificate_imports SET state = 'live', finished_at = :now, report = :report
WHERE run = :run AND done = :done AND state = 'staging' RETURNING run
"""
_GIVE_UP = "UPDATE certificate_imports SET state = 'given_up' WHERE run = :run AND state = 'staging'"


class CertificateImportRegistry:
    """Implements `ra.certificate_import.ports.ImportRegistry`."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._named = LISTED[engine.dialect]

    async def known(self, asked: Asked, now: datetime) -> Known:
        """As `ImportRegistry.known`."""
        return await self._engine.read(self._known, asked, now)

    def _known(self, asked: Asked, now: datetime) -> Script[Known]:
        persons = yield from self._listed(_PERSONS, asked.persons)
        customers = yield from self._listed(_CUSTOMERS, asked.customers)
        accounts = yield from self._listed(_ACCOUNTS, asked.accounts)
        there = yield from self._listed(_THERE, asked.fingerprints)
        keys: dict[str, frozenset[CustomerId]] = {}
        for row in (yield from self._listed(_KEYS, asked.keys)):
            spki = row["spki_sha256"]
            keys[spki] = keys.get(spki, frozenset()) | {CustomerId(row["customer"])}
        blocked = yield from self._listed(_BLOCKED, asked.keys)
        whose = {row["customer"] for row in (*persons, *customers, *accounts)}
        certified = yield from self._listed(_CERTIFIED, whose, now=ms(now))
        return Known(
            {row["named"]: CustomerId(row["customer"]) for row in persons},
            {AccountNumber(row["named"]): CustomerId(row["customer"]) for row in accounts},
            frozenset(CustomerId(row["customer"]) for row in customers),
            frozenset(Fingerprint(row["fingerprint"]) for row in there),
            keys,
            frozenset(row["spki_sha256"] for row in blocked),
            frozenset(CustomerId(row["customer"]) for row in certified),
        )

    def _listed(self, sql: str, values: Collection[str], **more: Value) -> Script[list[Row]]:
        if not values:
            return []
        return (yield query(sql.format(listed=self._named), listed=json.dumps(sorted(values)), **more))

    async def begin(self, run: str, input_sha256: str, staff: str, now: datetime) -> Begun:
        """As `ImportRegistry.begin`."""

        def script() -> Script[Begun]:
            yield query(_GIVE_UP_OTHERS, input=input_sha256)
            found = yield query(_UNFINISHED, input=input_sha256)
            if found:
                return Begun(found[0]["run"], found[0]["done"])
            yield query(_BEGIN, run=run, input=input_sha256, staff=staff, now=ms(now))
            return Begun(run, 0)

        for _ in range(_ATTEMPTS):
            try:
                return await self._engine.run(script)
            except Clash:  # another process began a run at this moment
                continue
        raise Refused(TAKEN)

    async def sweep(self, most: int) -> int:
        """As `ImportRegistry.sweep`."""

        def script() -> Script[int]:
            return len((yield query(_SWEEP, most=most)))

        return await self._engine.run(script)

    async def stage(
        self, run: str, start: int, end: int, rows: Sequence[ImportedCertificate], now: datetime
    ) -> Refusal | None:
        """As `ImportRegistry.stage`."""

        def script() -> Script[Refusal | None]:
            if not (yield query(_MARK, run=run, before=start, after=end)):
                return TAKEN
            if rows:
                yield Batch(_STAGE, [_values(row, now) for row in rows])
            return None

        return await self._engine.run(script)

    async def leave_out(self, run: str, keys: Sequence[str]) -> None:
        """As `ImportRegistry.leave_out`."""

        def script() -> Script[None]:
            yield query(_LEAVE_OUT.format(listed=self._named), run=run, listed=json.dumps(sorted(keys)))

        await self._engine.run(script)

    async def shared_keys(self, run: str, most: int) -> list[str]:
        """As `ImportRegistry.shared_keys`."""

        def script() -> Script[list[str]]:
            return [row["spki_sha256"] for row in (yield query(_SHARED, run=run, most=most))]

        return await self._engine.read(script)

    async def finish(self, run: str, done: int, report: str, now: datetime, record: AuditRecord) -> bool:
        """As `ImportRegistry.finish`."""

        def script() -> Script[bool]:
            switch = guard(_FINISH, run=run, done=done, report=report, now=ms(now))
            return (yield from write_with_record(record, switch)) is not None

        return await self._engine.run(script)

    async def give_up(self, run: str) -> None:
        """As `ImportRegistry.give_up`."""

        def script() -> Script[None]:
            yield query(_GIVE_UP, run=run)

        await self._engine.run(script)


def _values(row: ImportedCertificate, now: datetime) -> dict[str, Value]:
    return {
        "fingerprint": row.fingerprint,
        "issuer": row.issuer,
        "serial": row.serial,
        "customer": row.customer,
        "account": row.account,
        "profile": row.profile,
        "way": row.way.value,
        "spki": row.spki_sha256,
        "der": row.der,
        "chain": blobs(row.chain),
        "not_before": ms(row.not_before),
        "not_after": ms(row.not_after),
        "imported_at": ms(now),
        "run": row.run,
    }
