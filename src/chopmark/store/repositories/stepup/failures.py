"""Wrong answers of a customer, and the two locks that they shut: one for all codes, one for the birth date.

The release before kept one row for each channel, and during an upgrade its processes still write those rows. So the
rows are not merged: our statements add them up, and a lock is written into each of them, so that such a process sees
it.
"""

from __future__ import annotations

from datetime import datetime
from functools import cache
from typing import Final, NamedTuple

from chopmark.messaging.ports import OutboxJob
from chopmark.stepup.ports import CODE, FailureLimits
from chopmark.store.engine.columns import AHEAD, ms, span
from chopmark.store.engine.script import Query, Script, guard, query
from chopmark.store.repositories.messaging.outbox import queue

_ELDER: Final = {CODE: ("email", "sms")}
"""For each lock, the rows that the release before wrote."""
_FAIL = """
INSERT INTO failures (customer, factor, window_start, in_window, ever)
SELECT CAST(:customer AS TEXT), CAST(:factor AS TEXT), CAST(:now AS BIGINT), 1, 1
WHERE {elder_spent} < :most AND {elder_ever} < :ever AND NOT {locked}
ON CONFLICT (customer, factor) DO UPDATE SET
  in_window = CASE WHEN failures.window_start <= :since THEN 1 ELSE failures.in_window + 1 END,
  window_start = CASE WHEN failures.window_start <= :since OR failures.window_start > {ahead} THEN :now
    ELSE failures.window_start END,
  ever = failures.ever + 1
WHERE failures.held_at IS NULL AND failures.ever + {elder_ever} < :ever
  AND CASE WHEN failures.window_start <= :since THEN 0 ELSE failures.in_window END + {elder_spent} < :most
RETURNING in_window, ever
"""
_HOLD = """
INSERT INTO failures (customer, factor, window_start, in_window, ever, held_at, hold)
SELECT CAST(:customer AS TEXT), lock_rows.factor, CAST(:now AS BIGINT), 0, 0, CAST(:now AS BIGINT),
  CASE WHEN totals.ever >= :ever THEN 'disabled' ELSE 'held' END
FROM ({each_row}) lock_rows, (
  SELECT COALESCE(MAX(CASE WHEN factor = :factor THEN ever END), 0)
    + COALESCE(MAX(CASE WHEN factor <> :factor THEN ever END), 0) AS ever,
    COALESCE(SUM(CASE WHEN window_start > :since THEN in_window ELSE 0 END), 0) AS spent
  FROM failures WHERE customer = :customer AND factor IN ({rows})
) totals
WHERE totals.ever >= :ever OR totals.spent >= CAST(:most AS BIGINT)
ON CONFLICT (customer, factor) DO UPDATE SET held_at = excluded.held_at, hold = excluded.hold
WHERE failures.held_at IS NULL
RETURNING factor
"""
_LOCKED = """EXISTS (
  SELECT 1 FROM failures locks
  WHERE locks.customer = :customer AND locks.factor IN ({rows}) AND locks.held_at IS NOT NULL)"""
_ELDER_SPENT = """(
  SELECT CAST(COALESCE(SUM(elder.in_window), 0) AS BIGINT) FROM failures elder
  WHERE elder.customer = :customer AND elder.factor IN ({elder}) AND elder.window_start > :since)"""
_ELDER_EVER = """(
  SELECT COALESCE(MAX(elder.ever), 0) FROM failures elder
  WHERE elder.customer = :customer AND elder.factor IN ({elder}))"""
_FORGIVE = """
UPDATE failures SET in_window = CASE WHEN in_window > 0 THEN in_window - 1 ELSE 0 END,
  ever = CASE WHEN ever > 0 THEN ever - 1 ELSE 0 END
WHERE customer = :customer AND factor = :factor AND held_at IS NULL
"""
HELD_ROWS = "SELECT factor, hold FROM failures WHERE customer = :customer AND held_at IS NOT NULL ORDER BY factor"
_RELEASE = """
UPDATE failures SET held_at = NULL, hold = NULL, in_window = 0, ever = 0
WHERE customer = :customer AND (held_at IS NOT NULL OR (factor IN ({rows}) AND {locked}))
RETURNING factor
"""


class _Statements(NamedTuple):
    fail: str
    hold: str
    locked: str


@cache
def _statements(lock: str) -> _Statements:
    """Return the statements of a lock. Each of them reads all its rows."""
    elder = _ELDER.get(lock, ())
    rows = _listed(lock, *elder)
    locked = _LOCKED.format(rows=rows)
    spent = _ELDER_SPENT.format(elder=_listed(*elder)) if elder else "0"
    ever = _ELDER_EVER.format(elder=_listed(*elder)) if elder else "0"
    each_row = " UNION ALL ".join(f"SELECT '{row}' AS factor" for row in (lock, *elder))
    return _Statements(
        _FAIL.format(elder_spent=spent, elder_ever=ever, locked=locked, ahead=AHEAD),
        _HOLD.format(each_row=each_row, rows=rows),
        locked,
    )


def _listed(*names: str) -> str:
    return ", ".join(f"'{name}'" for name in names)


CODES_LOCKED: Final = _statements(CODE).locked
"""In SQL: the lock of `:customer` is shut, so that no code may be sent or compared."""
_RELEASE_ALL: Final = _RELEASE.format(rows=_listed(CODE, *_ELDER[CODE]), locked=CODES_LOCKED)


def failure(customer: str, lock: str, limits: FailureLimits, now: datetime) -> Query:
    """Return the guard that counts one failure. It returns no row when none is left or the lock is shut."""
    return guard(_statements(lock).fail, **_values(customer, lock, limits, now))


def lock_if_used_up(
    customer: str, lock: str, limits: FailureLimits, now: datetime, notices: tuple[OutboxJob, ...]
) -> Script[bool]:
    """Shut the lock when no failure is left. When this call has shut it, queue `notices` and return True."""
    shut = yield query(_statements(lock).hold, **_values(customer, lock, limits, now))
    if not any(row["factor"] == lock for row in shut):
        return False
    yield from queue(notices)
    return True


def _values(customer: str, lock: str, limits: FailureLimits, now: datetime) -> dict[str, str | int]:
    times = {"now": ms(now), "since": ms(now) - span(limits.window)}
    return {"customer": customer, "factor": lock, "ever": limits.ever, "most": limits.in_window, **times}


def charge_failure(
    customer: str, lock: str, limits: FailureLimits, now: datetime, notices: tuple[OutboxJob, ...] = ()
) -> Script[bool]:
    """Count one failure. False when the lock is shut; the call that shuts it queues `notices`."""
    if (yield failure(customer, lock, limits, now)):
        return True
    yield from lock_if_used_up(customer, lock, limits, now, notices)
    return False


def forgive(customer: str, lock: str) -> Query:
    """Return the statement that gives one failure back. It does not open a shut lock."""
    return query(_FORGIVE, customer=customer, factor=lock)


def unlock(customer: str) -> Script[int]:
    """Open every lock of a customer and reset the failures. Return how many locks were shut."""
    rows = yield query(_RELEASE_ALL, customer=customer)
    return len({lock_of(row["factor"]) for row in rows})


def lock_of(row: str) -> str:
    """Return the lock that a row belongs to."""
    return next((lock for lock, elder in _ELDER.items() if row in elder), row)
