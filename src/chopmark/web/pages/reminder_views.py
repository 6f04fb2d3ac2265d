"""The values that the page of reminders shows."""

from dataclasses import dataclass
from datetime import date, datetime
from typing import ClassVar

from chopmark.core.types import Channel
from chopmark.ra.reminders.ports import ReminderState
from chopmark.web.pages.views import Frame, Problem


@dataclass(frozen=True, slots=True)
class ReminderRow:
    """One reminder. `days` counts back from the last trading day (0: that day itself); None: when renewal opens.

    `channel` is None if it is not known yet or no contact can be reached. `paused`: not sent, because of the customer's
    pause.
    """

    days: int | None
    at: datetime
    state: ReminderState
    channel: Channel | None
    paused: bool = False

    @property
    def is_planned(self) -> bool:
        """Whether the reminder is still to be sent."""
        return self.state is ReminderState.PLANNED


@dataclass(frozen=True, slots=True)
class RemindersPage:
    """The reminders of the present certificate, and the form for channel and pause (fields `channel`, `paused_until`).

    `ends` is None if the customer has no certificate. `reached` are the channels by which the customer can be reached.
    """

    TEMPLATE: ClassVar[str] = "pages/reminders.html"
    frame: Frame
    ends: datetime | None
    rows: tuple[ReminderRow, ...] = ()
    reached: tuple[Channel, ...] = ()
    wanted: Channel | None = None
    pauses: tuple[date, ...] = ()
    paused_until: date | None = None
    problem: Problem | None = None
