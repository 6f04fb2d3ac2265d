"""Statements that name many rows at once find each of them by its key, whatever PostgreSQL knows of the tables.

Counted is what a plan reads, in three states: with the plan that was made when all tables were empty, planned anew
before the tables were ever analysed, and after that. Every row of the tables is named `n1`, `n2` ..., so that one list
serves all statements.
"""

import importlib
import json
import pkgutil
import re
from typing import Any

import asyncpg
import pytest
from sqlalchemy import BigInteger, LargeBinary, Table

import chopmark.store.repositories
from chopmark.messaging.alarms import AlarmKind
from chopmark.store import db
from chopmark.store.engine.postgres import SESSION
from chopmark.store.engine.script import Value, compiled
from chopmark.store.repositories.leases import LOCK
from chopmark.store.repositories.listed import CHOSEN, LISTED, ROW
from chopmark.store.repositories.messaging import deliveries
from chopmark.store.repositories.reminders import queue
from chopmark.store.repositories.retention import LIVES, deletion
from chopmark.store.repositories.va import answers
from chopmark.store.schema import metadata
from tests.contract.test_indexes import STATEMENT
from tests.contract.test_postgres_plans import nodes

pytestmark = pytest.mark.postgres

ROWS, NAMED = 4000, 20
EACH = 12
"""A statement may read so many rows, of all tables together, for each that it names."""
NOW = 1_000_000_000
P = "postgresql"
BATCHED = re.compile(r"\{(listed|chosen)\}|json_to_recordset|json_array_elements|= ANY\b")
"""What a statement about many rows has in it. One that is written otherwise stands in ALSO."""
ALSO = {
    "deliveries._ARRIVED_EARLY": vars(deliveries)["_ARRIVED_EARLY"],
    **{f"deliveries.{name}": vars(deliveries)[name] for name in ("_REPORTED", "_DEAD", "_FREED")},
    "queue._FOUND": vars(queue)["_FOUND"],
    "answers._DUE": vars(answers)["_DUE"],
    "answers._OLDEST": vars(answers)["_OLDEST"],
    **{
        f"retention {number} {life.table}": deletion(life, P)
        for number, life in enumerate(LIVES)
        if life.table != "former_answers"  # its rows are chosen by a word that no index has: once a night
    },
}
WHICH = {
    "deliveries": ("_BY_PROVIDER", "_BY_MESSAGE"),
    "queue": ("_LATE", "_PAUSED", "_LIVES"),
}
"""The conditions that a module puts into a statement for `{which}`: each is judged."""
GAPS = {
    "listed": LISTED[P],
    "chosen": CHOSEN[P],
    "row": ROW[P],
    "lock": LOCK[P],
    "locked": "FOR UPDATE",
    "kinds": "'code'",
    "gateways": "'sms'",
    "due": vars(queue)["_DUE"],
}
LIST = json.dumps([f"n{number}" for number in range(1, NAMED + 1)])
VALUES: dict[str, Value] = {
    "listed": LIST,
    "due": json.dumps([{"serial": f"n{number}", "turns": 0, "again": NOW + 1} for number in range(1, NAMED + 1)]),
    "entries": json.dumps([10**9 + number for number in range(NAMED)]), "size": 10**9,
    "step": "30", "now": NOW, "since": NOW - 25, "longest": NOW + 90_000, "longest_wait": NOW + 3_600_000, "until": NOW,
    "lease": NOW, "far": NOW * 2, "oldest": NOW - ROWS * 2, "first": 0, "before": NOW - 15, "most": NAMED, "floor": 0,
    "urgent": 5, "today": "2026-03-31", "holder": "me", "outcome": "sent", "state": "sent", "why": "late",
    "detail": "", "run": "r1", "kind": "contact", "issuer": "ca", "responder": b"responder", "gateway": "sms",
    "provider": "n1", "message": "n1", "customer": "n1", "pause": "n1",
}  # fmt: skip
OTHERWISE: dict[str, dict[str, Value]] = {"plans._DAYS": {"since": "2026-01-01"}}
"""What a statement means by a name that stands for something else in the others."""
WAITS = f"CASE WHEN n <= {NAMED} THEN NULL ELSE {NOW} - n END"
DUE = f"CASE WHEN n <= {NAMED} THEN {NOW} - n ELSE {NOW} + 999 * n END"
LONG = f"{NOW} + 1000 * n"
SAID: dict[str, dict[str, str]] = {
    "issuers": {"id": "CASE n WHEN 1 THEN 'ca' ELSE 'n' || n END", "responder_certificate": "'responder'"},
    "certificates": {"issuer": "'ca'", "state": "'issued'", "not_after": LONG, "answer_due": DUE, "turns": "0"},
    "holdings": {"state": "'active'", "not_after": LONG, "profile": "'p'"},
    "imported_certificates": {"state": "'active'", "not_after": LONG, "profile": "'q'", "run": "'r' || n % 2"},
    "certificate_imports": {"run": "'r' || n", "state": "'live'"},
    "orders": {"state": "'done'"},
    "contacts": {"channel": "'email'"},
    "former_contacts": {"channel": "'email'", "version": "1", "ended_at": f"{NOW} - n"},
    "bearers": {"kind": "'contact'"},
    "counters": {"name": "'send:n' || n || ':1h'"},
    "work": {"kind": "'code'", "not_before": f"{NOW} - n", "done_at": WAITS, "leased_until": f"{NOW} - n",
             "holder": "'me'", "outcome": f"CASE WHEN n > {NAMED} THEN 'sent' END", "channel": "'email'"},
    "deliveries": {"gateway": "'sms'", "fate": "'taken'", "begun_at": f"{NOW} - n", "ended_at": f"{NOW} - n",
                   "provider_id": "'n' || n", "report": f"CASE WHEN n > {NAMED} THEN 'failed' END",
                   "reported_at": f"CASE WHEN n > {NAMED} THEN {NOW} - n END"},
    "early_reports": {"gateway": "'sms'", "provider_id": "'x' || n"},
    "alarms": {"kind": f"'{next(iter(AlarmKind)).value}'", "due_at": DUE, "leased_until": "0"},
    "reminders": {"day": "CASE WHEN n % 2 = 0 THEN '2026-03-30' ELSE '2026-03-31' END", "due_at": DUE,
                  "until": LONG, "state": f"CASE WHEN n <= {NAMED} THEN 'planned' ELSE 'sent' END", "urgency": "1",
                  "retry_at": "0", "leased_until": "0", "channel": "'email'"},
    "reminded_certificates": {"certificate": "'n' || n", "step": "'30'", "reminder": "'n' || n", "at": f"{NOW} - n"},
    "reminder_preferences": {"paused_until": LONG},
    "unreachable_contacts": {"channel": "'email'", "since": f"{NOW} - n"},
    "challenges": {"state": "'live'", "created_at": f"{NOW} - n"},
    "former_answers": {"reason": "CASE WHEN n % 2 = 0 THEN 'superseded' END", "until": f"{NOW} - n"},
    "leaves": {"chain": "'n' || n % 500", "version": "1 + n / 500"},
    "sessions": {"ends_at": f"{NOW} - n"},
    "launches": {"expires_at": f"{NOW} - n"},
    "idempotency": {"created_at": f"{NOW} - n"},
    "inbox": {"at": f"{NOW} - n"},
}  # fmt: skip
"""What stands in a column of row `n`, where it is not the row's name, or its number."""
FEW = {"certificate_imports": 2, "issuers": 2, "early_reports": NAMED, "alarms": NAMED}


