"""Facts of the installation, as names and values. All nodes must agree on them; most are written once."""

from __future__ import annotations

from chopmark.audit.record import AuditRecord
from chopmark.store.engine.port import Engine
from chopmark.store.engine.script import Script, guard, query, whole
from chopmark.store.repositories.records import write_with_record

_REMEMBER = "INSERT INTO installation (name, value) VALUES (:name, :value) ON CONFLICT (name) DO NOTHING"
_REPLACE = "UPDATE installation SET value = :new WHERE name = :name AND value = :old"
_CHANGE = """
INSERT INTO installation (name, value) VALUES (:name, :value)
ON CONFLICT (name) DO UPDATE SET value = :value WHERE installation.value <> :value RETURNING name
"""
_PUT = """
INSERT INTO installation (name, value) VALUES (:name, :value) ON CONFLICT (name) DO UPDATE SET value = :value
"""
_GET = "SELECT value FROM installation WHERE name = :name"


class Installation:
    """Facts of an installation."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    async def remember(self, name: str, value: str) -> str:
        """Store this value unless the name has one, and return the stored value."""

        def script() -> Script[str]:
            yield query(_REMEMBER, name=name, value=value)
            return str((yield query(_GET, name=name))[0]["value"])

        return await self._engine.run(script)

    async def replace(self, name: str, old: str, new: str) -> str:
        """Store `new` if the stored value is `old`, and return what is stored then."""

        def script() -> Script[str]:
            yield query(_REPLACE, name=name, old=old, new=new)
            return str((yield query(_GET, name=name))[0]["value"])

        return await self._engine.run(script)

    async def change(self, name: str, value: str, record: AuditRecord) -> bool:
        """Store a value, with an audit record. False, and nothing is written, when it is stored already."""

        def script() -> Script[bool]:
            return (yield from write_with_record(record, guard(_CHANGE, name=name, value=value))) is not None

        return await self._engine.run(script)

    async def put(self, name: str, value: str) -> None:
        """Store a value that only tells the present state of something, and so needs no audit record."""

        def script() -> Script[None]:
            yield whole(_PUT, name=name, value=value)

        await self._engine.run(script)

    async def get(self, name: str) -> str | None:
        """Return the stored value, or None."""

        def script() -> Script[str | None]:
            rows = yield query(_GET, name=name)
            return str(rows[0]["value"]) if rows else None

        return await self._engine.read(script)
