"""Certificates by their end, each with what shows how far its renewal has come."""

from __future__ import annotations

from collections.abc import Collection
from datetime import datetime

from chopmark.core.types import AccountNumber, Channel, CustomerId
from chopmark.ra.expiries import Cursor, Ending, Endings
from chopmark.store.engine.columns import moment, moment_or_none, ms
from chopmark.store.engine.port import Engine
from chopmark.store.engine.script import Row, Script, whole
from chopmark.store.repositories.ra.imported_certificates import COUNTS

_OURS = """
SELECT serial AS id, customer, account, not_after, state, superseded_by, serial, '' AS issuer FROM holdings
WHERE state IN ('active', 'superseded') AND (not_after, serial) > (:after, :id) AND not_after < :until
ORDER BY not_after, serial LIMIT :most
"""
_IMPORTED = f"""
SELECT i.fingerprint AS id, i.customer, i.account, i.not_after, i.state, i.superseded_by, i.serial, i.issuer
FROM imported_certificates i
WHERE i.state IN ('active', 'superseded') AND (i.not_after, i.fingerprint) > (:after, :id) AND i.not_after < :until
  AND {COUNTS}
ORDER BY i.not_after, i.fingerprint LIMIT :most
"""
# A page begins where the one before ended, in the order of the indexes `holdings_by_end` and `imported_by_end`.
_PAGE = f"""
SELECT e.id, e.customer, e.account, e.not_after, e.state, e.serial, e.issuer,
  (SELECT MAX(o.not_after) FROM holdings o
    WHERE o.customer = e.customer AND o.state = 'active' AND o.serial <> e.id) AS later,
  (SELECT MAX(i.not_after) FROM imported_certificates i
    WHERE i.customer = e.customer AND i.state = 'active' AND i.fingerprint <> e.id AND {COUNTS}) AS later_imported,
  (SELECT COUNT(*) FROM holdings o WHERE o.customer = e.customer AND o.state = 'issued'
    AND (e.state = 'active' OR o.serial = e.superseded_by)) AS renewed,
  (SELECT COUNT(*) FROM orders w WHERE w.customer = e.customer AND w.operation <> 'revoke'
    AND w.state IN ('open','bound','coded','checked','submitted','pending')) AS opened,
  (SELECT COUNT(*) FROM contacts c WHERE c.customer = e.customer AND c.disputed_at IS NULL
    AND c.channel IN (:mobile, :email) AND NOT EXISTS (SELECT 1 FROM unreachable_contacts u
      WHERE u.customer = c.customer AND u.channel = c.channel AND u.version = c.version
        AND u.since > :dead_since)) AS contacts,
  (SELECT MAX(c.channel) FROM contacts c JOIN unreachable_contacts u
      ON u.customer = c.customer AND u.channel = c.channel AND u.version = c.version AND u.since > :dead_since
    WHERE c.customer = e.customer AND c.disputed_at IS NULL) AS dead,
  (SELECT COUNT(*) FROM reminders r WHERE r.state = 'sent' AND {{reminds}} AND NOT EXISTS (
    SELECT 1 FROM unreachable_contacts u WHERE u.customer = r.customer AND u.channel = r.channel
      AND u.version = r.contact_version AND u.since > :dead_since)) AS sent,
  (SELECT MAX(r.ended_at) FROM reminders r WHERE r.state = 'sent' AND {{reminds}}) AS reminded_at
FROM (SELECT * FROM ({_OURS}) ours UNION ALL SELECT * FROM ({_IMPORTED}) imported) e
ORDER BY e.not_after, e.id LIMIT :most
""".format(
    # The customer is said again, so that PostgreSQL looks there first: before its tables have statistics it would read
    # all reminders for each certificate.
    reminds="r.customer = e.customer"
    " AND r.id IN (SELECT x.reminder FROM reminded_certificates x WHERE x.certificate = e.id)"
)


class ExpiryRepository:
    """Implements `ra.expiries.ExpiryPages`."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    async def after(
        self, cursor: Cursor, until: datetime, channels: Collection[Channel], dead_since: datetime, most: int
    ) -> Endings:
        """As `ExpiryPages.after`."""
        values: dict[str, str | int] = {
            "after": ms(cursor.not_after),
            "id": cursor.id,
            "until": ms(until),
            "dead_since": ms(dead_since),
            "mobile": Channel.MOBILE.value if Channel.MOBILE in channels else "",
            "email": Channel.EMAIL.value if Channel.EMAIL in channels else "",
        }

        def script() -> Script[Endings]:
            rows = yield whole(_PAGE, most=most, **values)
            last = _ending(rows[-1]) if len(rows) == most else None
            following = None if last is None else Cursor(last.not_after, last.id)
            return Endings(tuple(map(_ending, rows)), following)

        return await self._engine.read(script)


def _ending(row: Row) -> Ending:
    later = [moment(row[name]) for name in ("later", "later_imported") if row[name] is not None]
    return Ending(
        id=row["id"],
        serial=row["serial"],
        issuer=row["issuer"],
        customer=CustomerId(row["customer"]),
        account=AccountNumber(row["account"] or ""),
        not_after=moment(row["not_after"]),
        in_use=row["state"] == "active",
        later_until=max(later, default=None),
        renewed=row["renewed"] > 0,
        opened=row["opened"] > 0,
        contacts=row["contacts"],
        dead=None if row["dead"] is None else Channel(row["dead"]),
        sent=row["sent"],
        reminded_at=moment_or_none(row["reminded_at"]),
    )
