"""Store OCSP answers that were signed ahead, many at a time."""

import json
from collections.abc import Sequence

from chopmark.core.types import IssuerId
from chopmark.store.engine.columns import ms
from chopmark.store.engine.port import Engine
from chopmark.store.engine.script import Batch, Script, Value, query
from chopmark.va.presigning import Kept

_LATER = {
    "postgresql": """
UPDATE certificates SET answer_due = p.again
FROM (
  SELECT c.place, d.turns, d.again
  FROM json_to_recordset(CAST(:due AS JSON)) AS d(serial TEXT, turns BIGINT, again BIGINT)
  CROSS JOIN LATERAL (
    SELECT ctid AS place FROM certificates WHERE serial = d.serial AND issuer || '' = :issuer OFFSET 0
  ) c
) AS p
WHERE certificates.ctid = p.place AND certificates.turns = p.turns
  AND EXISTS (SELECT 1 FROM issuers i WHERE i.id = :issuer AND i.responder_certificate = :responder)
RETURNING certificates.serial
""",  # each is looked up by its serial number, and no plan can begin with all certificates of the issuer
    "sqlite": """
UPDATE certificates SET answer_due = p.again
FROM (
  SELECT json_extract(value, '$.serial') AS serial, json_extract(value, '$.turns') AS turns,
    json_extract(value, '$.again') AS again
  FROM json_each(:due)
) AS p
WHERE +certificates.issuer = :issuer AND certificates.serial = p.serial AND certificates.turns = p.turns
  AND EXISTS (SELECT 1 FROM issuers i WHERE i.id = :issuer AND i.responder_certificate = :responder)
RETURNING certificates.serial
""",  # the plus keeps SQLite from reading all certificates of the issuer for each of them
}
_KEEP = """
INSERT INTO answers (serial, algorithm, der, produced_at, next_update, turns)
VALUES (:serial, :algorithm, :der, :produced_at, :next_update, :turns)
ON CONFLICT (serial, algorithm) DO UPDATE SET der = :der, produced_at = :produced_at, next_update = :next_update,
  turns = :turns
"""


class Presigned:
    """Implements `va.presigning.Shelf`."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    async def keep_all(self, issuer: IssuerId, kept: Sequence[Kept]) -> int:
        """Store the answers of several certificates. Return for how many.

        Nothing is stored for a certificate whose status has changed since, or whose responder has been replaced.
        """
        later = _LATER[self._engine.dialect]

        def script() -> Script[int]:
            there: set[str] = set()
            for responder in {one.responder for one in kept}:
                due = [
                    {"serial": one.serial, "turns": one.status_version, "again": ms(one.again_at)}
                    for one in kept
                    if one.responder == responder
                ]
                rows = yield query(later, issuer=issuer, due=json.dumps(due), responder=responder)
                there |= {row["serial"] for row in rows}
            if there:
                yield Batch(_KEEP, [values for one in kept if one.serial in there for values in _rows(one)])
            return len(there)

        return await self._engine.run(script)


def _rows(kept: Kept) -> list[dict[str, Value]]:
    return [
        {
            "serial": kept.serial,
            "algorithm": algorithm,
            "der": answer.der,
            "produced_at": ms(answer.produced_at),
            "next_update": ms(answer.next_update),
            "turns": answer.status_version,
        }
        for algorithm, answer in kept.answers.items()
    ]