def filling(table: Table) -> str:
    """The statement that fills a table."""
    said = SAID.get(table.name, {})
    made: dict[str, str] = {}
    for column in table.columns:
        blank = "'n' || n"
        if isinstance(column.type, BigInteger):
            blank = "n"
        elif isinstance(column.type, LargeBinary):
            blank = "CAST('n' || n AS bytea)"
        if column.name in said:
            made[column.name] = said[column.name]
        elif not column.nullable:
            made[column.name] = blank
    count = FEW.get(table.name, ROWS)
    columns, values = ", ".join(made), ", ".join(made.values())
    return f"INSERT INTO {table.name} ({columns}) SELECT {values} FROM generate_series(1, {count}) AS s (n)"


def texts() -> dict[str, str]:
    """Every statement about many rows, by where it is written, as PostgreSQL gets it."""
    found: dict[str, str] = {}
    packages = chopmark.store.repositories
    for module in pkgutil.walk_packages(packages.__path__, f"{packages.__name__}."):
        short = module.name.rpartition(".")[2]
        inside = vars(importlib.import_module(module.name))
        for name, value in inside.items():
            text = value.get(P) if isinstance(value, dict) else value
            if not name.startswith("__") and isinstance(text, str) and STATEMENT.match(text) and BATCHED.search(text):
                found |= filled(f"{short}.{name}", text, inside)
    for name, text in ALSO.items():
        found |= filled(name, text, vars(deliveries))
    return found


