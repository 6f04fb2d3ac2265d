"""Leases: who may do something that only one should do at a time, until when."""

from chopmark.store.engine.columns import SKEW_MS
from chopmark.store.engine.script import Query, Script, guard, whole

_TAKE = """
INSERT INTO leases (name, holder, fencing, until) VALUES (:name, :holder, 1, :until)
ON CONFLICT (name) DO UPDATE SET
  fencing = CASE WHEN leases.holder = :holder THEN leases.fencing ELSE leases.fencing + 1 END,
  holder = :holder,
  until = :until
WHERE leases.holder = :holder OR leases.until <= :now OR leases.until > :longest
RETURNING fencing
"""


def take(name: str, holder: str, now: int, until: int) -> Script[int | None]:
    """Take a lease that is free, run out, void or already ours; return its fencing number, or None. Moments in ms.

    Void is one that ends later than if it were taken now for as long, by a clock that is ahead as far as clocks may be.
    """
    rows = yield whole(_TAKE, name=name, holder=holder, now=now, until=until, longest=until + SKEW_MS)
    return int(rows[0]["fencing"]) if rows else None


def taking(name: str, holder: str, now: int, until: int) -> Query:
    """Return the guard that takes a lease as `take` does, for a bundle."""
    return guard(_TAKE, name=name, holder=holder, now=now, until=until, longest=until + SKEW_MS)
