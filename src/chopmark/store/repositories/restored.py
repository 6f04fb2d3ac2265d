"""After a restore: end everything that may have been used in the time that was lost, and sign answers and lists anew.

Rows that are read for another purpose later are ended and not deleted: the last login of a customer, a ticket that is
shown again, the code that approved an order.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from types import MappingProxyType
from typing import Final

from chopmark.audit.record import AuditRecord
from chopmark.ra.restoring import Voided
from chopmark.store.engine.columns import ms
from chopmark.store.engine.port import Engine
from chopmark.store.engine.script import Notify, Script, at_once, query
from chopmark.store.repositories.records import append
from chopmark.store.repositories.reminders.plans import restored_at
from chopmark.store.repositories.va.answers import CHANGES_CHANNEL, NEVER
from chopmark.tw.zone import local_date


@dataclass(frozen=True, slots=True)
class _Void:
    """Rows of a table that can still be used, and the statement that ends them."""

    table: str
    which: str
    change: str

    @property
    def ended(self) -> str:
        """The statement that ends them. It returns a row for each."""
        return f"{self.change} WHERE {self.which} RETURNING 1 AS ended"

    @property
    def counted(self) -> str:
        """The statement that counts them."""
        return f"SELECT COUNT(*) AS n FROM {self.table} WHERE {self.which}"


_VOIDS: Final[Mapping[Voided, _Void]] = MappingProxyType(
    {
        Voided.CODES: _Void("challenges", "state = 'live'", "UPDATE challenges SET state = 'dead'"),
        # A ticket that nobody has taken expires. One that was taken and not confirmed forgets who took it.
        Voided.TICKETS: _Void(
            "launches",
            "confirmed_at IS NULL AND (expires_at > created_at OR visitor_hash IS NOT NULL)",
            "UPDATE launches SET expires_at = created_at, visitor_hash = NULL",
        ),
        # When a session is over, neither its id nor the id before its last rotation can be used.
        Voided.SESSIONS: _Void("sessions", "ends_at > created_at", "UPDATE sessions SET ends_at = created_at"),
        Voided.NONCES: _Void("orders", "nonce IS NOT NULL", "UPDATE orders SET nonce = NULL"),
        # Used ones, too: a used credential identifies its program as long as the order lives.
        Voided.CREDENTIALS: _Void("credentials", "1 = 1", "DELETE FROM credentials"),
        Voided.SLIPS: _Void("slips", "state = 'live'", "UPDATE slips SET state = 'void'"),
        Voided.ANSWERS: _Void("idempotency", "1 = 1", "DELETE FROM idempotency"),
    }
)
_NO_ANSWERS = "DELETE FROM answers"
_ANSWERS_DUE = f"UPDATE certificates SET answer_due = :now WHERE answer_due < {NEVER} AND state <> 'reserved'"
# No list has counted so many changes, so each is published again, with a higher number.
_LISTS_DUE = "UPDATE crls SET seen_end = -1"
_FREE = """
UPDATE leases SET holder = '', until = 0,
  fencing = CASE WHEN fencing > CAST(:above AS BIGINT) THEN fencing ELSE CAST(:above AS BIGINT) END + 1
"""


class _Moved(Exception):
    """There are more or fewer rows than were counted. Rolls the transaction back."""


class RestoredRepository:
    """Implements `restoring.Voids`."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    async def counts(self) -> Mapping[Voided, int]:
        """Return how many rows of each kind would be ended."""

        def script() -> Script[Mapping[Voided, int]]:
            found = yield from at_once(*(query(_VOIDS[kind].counted) for kind in Voided))
            return {kind: int(rows[0]["n"]) for kind, rows in zip(Voided, found or (), strict=True)}

        return await self._engine.read(script)

    async def void(self, kind: Voided, count: int, record: AuditRecord) -> bool:
        """End all rows of a kind, with the record.

        False, and nothing was changed, when there are not `count` of them.
        """

        def script() -> Script[None]:
            if len((yield query(_VOIDS[kind].ended))) != count:
                raise _Moved
            yield from append(record)

        try:
            await self._engine.run(script)
        except _Moved:
            return False
        return True

    async def renew_status(self, now: datetime) -> None:
        """Make every OCSP answer and every revocation list due now, so that they are signed anew.

        List numbers only rise. Reminders that may have been sent in the lost time are closed as unknown.
        """

        def script() -> Script[None]:
            yield query(_NO_ANSWERS)
            yield query(_ANSWERS_DUE, now=ms(now))
            yield query(_LISTS_DUE)
            yield from restored_at(now, local_date(now))
            yield Notify(CHANGES_CHANNEL)

        await self._engine.run(script)

    async def free_leases(self, above: int) -> None:
        """End every lease. The next holder of each gets a fencing number above `above`."""

        def script() -> Script[None]:
            yield query(_FREE, above=above)

        await self._engine.run(script)

    async def tell(self, record: AuditRecord) -> bool:
        """Append the record."""
        await self._engine.run(append, record)
        return True
