"""Leases: who may do something that only one should do at a time, until when."""

from chopmark.store.script import Script, whole

_TAKE = """
INSERT INTO leases (name, holder, fencing, until) VALUES (:name, :holder, 1, :until)
ON CONFLICT (name) DO UPDATE SET
  fencing = CASE WHEN leases.holder = :holder THEN leases.fencing ELSE leases.fencing + 1 END,
  holder = :holder,
  until = :until
WHERE leases.holder = :holder OR leases.until <= :now
RETURNING fencing
"""


def take(name: str, holder: str, now: int, until: int) -> Script[int | None]:
    """Take a lease that is free, run out or already ours; return its fencing number, or None. Moments in ms."""
    rows = yield whole(_TAKE, name=name, holder=holder, now=now, until=until)
    return int(rows[0]["fencing"]) if rows else None
