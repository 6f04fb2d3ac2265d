"""What customers see of their own reminders, and what they can set: a channel, and a pause while they are away.

A pause ends before the urgent steps. Nobody can turn those off, because a customer whose certificate ends cannot sell.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Protocol

from chopmark.audit.events import Event
from chopmark.audit.log import RecordBuilder
from chopmark.audit.record import AuditRecord, customer_stream
from chopmark.core.refusal import Kind, Refusal, Refused
from chopmark.core.types import CertificateState, Channel, CustomerId, text
from chopmark.identity.ports import ContactRow
from chopmark.ra.context import Caller, RaContext
from chopmark.ra.policy import renewal_opens
from chopmark.ra.ports import SubscriberCertificate
from chopmark.ra.reminders.plan import Ending, timeline
from chopmark.ra.reminders.policy import DEAD_FOR, ReminderPolicy, Step
from chopmark.ra.reminders.ports import ReminderPreferences, ReminderState, Wishes
from chopmark.ra.snapshots import CustomerSnapshot, present_of
from chopmark.tw.trading_days import TradingCalendar
from chopmark.tw.zone import local_date, local_midnight


@dataclass(frozen=True, slots=True)
class ToldReminder:
    """The stored reminder of one step of a certificate, planned or closed. `at` is when it is due or was closed.

    `channel` is None until the reminder is sent.
    """

    step: Step
    state: ReminderState
    at: datetime
    channel: Channel | None


@dataclass(frozen=True, slots=True)
class OwnRows:
    """What the store has of a customer's reminders.

    `dead` are versions of contacts at which nothing arrives, and `returned` those whose last message came back.
    """

    told: Sequence[ToldReminder]
    dead: Collection[tuple[Channel, int]]
    returned: Collection[tuple[Channel, int]] = ()


class OwnReminderRows(Protocol):
    """Reads one customer's reminders."""

    async def of(self, customer: CustomerId, certificate: str, dead_since: datetime) -> OwnRows:
        """Return the reminders of a certificate (serial or fingerprint), and contacts reported dead since then."""
        ...


@dataclass(frozen=True, slots=True)
class ReminderLine:
    """One step as the page shows it: what was sent, or what will be sent, when and by which channel.

    `channel` is None if no contact can be reached. `paused`: not sent, because of the customer's pause.
    """

    step: Step
    at: datetime
    state: ReminderState
    channel: Channel | None
    paused: bool = False


@dataclass(frozen=True, slots=True)
class OwnReminders:
    """The reminders of a customer's present certificate, and what the customer can set."""

    present: SubscriberCertificate | None
    lines: tuple[ReminderLine, ...]
    wishes: Wishes
    channels: tuple[Channel, ...]
    """The channels by which the customer can be reached."""
    pauses: tuple[date, ...]
    """The days that may be chosen as the end of a pause, and that leave a reminder out. The last one is the day of
    the first urgent step.
    """


_SPANS = (7, 14, 21, 28)


