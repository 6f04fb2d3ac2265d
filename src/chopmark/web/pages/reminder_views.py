"""What the page of reminders is given."""

from dataclasses import dataclass
from datetime import date, datetime
from typing import ClassVar

from chopmark.core.types import Channel
from chopmark.ra.reminders.ports import ReminderState
from chopmark.web.pages.views import Frame, Problem


@dataclass(frozen=True, slots=True)
class ReminderRow:
    """One reminder. `days` before the last trading day, 0 on it; None: when renewal opens.

    `channel` is None where it is not known yet or no contact can be reached. `paused`: the pause leaves it out.
    """

    days: int | None
    at: datetime
    state: ReminderState
    channel: Channel | None
    paused: bool = False

    @property
    def is_planned(self) -> bool:
        """Whether it is still to be sent."""
        return self.state is ReminderState.PLANNED


@dataclass(frozen=True, slots=True)
class RemindersPage:
    """The reminders of the present certificate, and the form for channel and pause; posts `channel`, `paused_until`.

    `ends` is None where there is no certificate to be reminded of. `reached` are the channels that reach the customer.
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
