"""What this installation is: names and values that all nodes must agree on, most of them written once."""

from __future__ import annotations

from chopmark.audit.record import AuditRecord
from chopmark.store.engine.port import Engine
from chopmark.store.engine.script import Script, guard, query, whole
from chopmark.store.repositories.leaves import write_with_record

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
        """Return the value on record: this one when there was none."""

        def script() -> Script[str]:
            yield query(_REMEMBER, name=name, value=value)
            return str((yield query(_GET, name=name))[0]["value"])

        return await self._engine.run(script)

    async def replace(self, name: str, old: str, new: str) -> str:
        """Put `new` where `old` is on record, and return what is on record then."""

        def script() -> Script[str]:
            yield query(_REPLACE, name=name, old=old, new=new)
            return str((yield query(_GET, name=name))[0]["value"])

        return await self._engine.run(script)

    async def change(self, name: str, value: str, record: AuditRecord) -> bool:
        """Put a value on record, with its record; False, and nothing written, when it is the one on record."""

        def script() -> Script[bool]:
            return (yield from write_with_record(record, guard(_CHANGE, name=name, value=value))) is not None

        return await self._engine.run(script)

    async def put(self, name: str, value: str) -> None:
        """Put a value on record that says how things are just now; it changes nothing, and has no record."""

        def script() -> Script[None]:
            yield whole(_PUT, name=name, value=value)

        await self._engine.run(script)

    async def get(self, name: str) -> str | None:
        """Return the value on record, or None."""

        def script() -> Script[str | None]:
            rows = yield query(_GET, name=name)
            return str(rows[0]["value"]) if rows else None

        return await self._engine.read(script)
