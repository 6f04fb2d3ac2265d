"""Tables without an installation, for tests of single statements: rows are written here as no verb would write them."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from uuid import uuid4

from sqlalchemy.dialects import sqlite
from sqlalchemy.schema import CreateIndex, CreateTable

from chopmark.audit.events import Event
from chopmark.audit.record import AuditKey, AuditRecord, StreamId, make_record, new_stream
from chopmark.store.engine.columns import ms
from chopmark.store.engine.port import Engine
from chopmark.store.engine.script import Script, Value, query
from chopmark.store.schema.columns import metadata
from tests.tables import Clock, Tables

_EMPTIED = (
    "early_reports", "deliveries", "work", "alarms", "unreachable_contacts", "reminded_certificates", "reminders",
    "reminder_preferences", "former_lists", "former_revocations", "former_answers", "imported_certificates",
    "certificate_imports", "challenges", "failures", "foreign_requests", "holdings", "orders", "contacts", "accounts",
    "keys", "blocked_keys", "passwords", "sessions", "launches", "clients", "client_scopes", "customers",
    "entries", "counters", "leases", "crls", "service_revocations", "certificates",
    "issuers",
)  # fmt: skip
"""What depends on other tables stands before them."""
_BLANK: dict[str, dict[str, Value]] = {
    "customers": {"person_kind": "national", "person_id_sealed": b"", "name_sealed": b"", "version": 1},
    "work": {"facts": "{}", "attempts": 0, "not_before": 0, "leased_until": 0},
    "deliveries": {"tries": 1, "begun_at": 0},
    "certificate_imports": {"input_sha256": "x", "done": 0, "staff": "amy", "created_at": 0},
    "imported_certificates": {
        "issuer": "old", "profile": "investor", "way": "file", "der": b"", "chain": b"", "not_before": 0,
        "imported_at": 0, "state": "active",
    },
    "holdings": {
        "profile": "investor", "account": "F014000-0000001", "key_home": "file", "der": b"", "chain": b"",
        "not_before": 0, "issued_at": 0, "state": "active",
    },
    "orders": {
        "operation": "enrol", "account": "F014000-0000001", "profile": "investor", "key_home": "file",
        "login_factors": "password", "policy": "p", "created_at": 0, "expires_at": 0, "birth_date_asked": 0,
    },
    "reminders": {"step": "3", "urgency": 997, "planned_at": 0, "state": "planned"},
    "contacts": {"version": 1, "value_sealed": b"", "destination_hash": "h", "verified_at": 0, "cool_until": 0},
    "unreachable_contacts": {"version": 1, "why": "destination"},
    "alarms": {"facts": "{}", "leased_until": 0},
}  # fmt: skip
"""What stands in a row of which a test says nothing else."""


async def create_tables(engine: Engine) -> None:
    """Make our tables in an empty SQLite: in less time than the migrations take, to the same end."""

    def script() -> Script[None]:
        for table in metadata.sorted_tables:
            yield query(str(CreateTable(table).compile(dialect=sqlite.dialect())))
            for index in table.indexes:
                yield query(str(CreateIndex(index).compile(dialect=sqlite.dialect())))

    await engine.run(script)


@dataclass
class Alone(Tables):
    """The tables on one engine, and a clock."""

    engine: Engine
    clock: Clock

    def ago(self, **span: float) -> int:
        """A moment before now, as columns have it."""
        return ms(self.clock.at - timedelta(**span))

    def ahead(self, **span: float) -> int:
        """A moment after now, as columns have it."""
        return ms(self.clock.at + timedelta(**span))

    @property
    def now(self) -> datetime:
        return self.clock.at

    async def add(self, table: str, **said: Any) -> None:
        """Write a row."""
        values = {**_BLANK.get(table, {}), **said}
        places = ", ".join(f":{name}" for name in values)
        await self.change(f"INSERT INTO {table} ({', '.join(values)}) VALUES ({places})", **values)

    async def people(self, *names: str) -> None:
        """Write a row for each of these customers."""
        for name in names:
            await self.add("customers", id=name, person_id_hash=name, created_at=0, updated_at=0)

    async def ours(self, serial: str, customer: str, not_after: int, **said: Any) -> None:
        """Give a customer a certificate of ours, with its order."""
        await self.add("orders", id=f"O-{serial}", customer=customer, state="active")
        named = {"serial": serial, "customer": customer, "order_id": f"O-{serial}", "spki_sha256": serial}
        await self.add("holdings", **named, not_after=not_after, **said)

    async def theirs(self, fingerprint: str, customer: str, not_after: int, **said: Any) -> None:
        """Give a customer a certificate of a former issuer, by the run `live` where nothing else is said."""
        named = {"fingerprint": fingerprint, "customer": customer, "serial": "01", "spki_sha256": fingerprint}
        await self.add("imported_certificates", **{**named, "run": "live", "not_after": not_after, **said})

    async def runs(self, **states: str) -> None:
        """Write a run of an import for each name, in this state."""
        for run, state in states.items():
            await self.add("certificate_imports", run=run, state=state)

    async def values(self, table: str, key: str, column: str) -> dict[str, Any]:
        """What each row has in a column, by its key."""
        return {
            row["key"]: row["value"] for row in await self.rows(f"SELECT {key} AS key, {column} AS value FROM {table}")
        }

    async def count(self, table: str) -> int:
        """How many rows a table has."""
        return int((await self.rows(f"SELECT COUNT(*) AS n FROM {table}"))[0]["n"])

    def record(self) -> AuditRecord:
        """A record of a stream of its own, for a change that is stored with one."""
        stream = StreamId(f"alone:{uuid4()}")
        return make_record(
            new_stream(stream), Event.CA_CERTIFICATE_REVOKED, {}, self.clock.at, AuditKey("k", bytes(32))
        )

    async def empty(self) -> None:
        """Take every row out of the tables that tests write to."""

        def script() -> Script[None]:
            for table in _EMPTIED:
                yield query(f"DELETE FROM {table}")
            yield query("DELETE FROM installation WHERE name LIKE 'reminders%'")

        await self.engine.run(script)