def filled(name: str, text: str, module: dict[str, Any]) -> dict[str, str]:
    """A statement with its gaps filled in, once for each of the conditions it is used with."""
    gaps = {gap: value for gap, value in GAPS.items() if f"{{{gap}}}" in text}
    if "{which}" not in text:
        return {name: text.format(**gaps) if gaps else text}
    ways = WHICH[name.partition(".")[0]]
    return {f"{name} {way}": text.format(which=module[way], **gaps) for way in ways}


def reads(plan: Any, first: dict[str, tuple[str, str]]) -> int:
    """How many rows a plan has read of all tables, and compared in joins. All of an index counts as all of a table."""
    found = 0
    for node in nodes(plan):
        loops = node["Actual Loops"]
        removed = sum(value for name, value in node.items() if name.startswith("Rows Removed by "))
        if re.search(r"= ANY \(\$", node.get("Filter", "")):
            removed += (node["Actual Rows"] + removed) * NAMED  # each row is compared with all of the list
        if "Relation Name" in node or node["Node Type"] == "Bitmap Index Scan":
            found += loops * (node["Actual Rows"] + removed)
        else:
            found += loops * removed
        condition = node.get("Index Cond")
        if condition is not None and loops:
            table, column = first[node["Index Name"]]
            found += 0 if re.search(rf"\b{column}\b", condition) else FEW.get(table, ROWS)
    return found


def literal(value: Value) -> str:
    if isinstance(value, bytes):
        return f"'\\x{value.hex()}'"
    return str(value) if isinstance(value, int) else f"'{value}'"


class Session:
    """A connection as the product's, on which each statement is prepared once."""

    def __init__(self, connection: Any, first: dict[str, tuple[str, str]]) -> None:
        self.connection = connection
        self.first = first
        self.executes: dict[str, str] = {}

    async def prepare(self) -> None:
        for number, (name, sql) in enumerate(texts().items()):
            statement = compiled(sql)
            named = VALUES | OTHERWISE.get(name, {})
            values = [named[value] for value in statement.names]
            given = f" ({', '.join(map(literal, values))})" if values else ""
            self.executes[name] = f"EXECUTE s{number}{given}"
            await self.connection.execute(f"PREPARE s{number} AS {statement.numbered}")
            await self.connection.execute(f"EXPLAIN {self.executes[name]}")

    async def read(self) -> dict[str, int]:
        """How many rows each statement reads now. What it writes is rolled back."""
        found: dict[str, int] = {}
        for name, execute in self.executes.items():
            change = self.connection.transaction()
            await change.start()
            text = await self.connection.fetchval(f"EXPLAIN (ANALYZE, TIMING OFF, FORMAT JSON) {execute}")
            await change.rollback()
            found[name] = reads(json.loads(text)[0]["Plan"], self.first)
        return found


async def first_columns(connection: Any) -> dict[str, tuple[str, str]]:
    """The table of each index, and its first column."""
    rows = await connection.fetch(
        "SELECT i.indexrelid::regclass::text AS index, i.indrelid::regclass::text AS of, a.attname AS first"
        " FROM pg_index i"
        " JOIN pg_attribute a ON a.attrelid = i.indexrelid AND a.attnum = 1"
    )
    return {row["index"]: (row["of"], row["first"]) for row in rows}


async def test_a_statement_about_many_rows_reads_no_more_than_it_names(postgres_dsn: str) -> None:
    await db.upgrade(postgres_dsn)
    connection = await asyncpg.connect(postgres_dsn, server_settings=SESSION)
    await connection.execute("SET session_replication_role = replica")  # rows without those that they belong to
    for table in metadata.sorted_tables:
        await connection.execute(f"ALTER TABLE {table.name} SET (autovacuum_enabled = off)")  # it would analyse
    session = Session(connection, await first_columns(connection))
    await session.prepare()
    for table in metadata.sorted_tables:
        await connection.execute(filling(table))

    found = {"planned while the tables were empty": await session.read()}
    await connection.execute("DISCARD PLANS")
    found["planned without statistics"] = await session.read()
    await connection.execute("ANALYZE")
    await connection.execute("DISCARD PLANS")
    found["planned with statistics"] = await session.read()
    await connection.close()

    assert len(session.executes) > 40
    beyond = {f"{name}, {when}": n for when, each in found.items() for name, n in each.items() if n > NAMED * EACH}
    assert not beyond, beyond
