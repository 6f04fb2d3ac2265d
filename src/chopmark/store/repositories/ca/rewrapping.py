"""The stored keys of CAs, responders and time-stamp authorities, so that they can be encrypted anew."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from chopmark.audit.record import AuditRecord
from chopmark.store.engine.port import Engine
from chopmark.store.engine.script import Script, query
from chopmark.store.repositories.records import append

_ALL = """
SELECT id, 'ca' AS kind, key_pem AS stored FROM issuers
UNION ALL SELECT id, 'responder' AS kind, responder_key_pem AS stored FROM issuers
UNION ALL SELECT issuer AS id, 'timestamp' AS kind, stored_key AS stored FROM timestamp_keys ORDER BY id, kind
"""
_PUT = {
    "ca": "UPDATE issuers SET key_pem = :after WHERE id = :id AND key_pem = :before RETURNING id",
    "responder": (
        "UPDATE issuers SET responder_key_pem = :after WHERE id = :id AND responder_key_pem = :before RETURNING id"
    ),
    "timestamp": (
        "UPDATE timestamp_keys SET stored_key = :after WHERE issuer = :id AND stored_key = :before RETURNING issuer"
    ),
}


@dataclass(frozen=True, slots=True)
class KeptKey:
    """A stored key: its role (`ca`, `responder` or `timestamp`), its issuing CA, and the stored bytes."""

    issuer: str
    kind: str
    stored: bytes = field(repr=False)


class KeptKeys:
    """Reads all stored keys, and replaces all of them in one transaction."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    async def all(self) -> list[KeptKey]:
        """Return the keys on record."""

        def script() -> Script[list[KeptKey]]:
            return [KeptKey(row["id"], row["kind"], bytes(row["stored"])) for row in (yield query(_ALL))]

        return await self._engine.read(script)

    async def replace(self, changes: Sequence[tuple[KeptKey, bytes]], record: AuditRecord) -> None:
        """Replace the stored keys, with the record.

        Raises KeyMoved, and nothing is changed, when one is another by now.
        """

        def script() -> Script[None]:
            for before, after in changes:
                if not (yield query(_PUT[before.kind], id=before.issuer, before=before.stored, after=after)):
                    raise KeyMoved
            yield from append(record)

        await self._engine.run(script)


class KeyMoved(Exception):
    """A stored key was replaced meanwhile."""
