"""Leases: the right to do something that only one process may do at a time, until a moment.

Rows that any number of processes work on have leases of their own. A statement that leases some of them chooses them
in `WITH chosen AS MATERIALIZED (SELECT … AS place … LIMIT :most {lock})`, so that they are chosen once, and updates
them by `{chosen}` (`listed`). Behind `IN` PostgreSQL may run the same SELECT several times; it passes over the rows
that this statement has updated meanwhile, and so finds more than its LIMIT.
"""

from collections.abc import Mapping
from typing import Final

from chopmark.store.engine.columns import SKEW_MS
from chopmark.store.engine.script import Query, Script, guard, whole

LOCK: Final[Mapping[str, str]] = {"sqlite": "", "postgresql": "FOR UPDATE SKIP LOCKED"}
"""What stands for `{lock}`, by dialect: what another process leases at this moment is passed over, not waited for."""
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
    """Take a lease that is free, run out, void or already ours. Return its fencing number, or None. Moments in ms.

    A lease is void when it ends later than `until`, plus the allowed difference of clocks: then a machine whose clock
    was wrong has taken it.
    """
    rows = yield whole(_TAKE, name=name, holder=holder, now=now, until=until, longest=until + SKEW_MS)
    return int(rows[0]["fencing"]) if rows else None


def taking(name: str, holder: str, now: int, until: int) -> Query:
    """Return the guard that takes a lease like `take`, for a bundle."""
    return guard(_TAKE, name=name, holder=holder, now=now, until=until, longest=until + SKEW_MS)
