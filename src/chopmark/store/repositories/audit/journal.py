"""What the database knows of the certificates that the journal names; after a restore it may know less."""

from __future__ import annotations

import json
from collections.abc import Collection

from chopmark.core.types import CertificateState, Serial
from chopmark.store.engine.port import Engine
from chopmark.store.engine.script import Script, whole

_STATES = {
    "postgresql": """
SELECT serial, state FROM certificates
WHERE serial = ANY(ARRAY(SELECT json_array_elements_text(CAST(:serials AS JSON))))
""",
    "sqlite": "SELECT serial, state FROM certificates WHERE serial IN (SELECT value FROM json_each(:serials))",
}


class JournaledRepository:
    """Implements `audit.restorewatch.Records`."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    async def states(self, serials: Collection[Serial]) -> dict[Serial, CertificateState]:
        """Return the states of those of the certificates that the database has."""
        sql = _STATES[self._engine.dialect]

        def script() -> Script[dict[Serial, CertificateState]]:
            rows = yield whole(sql, serials=json.dumps(sorted(serials)))
            return {Serial(row["serial"]): CertificateState(row["state"]) for row in rows}

        return await self._engine.read(script) if serials else {}
