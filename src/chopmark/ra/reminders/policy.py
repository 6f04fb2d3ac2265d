"""The firm's rules for when customers are reminded that a certificate ends, as data. Pure."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import time, timedelta

from chopmark.core.types import Channel

OPENING_WORD = "opening"
LAST_WORD = "last"
_MOST_URGENT = 1000
DEAD_FOR = timedelta(days=60)
"""After this time a contact that a gateway reported as dead is tried again. A changed contact is tried at once."""


@dataclass(frozen=True, slots=True, order=False)
class Step:
    """One step of a certificate's reminders: a number of days before its last trading day, or when its renewal opens.

    `days` is None for the opening of the renewal window and 0 for the last trading day itself.
    """

    days: int | None

    def __post_init__(self) -> None:
        if self.days is not None and not 0 <= self.days <= 90:
            raise ValueError("a reminder comes 0 to 90 days before the last trading day")

    @property
    def word(self) -> str:
        """The step as it is stored: `opening`, the number of days, or `last`."""
        if self.days is None:
            return OPENING_WORD
        return str(self.days) if self.days else LAST_WORD

    @property
    def urgency(self) -> int:
        """A number that rises from the first step to the last one."""
        return 0 if self.days is None else _MOST_URGENT - self.days

    @classmethod
    def of(cls, word: str) -> "Step":
        """Return the step of a stored word."""
        return {OPENING_WORD: OPENING, LAST_WORD: LAST}.get(word) or cls(int(word))


OPENING = Step(None)
LAST = Step(0)


@dataclass(frozen=True, slots=True)
class Hours:
    """Hours of a day in Taiwan, from `begin` until just before `end`."""

    begin: time
    end: time

    def __post_init__(self) -> None:
        if not self.begin < self.end:
            raise ValueError("hours begin before they end, on the same day")


@dataclass(frozen=True, slots=True)
class ReminderPolicy:
    """The firm's rules for reminders.

    Messages go out only in the hours `sending`, and not in the hours `rush`, before and during the session, when a
    message would bring all customers to the portal at the same time.
    """

    days: tuple[int, ...] = (14, 7, 3, 1)
    sending: Hours = Hours(time(13, 40), time(20, 0))
    rush: Hours | None = Hours(time(8, 30), time(13, 35))
    capacity: int = 20_000
    """The most customers reminded on a day, because the portal can serve so many. Urgent steps may exceed it."""
    per_minute: int = 300
    early: tuple[Channel, ...] = (Channel.EMAIL, Channel.MOBILE)
    urgent: tuple[Channel, ...] = (Channel.MOBILE, Channel.EMAIL)
    urgent_days: int = 3
    """From so many days before the last trading day on, steps are urgent: the channels `urgent` are used, and neither a
    pause nor the capacity delays the message.
    """
    left: timedelta = timedelta(hours=2)
    """The shortest time from a message to the end of the certificate, so that the customer can still renew."""
    gateway_percent: int = 50
    """The share of a gateway's daily limits that reminders may use. The rest is kept for codes."""

    def __post_init__(self) -> None:
        if not self.early or not self.urgent:
            raise ValueError("reminders need a channel")
        if not self.hours:
            raise ValueError("no hours are left in which reminders may be sent")
        if self.capacity < 1 or self.per_minute < 1:
            raise ValueError("capacity and messages per minute are at least 1")

    @property
    def steps(self) -> tuple[Step, ...]:
        """All steps, the first one first."""
        before = (Step(days) for days in sorted({days for days in self.days if days > 0}, reverse=True))
        return (OPENING, *before, LAST)

    @property
    def hours(self) -> tuple[Hours, ...]:
        """The hours of a day in which reminders are sent: `sending` without `rush`."""
        begin, end, rush = self.sending.begin, self.sending.end, self.rush
        if rush is None or rush.end <= begin or end <= rush.begin:
            return (self.sending,)
        before = (Hours(begin, rush.begin),) if begin < rush.begin else ()
        after = (Hours(rush.end, end),) if rush.end < end else ()
        return (*before, *after)

    def is_urgent(self, step: Step) -> bool:
        """Tell whether the step is within the last `urgent_days`."""
        return step.days is not None and step.days <= self.urgent_days

    def channels(
        self, step: Step, wanted: Channel | None = None, returned: Collection[Channel] = ()
    ) -> Sequence[Channel]:
        """Return the channels in the order in which they are tried; the one that the customer wants comes first.

        Those from which the last message came back come last, even where the customer wants one of them.
        """
        ours = self.urgent if self.is_urgent(step) else self.early
        return sorted(ours, key=lambda channel: (channel in returned, wanted is not None and channel is not wanted))
