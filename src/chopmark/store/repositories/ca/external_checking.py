"""For the checker: certificates of other CAs, with everything that has to agree with them, as of one moment."""

from collections.abc import AsyncGenerator
from contextlib import aclosing

from chopmark.audit.events import Event
from chopmark.audit.record import StoredRecord
from chopmark.ca.external.checker import Row as Judged
from chopmark.ca.external.checker import Said
from chopmark.core.types import Serial
from chopmark.store.engine.columns import unblobs
from chopmark.store.engine.port import Engine
from chopmark.store.engine.script import Row, Script, query
from chopmark.store.repositories.ca.checking import STRAYS, held_of, ordered_of
from chopmark.store.repositories.ca.external import COLUMNS, request_of
from chopmark.store.repositories.ra.submissions import Chains

_BY_SERIAL = """(SELECT COUNT(*) FROM leaves l WHERE l.chain = r.order_id AND l.event IN ({events})
    AND l.facts LIKE '%"' || r.serial || '"%')"""
_BY_CA = (
    _BY_SERIAL[:-1]
    + """
    AND l.facts LIKE '%"' || r.issuer || '"%')"""
)


def _told(template: str, *events: Event) -> str:
    return template.format(events=", ".join(f"'{event.value}'" for event in events))


_JUDGED = "(r.serial IS NOT NULL OR r.state IN ('received', 'issued', 'revoked'))"
_ROWS = f"""
SELECT {", ".join(f"r.{name.strip()}" for name in COLUMNS.split(","))},
  h.order_id AS held_order, h.spki_sha256 AS held_spki, h.state AS held_state, h.der AS held_der,
  h.chain AS held_chain, h.ended_at AS held_ended_at,
  o.state AS order_state, o.customer AS order_customer, o.account AS order_account, o.serial AS order_serial,
  o.spki_sha256 AS order_spki, k.customer AS key_customer, d.by_whom AS ticked_by,
  {_told(_BY_CA, Event.CA_CERTIFICATE_RECEIVED)} AS told_received,
  {_told(_BY_CA, Event.CA_CERTIFICATE_ISSUED)} AS told_issued,
  {_told(_BY_SERIAL, Event.CA_CERTIFICATE_QUARANTINED, Event.CA_CERTIFICATE_ORPHANED, Event.CA_REQUEST_GIVEN_UP)}
    AS told_put_aside,
  {_told(_BY_SERIAL, Event.CA_REVOCATION_ASKED)} AS told_asked,
  {_told(_BY_SERIAL, Event.CA_CERTIFICATE_REVOKED)} AS told_revoked
FROM foreign_requests r
LEFT JOIN holdings h ON h.serial = r.serial
LEFT JOIN orders o ON o.id = r.order_id
LEFT JOIN keys k ON k.spki_sha256 = r.spki_sha256
LEFT JOIN hand_revocations d ON d.order_id = r.order_id AND d.attempt = r.attempt
WHERE {_JUDGED}
ORDER BY r.order_id, r.attempt
"""


def _judged(row: Row, records: tuple[StoredRecord, ...]) -> Judged:
    told = ("told_received", "told_issued", "told_put_aside", "told_asked", "told_revoked")
    return Judged(
        request=request_of(row),
        account=row["order_account"] or "",
        held=held_of(row),
        held_stream=() if row["held_chain"] is None else unblobs(bytes(row["held_chain"])),
        order=ordered_of(row),
        ticked=row["ticked_by"] is not None,
        told=Said(*(row[name] for name in told)),
        records=records,
    )


class ExternalRows:
    """Implements `ca.foreign_checker.Rows`."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    async def certificates(self) -> AsyncGenerator[Judged, None]:
        """Yield every request by which a certificate was issued, as of one moment."""
        async with self._engine.snapshot() as snapshot:
            chains = Chains(snapshot, f"SELECT r.order_id FROM foreign_requests r WHERE {_JUDGED}")
            async with aclosing(snapshot.stream(_ROWS, {}, 200)) as batches:
                async for batch in batches:
                    for row in batch:
                        yield _judged(row, await chains.of(row["order_id"]))

    async def strays(self) -> list[Serial]:
        """Return the serials of subscriber certificates for which no CA has a row."""

        def script() -> Script[list[Serial]]:
            return [Serial(row["serial"]) for row in (yield query(STRAYS))]

        return await self._engine.read(script)
