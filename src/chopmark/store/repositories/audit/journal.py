"""What the database knows of the certificates that the journal names; after a restore it may know less."""

from __future__ import annotations

import json
from collections.abc import Collection

from chopmark.core.types import CertificateState, Serial
from chopmark.store.engine.port import Engine
from chopmark.store.engine.script import Script, whole
from chopmark.store.repositories.listed import LISTED

_STATES = "SELECT serial, state FROM certificates WHERE serial {listed}"


class JournaledRepository:
    """Implements `audit.restorewatch.Records`."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    async def states(self, serials: Collection[Serial]) -> dict[Serial, CertificateState]:
        """Return the states of those of the certificates that the database has."""
        sql = _STATES.format(listed=LISTED[self._engine.dialect])

        def script() -> Script[dict[Serial, CertificateState]]:
            rows = yield whole(sql, listed=json.dumps(sorted(serials)))
            return {Serial(row["serial"]): CertificateState(row["state"]) for row in rows}

        return await self._engine.read(script) if serials else {}
