"""Certificates by their end, each with what shows how far its renewal has come."""

from __future__ import annotations

from collections.abc import Collection
from datetime import datetime

from chopmark.core.types import AccountNumber, Channel, CustomerId, Serial
from chopmark.ra.expiries import Cursor, Ending, Endings
from chopmark.store.engine.columns import moment, moment_or_none, ms
from chopmark.store.engine.port import Engine
from chopmark.store.engine.script import Row, Script, whole

# The order is that of the index `holdings_by_end`, and a page begins where the one before ended.
_PAGE = """
SELECT h.serial, h.customer, h.account, h.not_after, h.state,
  (SELECT MAX(o.not_after) FROM holdings o
    WHERE o.customer = h.customer AND o.state = 'active' AND o.serial <> h.serial) AS later,
  (SELECT COUNT(*) FROM holdings o WHERE o.customer = h.customer AND o.state = 'issued'
    AND (h.state = 'active' OR o.serial = h.superseded_by)) AS renewed,
  (SELECT COUNT(*) FROM orders w WHERE w.customer = h.customer AND w.operation <> 'revoke'
    AND w.state IN ('open','bound','coded','checked','submitted','pending')) AS opened,
  (SELECT COUNT(*) FROM contacts c WHERE c.customer = h.customer AND c.disputed_at IS NULL
    AND c.channel IN (:mobile, :email)) AS contacts
FROM holdings h
WHERE h.state IN ('active', 'superseded') AND (h.not_after, h.serial) > (:after, :serial) AND h.not_after < :until
ORDER BY h.not_after, h.serial LIMIT :most
"""


class ExpiryRepository:
    """Implements `ra.expiries.ExpiryPages`."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    async def after(self, cursor: Cursor, until: datetime, channels: Collection[Channel], most: int) -> Endings:
        """Return certificates that end later than the cursor and before `until`, at most `most`, in order."""
        values: dict[str, str | int] = {
            "after": ms(cursor.not_after),
            "serial": cursor.serial,
            "until": ms(until),
            "mobile": Channel.MOBILE.value if Channel.MOBILE in channels else "",
            "email": Channel.EMAIL.value if Channel.EMAIL in channels else "",
        }

        def script() -> Script[Endings]:
            rows = yield whole(_PAGE, most=most, **values)
            last = _ending(rows[-1]) if len(rows) == most else None
            following = None if last is None else Cursor(last.not_after, last.serial)
            return Endings(tuple(map(_ending, rows)), following)

        return await self._engine.read(script)


def _ending(row: Row) -> Ending:
    return Ending(
        serial=Serial(row["serial"]),
        customer=CustomerId(row["customer"]),
        account=AccountNumber(row["account"]),
        not_after=moment(row["not_after"]),
        in_use=row["state"] == "active",
        later_until=moment_or_none(row["later"]),
        renewed=row["renewed"] > 0,
        opened=row["opened"] > 0,
        contacts=row["contacts"],
        sent=0,
        failed=0,
        unknown=0,
        last_failed=None,
        reminded_at=None,
    )
