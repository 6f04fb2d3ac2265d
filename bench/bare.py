"""PostgreSQL's tables without keys and indexes while they are filled: read from the catalogue, made again, compared.

A million rows put into a table with a unique index on something random touch a page of it each; the same index made
afterwards is sorted once. What is taken off is what the catalogue names, and the catalogue has to say the same after as
before, so that nothing can be forgotten.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import asyncpg

_CONSTRAINTS = """
SELECT conrelid::regclass::text AS tabled, quote_ident(conname) AS name, pg_get_constraintdef(oid) AS made,
       contype = 'f' AS reference
FROM pg_constraint
WHERE contype IN ('p', 'u', 'x', 'f') AND (conrelid::regclass::text = ANY($1) OR confrelid::regclass::text = ANY($1))
ORDER BY contype <> 'f', conrelid::regclass::text, conname
"""
_INDEXES = """
SELECT indexrelid::regclass::text AS name, pg_get_indexdef(indexrelid) AS made
FROM pg_index
WHERE indrelid::regclass::text = ANY($1)
  AND NOT EXISTS (SELECT FROM pg_constraint WHERE conindid = indexrelid AND contype IN ('p', 'u', 'x'))
ORDER BY indrelid::regclass::text, indexrelid::regclass::text
"""
_CATALOGUE = """
SELECT format('constraint %s of %s: %s, validated %s, owner %s',
              conname, conrelid::regclass, pg_get_constraintdef(c.oid), convalidated, relowner::regrole)
FROM pg_constraint c JOIN pg_class r ON r.oid = conrelid WHERE c.connamespace = current_schema()::regnamespace
UNION ALL
SELECT format('index %s, valid %s, ready %s, primary %s, unique %s, immediate %s, clustered %s, identity %s, of %s: %s',
              indexrelid::regclass, indisvalid, indisready, indisprimary, indisunique, indimmediate, indisclustered,
              indisreplident, relowner::regrole, pg_get_indexdef(indexrelid))
FROM pg_index i JOIN pg_class r ON r.oid = indexrelid WHERE r.relnamespace = current_schema()::regnamespace
UNION ALL
SELECT format('column %s.%s %s, not null %s', attrelid::regclass, attname, format_type(atttypid, atttypmod), attnotnull)
FROM pg_attribute JOIN pg_class r ON r.oid = attrelid
WHERE attnum > 0 AND NOT attisdropped AND relkind = 'r' AND relnamespace = current_schema()::regnamespace
ORDER BY 1
"""
_BUILDING = ("maintenance_work_mem = '1GB'", "work_mem = '256MB'", "max_parallel_maintenance_workers = 2")
"""For the connection that makes the indexes."""


@dataclass(frozen=True, slots=True)
class Bared:
    """What was taken off: the statements that make it again, in their order, and the catalogue as it was."""

    statements: tuple[str, ...]
    catalogue: tuple[str, ...]


async def catalogue(connection: asyncpg.Connection) -> tuple[str, ...]:
    """Return all constraints, indexes and columns of the schema, a line each."""
    return tuple(row[0] for row in await connection.fetch(_CATALOGUE))


async def bare(connection: asyncpg.Connection, tables: Sequence[str]) -> Bared:
    """Take keys, references (of others to these, too) and indexes off the tables."""
    async with connection.transaction():
        before = await catalogue(connection)
        constraints = await connection.fetch(_CONSTRAINTS, tables)
        indexes = await connection.fetch(_INDEXES, tables)
        for row in constraints:  # references first: they rest on keys
            await connection.execute(f"ALTER TABLE {row['tabled']} DROP CONSTRAINT {row['name']}")
        for row in indexes:
            await connection.execute(f"DROP INDEX {row['name']}")
    added = [f"ALTER TABLE {row['tabled']} ADD CONSTRAINT {row['name']} {row['made']}" for row in reversed(constraints)]
    keys = len([row for row in constraints if not row["reference"]])
    return Bared((*added[:keys], *(row["made"] for row in indexes), *added[keys:]), before)


async def dressed(connection: asyncpg.Connection, bared: Bared) -> None:
    """Make again what was taken off; RuntimeError when the catalogue does not say what it said before."""
    for setting in _BUILDING:
        await connection.execute(f"SET {setting}")
    for statement in bared.statements:
        await connection.execute(statement, timeout=None)
    differ = set(bared.catalogue) ^ set(await catalogue(connection))
    if differ:
        raise RuntimeError("the catalogue is not what it was: " + "; ".join(sorted(differ)))