class CustomerReminders:
    """Shows customers their reminders, and stores what they set."""

    def __init__(
        self,
        context: RaContext,
        policy: ReminderPolicy,
        calendar: TradingCalendar,
        rows: OwnReminderRows,
        preferences: ReminderPreferences,
    ) -> None:
        self._context = context
        self._policy = policy
        self._calendar = calendar
        self._rows = rows
        self._preferences = preferences

    async def shown(self, caller: Caller) -> OwnReminders:
        """Return the reminders of the caller's present certificate."""
        snapshot = await self._context.customer_snapshot(caller)
        now = self._context.now()
        present = present_of(snapshot.certificates, self._context.policy.profile, now)
        wishes = await self._preferences.of(caller.customer)
        if present is None or present.state is not CertificateState.ACTIVE or now > present.not_after:
            return OwnReminders(None, (), wishes, self._reached(snapshot, ()), ())
        rows = await self._rows.of(caller.customer, present.serial, now - DEAD_FOR)
        channels = self._reached(snapshot, rows.dead)
        returned = {one.channel for one in snapshot.contacts if (one.channel, one.version) in rows.returned}
        lines = self._lines(caller.customer, present, rows, wishes, channels, returned, now)
        return OwnReminders(present, lines, wishes, channels, self._pauses(present, lines, now))

    async def ask(self, caller: Caller, channel: Channel | None, paused_until: date | None) -> None:
        """Store the channel and the pause that the caller wants. None: the channel that the firm chooses; no pause.

        Raises Refused (MALFORMED) if the pause would suppress the urgent reminders, or is over already.
        """
        snapshot = await self._context.customer_snapshot(caller)
        now = self._context.now()
        present = present_of(snapshot.certificates, self._context.policy.profile, now)
        if paused_until is not None:
            last = None if present is None else self._last_pause(present)
            if last is None or not local_date(now) < paused_until <= last:
                raise Refused(Refusal(Kind.MALFORMED, _NO_SUCH_PAUSE, field="paused_until", code="pause"))
        until = None if paused_until is None else local_midnight(paused_until)
        wishes = Wishes(channel, caller.language, until)

        async def attempt(builder: RecordBuilder) -> AuditRecord:
            record = builder.record(
                Event.RA_REMINDERS_ASKED,
                customer=caller.customer,
                channel=None if channel is None else channel.value,
                paused_until=None if paused_until is None else paused_until.isoformat(),
                login=caller.login,
            )
            await self._preferences.put(caller.customer, wishes, now, record)
            return record

        await self._context.audit_log.write(customer_stream(caller.customer), attempt)

    def _reached(self, snapshot: CustomerSnapshot, dead: Collection[tuple[Channel, int]]) -> tuple[Channel, ...]:
        usable = {one.channel for one in snapshot.contacts if _is_usable(one, dead)}
        both = dict.fromkeys((*self._policy.early, *self._policy.urgent))
        return tuple(channel for channel in both if channel in usable and channel in self._context.policy.channels)

    def _last_pause(self, present: SubscriberCertificate) -> date:
        """Return the day of the first urgent step."""
        last = self._calendar.last_trading_day_within(present.not_after)
        return last - timedelta(days=self._policy.urgent_days)

    def _pauses(self, present: SubscriberCertificate, lines: Sequence[ReminderLine], now: datetime) -> tuple[date, ...]:
        """Return days on which a pause would leave a reminder out: weeks from today, or from the first such reminder.

        A pause that changes nothing is not offered, and none at all once only the last reminders are left.
        """
        due = [
            local_date(line.at)
            for line in lines
            if line.state is ReminderState.PLANNED and not self._policy.is_urgent(line.step)
        ]
        if not due:
            return ()
        today, first, last = local_date(now), min(due), self._last_pause(present)

        def weeks_from(day: date) -> set[date]:
            after = {day + timedelta(days=span) for span in _SPANS}
            return {one for one in after if max(today, first) < one <= last}

        return tuple(sorted((weeks_from(today) or weeks_from(first)) | ({last} if max(today, first) < last else set())))

    def _lines(
        self,
        customer: CustomerId,
        present: SubscriberCertificate,
        rows: OwnRows,
        wishes: Wishes,
        channels: tuple[Channel, ...],
        returned: Collection[Channel],
        now: datetime,
    ) -> tuple[ReminderLine, ...]:
        """Return the stored reminders, and for all other steps what the plan foresees."""
        stored: Mapping[str, ToldReminder] = {one.step.word: one for one in rows.told}
        ending = Ending(present.not_after, renewal_opens(self._context.policy, present.not_after))
        planned = {step.word: at for step, at in timeline(self._policy, self._calendar, ending, customer, now)}
        lines = []
        for step in self._policy.steps:
            told, at = stored.get(step.word), planned.get(step.word)
            if told is not None and told.state is not ReminderState.PLANNED:
                lines.append(ReminderLine(step, told.at, told.state, told.channel))
                continue
            due = told.at if told is not None else at
            if due is None:
                continue
            paused = wishes.paused_until is not None and due < wishes.paused_until and not self._policy.is_urgent(step)
            order = self._policy.channels(step, wishes.channel, returned)
            channel = next((one for one in order if one in channels), None)
            lines.append(ReminderLine(step, due, ReminderState.PLANNED, channel, paused))
        return tuple(lines)


def _is_usable(contact: ContactRow, dead: Collection[tuple[Channel, int]]) -> bool:
    return contact.disputed_at is None and (contact.channel, contact.version) not in dead


_NO_SUCH_PAUSE = text("Please choose one of the days. The reminders of the last days cannot be paused.")
