"""What tests of every kind share: a clock that they move, and the rows that a database has."""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Protocol

from chopmark.store.engine.port import Engine
from chopmark.store.engine.script import Row, Script, Value, query

START = datetime(2026, 3, 31, 4, 0, tzinfo=UTC)
"""Noon in Taipei; certificates made now end on 31 March 2027."""


@dataclass
class Clock:
    """A clock that a test moves."""

    at: datetime = START

    def now(self) -> datetime:
        return self.at

    def later(self, **span: float) -> None:
        self.at += timedelta(**span)


class HasEngine(Protocol):
    @property
    def engine(self) -> Engine: ...


class Tables:
    """The tables of a world's database, read and written past the repositories."""

    async def rows(self: HasEngine, sql: str, **values: Value) -> list[dict[str, Any]]:
        """Read as nobody in the product does."""

        def script() -> Script[list[Row]]:
            return (yield query(sql, **values))

        return [dict(row) for row in await self.engine.read(script)]

    async def change(self: HasEngine, sql: str, **values: Value) -> None:
        """Write to the database as somebody else would."""

        def script() -> Script[None]:
            yield query(sql, **values)

        await self.engine.run(script)
