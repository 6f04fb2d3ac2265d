"""Each index serves a statement: one that no plan uses is written at every change for nothing, and has to go."""

import importlib
import json
import pkgutil
import re
import sqlite3
from collections import defaultdict
from collections.abc import Iterator
from contextlib import closing, suppress
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Any

import pytest

import chopmark.store.repositories
from chopmark.store import db
from chopmark.store.engine.script import compiled
from chopmark.store.repositories.ca import certificates
from chopmark.store.repositories.listed import CHOSEN, LISTED, ROW
from chopmark.store.repositories.messaging import deliveries
from chopmark.store.repositories.retention import LIVES, deletion
from chopmark.store.schema import metadata
from tests.contract.test_statement_counts import planned

STATEMENT = re.compile(r"\s*(?:SELECT|INSERT|UPDATE|DELETE|WITH)\b")
DIALECT = {
    dialect: {"listed": LISTED[dialect], "chosen": CHOSEN[dialect], "row": ROW[dialect]}
    for dialect in ("sqlite", "postgresql")
}
FILLED = {
    "gateways": ":gateway",
    "kinds": ":kind",
    "lock": "",
}
"""What a repository puts into a text before it is run. A text with another gap is not planned, and counts for none."""
RULES = {name for table in metadata.tables.values() for index in table.indexes if index.unique for name in [index.name]}
"""Unique indexes forbid something, whether a statement looks for their rows or not."""
INDEXES = {str(index.name) for table in metadata.tables.values() for index in table.indexes} - RULES


POSTGRES = {
    "deliveries_unreported": vars(deliveries)["_UNREPORTED"],
    "certificates_pkey": vars(certificates)["_RECORD"],
}
"""What PostgreSQL has to use for a statement, in tables that are empty and were never analysed. For the first
SQLite takes another index that serves as well; the second would go through all certificates of a state, if it could."""


def texts() -> set[str]:
    """Every statement that is written in a module of the repositories, and those of the clean-up."""
    found: set[str] = set()
    packages = chopmark.store.repositories
    for module in pkgutil.walk_packages(packages.__path__, f"{packages.__name__}."):
        for name, value in vars(importlib.import_module(module.name)).items():
            if not name.startswith("__"):
                found.update(within(value))
    return found


def within(value: Any, dialect: str = "sqlite") -> Iterator[str]:
    """The statements in a constant: a text, or a collection or a value of texts."""
    if isinstance(value, str) and STATEMENT.match(value):
        gaps = FILLED | DIALECT[dialect]
        yield re.sub(r"\{(\w+)\}", lambda gap: gaps.get(gap[1], gap[0]), value)
    elif isinstance(value, dict):
        yield from (text for inside in value.values() for text in within(inside, dialect))
    elif isinstance(value, tuple | list | frozenset):
        yield from (text for inside in value for text in within(inside, dialect))
    elif is_dataclass(value) and not isinstance(value, type):
        yield from (text for field in fields(value) for text in within(getattr(value, field.name, None), dialect))


def on_sqlite(database: Path) -> set[str]:
    """The indexes that SQLite would use."""
    used: set[str] = set()
    with closing(sqlite3.connect(database)) as connection:
        for text in texts() | {deletion(life, "sqlite") for life in LIVES}:
            with suppress(sqlite3.OperationalError):  # PostgreSQL's own, or one with a gap
                for step in connection.execute(f"EXPLAIN QUERY PLAN {text}", defaultdict(str)):
                    used.update(re.findall(r"INDEX (\w+)", step[3]))
    return used


@pytest.mark.postgres
async def test_every_index_serves_a_statement(postgres_dsn: str, tmp_path: Path) -> None:
    for url in (f"sqlite:///{tmp_path / 'house.db'}", postgres_dsn):
        engine = await db.open_engine(url)
        await db.create(engine)
        await engine.close()
    used = on_sqlite(tmp_path / "house.db")
    needed = [text for one in POSTGRES.values() for text in within(one, "postgresql")]
    plans = await planned(postgres_dsn, [compiled(text).numbered for text in needed])
    for name, plan in zip(POSTGRES, plans, strict=True):
        assert name in re.findall(r'"Index Name": "(\w+)"', json.dumps(plan))
    used |= POSTGRES.keys()
    assert len(used & INDEXES) > len(INDEXES) / 2
    assert INDEXES - used == set(), "no statement uses them: drop them, or name in POSTGRES the one that does"
