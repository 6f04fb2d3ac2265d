"""How long rows are kept, and why, and their deletion at night.

Tables that are not listed here are kept for ever, because the audit or a dispute may need them: orders, certificates,
audit records, customers, contacts, failures, keys and bearers.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from chopmark.limits.rate_limits import LONGEST
from chopmark.ra.customer_import.ports import KEPT
from chopmark.store.engine.columns import ms, span
from chopmark.store.engine.port import Engine
from chopmark.store.engine.script import Script, at_once, query, whole
from chopmark.store.repositories.leases import taking
from chopmark.store.repositories.listed import ROW

REMINDED: Final = timedelta(days=400)
"""Longer than a certificate lives after its first reminder, and than a customer takes to ask whether one was sent."""
BATCH: Final = 200
"""A transaction deletes at most so many rows, so that other writers wait some milliseconds only."""
LEASE: Final = timedelta(seconds=30)
# What was chosen is judged once more, because a row may have changed meanwhile: in words that no index serves, for by
# another index each row that is old enough would be compared with all that were chosen.
_DELETE = """
DELETE FROM {table} WHERE {rows} AND CASE WHEN {column} < :before AND {which} THEN 1 ELSE 0 END = 1
RETURNING 1 AS gone
"""
_OLDEST = "SELECT {row} FROM {table} WHERE {column} < :before AND {which} ORDER BY {column} LIMIT :most"
_ROWS = {"sqlite": "rowid IN ({oldest})", "postgresql": "ctid = ANY(ARRAY({oldest}))"}
_NIGHT = "SELECT value FROM installation WHERE name = 'cleaned'"
_MARK = """
INSERT INTO installation (name, value) VALUES ('cleaned', :night) ON CONFLICT (name) DO UPDATE SET value = :night
"""


@dataclass(frozen=True, slots=True)
class Life:
    """Rows whose `column` is older than `kept` are deleted.

    `which` selects rows, in the words of their partial index.
    """

    table: str
    column: str
    kept: timedelta
    why: str
    which: str = "1 = 1"


LIVES: Final = (
    Life(
        "sessions",
        "ends_at",
        timedelta(days=8),
        "a program that proves its certificate, up to 72 hours after issuance, acts in the customer's last login",
    ),
    Life("launches", "expires_at", timedelta(days=8), "a ticket that comes again is told apart from an unknown one"),
    Life(
        "counters",
        "window_start",
        2 * LONGEST,
        "no window is longer than a day, but those that say so",
        "substr(name, length(name) - 1) <> '1y'",
    ),
    Life(
        "counters",
        "window_start",
        timedelta(days=366),
        "revocations of a year",
        "substr(name, length(name) - 1) = '1y'",
    ),
    Life(
        "entries",
        "at",
        timedelta(days=90),
        "a name that nobody has: its wrong passwords in a row; a customer's stay",
        "substr(subject, 1, 6) = 'claim:' AND closed_at IS NULL",
    ),
    Life(
        "entries",
        "closed_at",
        timedelta(days=400),
        "a name that nobody has and whose entry closed: reopening it sooner would tell it from a customer's (I18)",
        "substr(subject, 1, 6) = 'claim:' AND closed_at IS NOT NULL",
    ),
    Life("idempotency", "created_at", timedelta(days=8), "a repeat gets the first answer; an order is over by then"),
    Life(
        "challenges",
        "created_at",
        timedelta(days=30),
        "sends are counted over 24 hours, and the order is over; the records name each of them for ever",
        "state <> 'consumed'",
    ),
    Life(
        "challenges",
        "created_at",
        timedelta(days=400),
        "the code that approved an order can be derived again as long as its certificate may be used",
        "state = 'consumed'",
    ),
    Life(
        "work",
        "done_at",
        timedelta(days=30),
        "what was sent, and how it went, stands in the records for ever",
        "done_at IS NOT NULL",
    ),
    Life("deliveries", "begun_at", timedelta(days=30), "as the rows of work that they belong to"),
    Life(
        "reminded_certificates",
        "at",
        REMINDED,
        "a step of a certificate is told once; by then the certificate has ended",
    ),
    Life("reminders", "due_at", REMINDED + timedelta(days=40), "whether somebody was reminded of the last certificate"),
    Life("unreachable_contacts", "since", REMINDED, "a contact that a gateway called dead, unless it was changed"),
    Life("early_reports", "at", timedelta(days=1), "a message is asked for, for a day, where its report found nothing"),
    Life("alarms", "over_at", timedelta(days=30), "what has been well again for so long", "over_at IS NOT NULL"),
    Life("inbox", "at", timedelta(days=30), "the demo's messages"),
    Life(
        "former_answers",
        "until",
        timedelta(days=1),
        "an answer of a former issuer's responder that counts no more: it is asked again",
        "(reason IS NULL OR reason = 'certificate_hold')",
    ),
    Life(
        "former_answers",
        "until",
        timedelta(days=400),
        "revoked for good by its former issuer: by then the certificate has ended",
        "reason <> 'certificate_hold'",
    ),
    Life("former_contacts", "ended_at", KEPT, "notices to an address that was replaced"),
)


def deletion(life: Life, dialect: str) -> str:
    """Return the statement that deletes the oldest of the rows that are older than their life."""
    parts = {"table": life.table, "column": life.column, "which": life.which}
    return _DELETE.format(rows=_ROWS[dialect].format(oldest=_OLDEST.format(row=ROW[dialect], **parts)), **parts)


class RetentionRepository:
    """Implements `jobs.cleanup.Lives`."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    async def cleaned(self) -> str | None:
        """Return the last night whose clean-up was finished; None before the first one."""

        def script() -> Script[str | None]:
            rows = yield whole(_NIGHT)
            return str(rows[0]["value"]) if rows else None

        return await self._engine.read(script)

    async def mark(self, night: str) -> None:
        """Note that the clean-up of this night is finished."""

        def script() -> Script[None]:
            yield whole(_MARK, night=night)

        await self._engine.run(script)

    async def delete(self, number: int, holder: str, now: datetime) -> int | None:
        """Delete a batch of rows of `LIVES[number]`. Return how many, or None when another process has the lease."""
        life = LIVES[number]
        sql = deletion(life, self._engine.dialect)
        lease = taking("clean-up", holder, ms(now), ms(now + LEASE))

        def script() -> Script[int | None]:
            done = yield from at_once(lease, query(sql, before=ms(now) - span(life.kept), most=BATCH))
            return None if done is None else len(done[1])

        return await self._engine.run(script)

    @property
    def count(self) -> int:
        """How many lives there are."""
        return len(LIVES)

    @property
    def batch(self) -> int:
        """How many rows are deleted at once, at most."""
        return BATCH
