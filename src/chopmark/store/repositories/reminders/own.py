"""One customer's reminders, as the customer sees them."""

from __future__ import annotations

from datetime import datetime

from chopmark.core.types import Channel, CustomerId
from chopmark.ra.reminders.own import OwnRows, ToldReminder
from chopmark.ra.reminders.policy import Step
from chopmark.ra.reminders.ports import ReminderState
from chopmark.store.engine.columns import moment, ms
from chopmark.store.engine.port import Engine
from chopmark.store.engine.script import Row, Script, query
from chopmark.store.repositories.unreachable import RETURNED

_TOLD = """
SELECT x.step, r.state, r.channel, COALESCE(r.ended_at, r.due_at) AS at
FROM reminded_certificates x JOIN reminders r ON r.id = x.reminder
WHERE x.certificate = :certificate AND r.customer = :customer ORDER BY r.due_at
"""
_DEAD = "SELECT channel, version, why FROM unreachable_contacts WHERE customer = :customer AND since > :since"


class OwnReminderRepository:
    """Implements `ra.reminders.own.OwnReminderRows`."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    async def of(self, customer: CustomerId, certificate: str, dead_since: datetime) -> OwnRows:
        """As `OwnReminderRows.of`."""

        def script() -> Script[OwnRows]:
            told = yield query(_TOLD, customer=customer, certificate=certificate)
            dead = yield query(_DEAD, customer=customer, since=ms(dead_since))
            returned = frozenset(_version(row) for row in dead if row["why"] == RETURNED)
            return OwnRows(tuple(map(_told, told)), frozenset(map(_version, dead)) - returned, returned)

        return await self._engine.read(script)


def _version(row: Row) -> tuple[Channel, int]:
    return Channel(row["channel"]), int(row["version"])


def _told(row: Row) -> ToldReminder:
    channel = None if row["channel"] is None else Channel(row["channel"])
    return ToldReminder(Step.of(row["step"]), ReminderState(row["state"]), moment(row["at"]), channel)
