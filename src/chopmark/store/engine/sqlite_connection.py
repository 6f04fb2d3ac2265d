"""Open a SQLite connection with the settings that durability rests on, run scripts on it, and translate its errors."""

import contextlib
import os
import re
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

from chopmark.store.engine.port import Clash, NotDurable, unavailable
from chopmark.store.engine.script import Batch, Bundle, Query, Row, ScriptRun, compiled

MEMORY = ":memory:"
BUSY_MS = 5000
MIGRATION_BUSY_MS = 120_000
"""So long a migration waits for those of other processes that start at the same moment, each of which may take long."""

_UNIQUE = frozenset(
    {sqlite3.SQLITE_CONSTRAINT_UNIQUE, sqlite3.SQLITE_CONSTRAINT_PRIMARYKEY, sqlite3.SQLITE_CONSTRAINT_ROWID}
)
_UNAVAILABLE = frozenset(
    {
        sqlite3.SQLITE_BUSY,
        sqlite3.SQLITE_LOCKED,
        sqlite3.SQLITE_NOMEM,
        sqlite3.SQLITE_IOERR,
        sqlite3.SQLITE_FULL,
        sqlite3.SQLITE_CANTOPEN,
        sqlite3.SQLITE_PROTOCOL,
    }
)
_CLASHED = re.compile(r"UNIQUE constraint failed: (?P<columns>.*)")


def connect(path: str, *, reader: bool = False, first: bool = False) -> sqlite3.Connection:
    """Open the database in WAL mode, with every commit durable.

    Only the `first` connection of a process makes a file where there is none; its owner alone can read it. A later one
    finds it missing when its disk is gone, and a new file in its place would be an empty database.

    Raises:
        NotDurable: SQLite did not take a setting.
    """
    if first and path != MEMORY:
        # Only a new file: closing a second descriptor of an existing one would drop the locks that SQLite holds on it.
        with contextlib.suppress(FileExistsError):
            os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))
    address = path if path == MEMORY else f"file:{quote(path)}?mode=rw"
    db = sqlite3.connect(address, timeout=BUSY_MS / 1000, isolation_level=None, check_same_thread=False, uri=True)
    db.row_factory = sqlite3.Row
    wanted = {
        "journal_mode": "memory" if path == MEMORY else "wal",
        "synchronous": 2,  # FULL: fdatasync of the WAL at every commit
        "foreign_keys": 1,
        "busy_timeout": BUSY_MS,
        "query_only": int(reader),
    }
    for name, value in wanted.items():
        db.execute(f"PRAGMA {name} = {value}")
        (found,) = db.execute(f"PRAGMA {name}").fetchone()
        if found != value:
            db.close()
            raise NotDurable(f"SQLite has {name} = {found} where {value} is needed: {Path(path).name}")
    return db


def connect_to_migrate(path: str) -> sqlite3.Connection:
    """Open the database for a migration: SQLAlchemy reads plain tuples, and foreign keys are checked at the end.

    A table that is rebuilt is dropped for a moment, which an open foreign key would forbid.
    """
    db = connect(path, first=True)
    db.row_factory = None
    db.execute(f"PRAGMA busy_timeout = {MIGRATION_BUSY_MS}")
    db.execute("PRAGMA foreign_keys = 0")
    return db


def perform(db: sqlite3.Connection, step: Query | Batch) -> list[Row]:
    """Run one statement and return its rows; a batch returns none."""
    statement = compiled(step.sql)
    if isinstance(step, Batch):
        for values in step.values:
            statement.arguments(values)
        db.executemany(step.sql, step.values)
        return []
    statement.arguments(step.values)
    return db.execute(step.sql, step.values).fetchall()


def run_through(db: sqlite3.Connection, script_run: ScriptRun[Any]) -> None:
    """Run a script to its end. `script_run` then has its answer and the channels to notify."""
    try:
        step = script_run.first()
        while step is not None:
            if isinstance(step, Bundle):
                step = script_run.bundled(step, _bundle(db, step))
            else:
                step = script_run.next(perform(db, step))
    except sqlite3.Error:
        script_run.whole = False  # a part of a batch may have been done, and has to be rolled back
        raise
    finally:
        script_run.close()


def _bundle(db: sqlite3.Connection, bundle: Bundle) -> list[list[Row]] | None:
    """Run the parts one after the other. When a guard fails or a unique value exists, undo them and return None."""
    answer: list[list[Row]] = []
    db.execute("SAVEPOINT bundle")
    try:
        for part in bundle.parts:
            answer.append(perform(db, part))
            if part.guard and not answer[-1]:
                db.execute("ROLLBACK TO bundle")
                db.execute("RELEASE bundle")
                return None
    except sqlite3.IntegrityError as failure:
        if _code(failure) not in _UNIQUE:
            raise
        db.execute("ROLLBACK TO bundle")
        db.execute("RELEASE bundle")
        return None
    db.execute("RELEASE bundle")
    return answer


def is_io_error(failure: BaseException) -> bool:
    """Tell whether the disk failed to read, write or sync."""
    return _code(failure) & 0xFF == sqlite3.SQLITE_IOERR


def translated(failure: BaseException) -> BaseException:
    """Return what to raise instead: Clash, the refusal UNAVAILABLE, or the failure itself."""
    code = _code(failure)
    if code in _UNIQUE:
        return _clash(str(failure))
    if isinstance(failure, MemoryError) or code & 0xFF in _UNAVAILABLE:
        refused = unavailable()
        refused.__cause__ = failure
        return refused
    return failure


@contextlib.contextmanager
def translating() -> Iterator[None]:
    """Translate what SQLite raises inside, as `translated` does."""
    try:
        yield
    except (sqlite3.Error, MemoryError) as failure:
        told = translated(failure)
        if told is failure:
            raise
        raise told from told.__cause__


def _code(failure: BaseException) -> int:
    return (
        failure.sqlite_errorcode if isinstance(failure, sqlite3.Error) and hasattr(failure, "sqlite_errorcode") else 0
    )


def _clash(message: str) -> Clash:
    match = _CLASHED.match(message)
    if match is None or match["columns"].startswith("index "):
        return Clash("", ())
    names = [name.partition(".") for name in match["columns"].split(", ")]
    return Clash(names[0][0], tuple(column for _, _, column in names))
