"""Reads for the readiness checks: whether the database answers, which schema it has, since when work waits."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

from chopmark.store.engine.columns import moment_or_none, ms
from chopmark.store.engine.opening import RELEASE
from chopmark.store.engine.port import Engine
from chopmark.store.engine.script import Script, query

_ANSWERS = "SELECT value FROM installation WHERE name = 'portal'"
_REVISION = "SELECT version_num FROM alembic_version"
_CLOCK = "SELECT CURRENT_TIMESTAMP AS now"
_DIRECTORY = {
    "sqlite": "SELECT file AS directory FROM pragma_database_list WHERE name = 'main'",
    "postgresql": "SELECT setting AS directory FROM pg_settings WHERE name = 'data_directory'",
}
"""PostgreSQL shows this row only to superusers and to members of pg_read_all_settings."""
_OLDEST = "SELECT MIN(not_before) AS since FROM work WHERE done_at IS NULL AND not_before <= :now"


class Readiness:
    """Each call is one reading statement. It raises Refused (UNAVAILABLE) when the database does not answer."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    async def answers(self) -> bool:
        """Return whether the database knows this installation."""

        def script() -> Script[bool]:
            return bool((yield query(_ANSWERS)))

        return await self._engine.read(script)

    async def schema_fits(self) -> bool:
        """Return whether the schema is this release's or a later one's.

        Revisions are numbered, so their order is known.
        """

        def script() -> Script[bool]:
            rows = yield query(_REVISION)
            return bool(rows) and str(rows[0]["version_num"]) >= RELEASE

        return await self._engine.read(script)

    async def clock(self) -> datetime:
        """Return the time of the database's clock. SQLite uses the clock of this machine, in whole seconds."""

        def script() -> Script[datetime]:
            now = (yield query(_CLOCK))[0]["now"]
            read = now if isinstance(now, datetime) else datetime.fromisoformat(str(now))
            return read if read.tzinfo is not None else read.replace(tzinfo=UTC)

        return await self._engine.read(script)

    async def directory(self) -> Path | None:
        """Return the directory of the database's files; None where there is none or the server does not tell."""
        sql = _DIRECTORY[self._engine.dialect]

        def script() -> Script[Path | None]:
            rows = yield query(sql)
            return Path(rows[0]["directory"]) if rows and rows[0]["directory"] else None

        found = await self._engine.read(script)
        return found.parent if found is not None and self._engine.dialect == "sqlite" else found

    async def waiting_since(self, now: datetime) -> datetime | None:
        """Return since when the oldest due work has waited; None when nothing waits."""

        def script() -> Script[datetime | None]:
            return moment_or_none((yield query(_OLDEST, now=ms(now)))[0]["since"])

        return await self._engine.read(script)
