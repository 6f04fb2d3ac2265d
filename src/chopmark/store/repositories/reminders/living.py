"""The one read of living certificates: our own, and those of former CAs that customers brought along.

Living is a certificate that is active and that nothing has replaced. An imported one is replaced by a certificate of
ours with the same profile, and by an imported one that ends later, where both are for the same account or one of them
for none. Except where they are asked for in the order of their end, they are found by their customer (`listed`).
"""

from chopmark.core.types import AccountNumber, CustomerId
from chopmark.ra.imported import Former, Way
from chopmark.ra.reminders.ports import LivingCertificate
from chopmark.store.engine.columns import moment
from chopmark.store.engine.script import Row

_OWN = """
SELECT h.serial AS certificate, h.customer AS customer, h.not_after AS not_after, h.account AS account,
  CAST(NULL AS TEXT) AS issuer, CAST(NULL AS TEXT) AS serial_there, CAST(NULL AS TEXT) AS way{der}
FROM holdings h WHERE {active} AND {condition}"""
_IMPORTED = """
SELECT i.fingerprint AS certificate, i.customer AS customer, i.not_after AS not_after, i.account AS account,
  i.issuer AS issuer, i.serial AS serial_there, i.way AS way{der}
FROM imported_certificates i
WHERE {active} AND {condition}
  AND EXISTS (SELECT 1 FROM certificate_imports r WHERE r.run = i.run AND r.state = 'live' LIMIT 1 OFFSET 0)
  AND NOT EXISTS (SELECT 1 FROM holdings g
    WHERE g.customer = i.customer AND g.profile || '' = i.profile AND g.state || '' = 'active' LIMIT 1 OFFSET 0)
  AND NOT EXISTS (SELECT 1 FROM imported_certificates j
    JOIN certificate_imports s ON s.run = j.run || '' AND s.state = 'live'
    WHERE j.customer = i.customer AND j.profile = i.profile AND j.state || '' = 'active'
      AND (j.account = i.account OR j.account IS NULL OR i.account IS NULL)
      AND (j.not_after > i.not_after OR (j.not_after = i.not_after AND j.fingerprint > i.fingerprint))
    LIMIT 1 OFFSET 0)"""


def living(condition: str, *, whole: bool = False) -> str:
    """Return the SELECT of living certificates that meet a condition; `whole`: with the DER of the imported ones.

    They are found by the condition alone (`listed`). In it `{c}` stands for the table of certificates, and `{id}` for
    the column that names one.
    """
    own, imported = (_leg(half, condition, "{c}.state || '' = 'active'", whole=whole) for half in (_OWN, _IMPORTED))
    return f"{own}\nUNION ALL{imported}"


def first_living(condition: str) -> str:
    """Return the SELECT of the `:most` living certificates that meet a condition and end first, in their order.

    Each half is ordered and cut by its own index, so that a batch costs the same however many there are.
    """
    order = "ORDER BY not_after, certificate LIMIT :most"
    own, imported = (_leg(half, condition, "{c}.state = 'active'") for half in (_OWN, _IMPORTED))
    return f"SELECT * FROM ({own} {order}) o\nUNION ALL SELECT * FROM ({imported} {order}) p\n{order}"


def _leg(select: str, condition: str, active: str, *, whole: bool = False) -> str:
    table, column, der = ("h", "h.serial", "NULL") if select is _OWN else ("i", "i.fingerprint", "i.der")
    said = {"condition": condition.format(c=table, id=column), "active": active.format(c=table)}
    return select.format(**said, der=f", {der} AS der" if whole else "")


def living_of(row: Row) -> LivingCertificate:
    """Return a row of that SELECT."""
    account = None if row["account"] is None else AccountNumber(row["account"])
    former = None if row["issuer"] is None else Former(row["issuer"], row["serial_there"], Way(row["way"]))
    return LivingCertificate(row["certificate"], CustomerId(row["customer"]), moment(row["not_after"]), account, former)
