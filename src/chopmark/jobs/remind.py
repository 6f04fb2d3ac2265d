"""Sending reminders: claim those that are due, write each one, hand it over, and close it.

Reminders have a queue, a rate and gateways' limits of their own and wait while a code waits, so that no code is late
because of them. What may have been sent is never sent again: a lost answer and a process that ended in the middle close
the reminder as unknown.
"""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final, Protocol

from chopmark.core.clock import Clock
from chopmark.core.types import Channel, CustomerId, Secret
from chopmark.identity.ports import ContactRow
from chopmark.messaging.attempts import Fate
from chopmark.messaging.failover import Router
from chopmark.messaging.ports import FaultReason, GatewayFault, Message, Purpose, Receipt, Verdict
from chopmark.messaging.reminders import Ends, calendar_entry, write_reminder
from chopmark.messaging.templates import Language, Sender
from chopmark.ra.former_renewal import known_doubt
from chopmark.ra.reminders.plan import may_send_at
from chopmark.ra.reminders.policy import DEAD_FOR, Step
from chopmark.ra.reminders.ports import (
    NO_WISHES,
    LivingCertificate,
    Outcome,
    Reminder,
    ReminderPapers,
    ReminderQueue,
    ReminderRules,
    ReminderState,
    Why,
)
from chopmark.tw.trading_days import opens
from chopmark.tw.zone import local_date

BATCH: Final = 10
"""So few are sent at a time: a gateway's connections are there for codes first."""
SWEPT: Final = 200
EVERY_S: Final = 5.0
MOST_ATTEMPTS: Final = 8
PATIENCE: Final = 3
"""After so many attempts at one channel the other one is tried as well."""
LONGEST_WAIT: Final = timedelta(minutes=30)
LIFE: Final = timedelta(days=1)
_DEAD = frozenset({FaultReason.DESTINATION, FaultReason.BARRED})


class Opener(Protocol):
    """Opens sealed contacts: `identity.people.People`."""

    def opened(self, row: ContactRow) -> Secret:
        """Return the address or number that messages are sent to."""
        ...


@dataclass(frozen=True, slots=True)
class _Way:
    """A contact that can be tried, or why there is none on this channel."""

    channel: Channel
    contact: ContactRow | None
    why_not: str = ""


class Reminding:
    """Sends due reminders. Any number of workers may do so at once."""

    def __init__(
        self,
        queue: ReminderQueue,
        rules: ReminderRules,
        people: Opener,
        router: Router,
        sender: Sender,
        clock: Clock,
        holder: str,
    ) -> None:
        self._queue = queue
        self._rules = rules
        self._people = people
        self._router = router
        self._sender = sender
        self._clock = clock
        self._holder = holder

    async def once(self) -> int:
        """Send a batch of what is due, within the sending hours; return how many reminders were closed or claimed."""
        policy, now = self._rules.policy, self._clock.now()
        if not may_send_at(policy, now):
            return 0
        today, urgent = local_date(now), Step(policy.urgent_days)
        claimed = await self._queue.claim(self._holder, now, today, urgent, most=BATCH, per_minute=policy.per_minute)
        if claimed:
            papers = await self._queue.papers(claimed, now)
            ends = await asyncio.gather(*(self._one(one, papers, now) for one in claimed), return_exceptions=True)
            for failure in (end for end in ends if end is not None):
                raise failure  # only now: the other reminders of the batch are closed
        if len(claimed) == BATCH:
            return BATCH
        # What is due and was not claimed is not to be sent, or has to wait.
        return len(claimed) + await self._queue.sweep(now, today, urgent, SWEPT)

    async def _one(self, reminder: Reminder, papers: ReminderPapers, now: datetime) -> None:
        # 1. What an earlier attempt left behind decides first: perhaps the customer has the message already.
        earlier = _earlier(reminder, papers)
        if earlier is not None:
            await self._end(reminder, earlier)
            return
        # 2. The message is about all certificates that can be renewed now; one that was replaced is not among them.
        living = [one for one in papers.living.get(reminder.customer, ()) if self._rules.opens(one.not_after) <= now]
        if not living:
            await self._end(reminder, Outcome(ReminderState.STOPPED))
            return
        # 3. Each contact that can carry it is tried, until one takes it or may have taken it.
        ways = self._ways(reminder, papers, now)
        usable = [(way.channel, way.contact) for way in ways if way.contact is not None]
        if not usable:
            await self._end(reminder, Outcome(ReminderState.UNREACHABLE, ways[0].why_not))
            return
        await self._try(reminder, usable, living, papers)

    async def _try(
        self,
        reminder: Reminder,
        usable: Sequence[tuple[Channel, ContactRow]],
        living: Sequence[LivingCertificate],
        papers: ReminderPapers,
    ) -> None:
        faults: list[GatewayFault] = []
        for channel, contact in usable:
            outcome = await self._hand_over(reminder, contact, living, papers)
            if isinstance(outcome, Receipt):
                told = len(living)
                sent = Outcome(ReminderState.SENT, None, channel, contact.version, outcome.gateway, told)
                await self._end(reminder, sent)
                return
            if outcome.verdict is Verdict.UNKNOWN:
                unknown = Outcome(ReminderState.UNKNOWN, outcome.named.value, channel, contact.version)
                await self._end(reminder, unknown)
                return
            faults.append(outcome)
            if outcome.reason in _DEAD:
                await self._queue.dead(reminder.customer, channel, contact.version, outcome.reason, self._clock.now())
            if outcome.retryable and reminder.attempts < PATIENCE:
                break
        await self._not_taken(reminder, faults)

    async def _not_taken(self, reminder: Reminder, faults: Sequence[GatewayFault]) -> None:
        """Try again later where that may help; otherwise close the reminder with the reason."""
        now = self._clock.now()
        later = [fault for fault in faults if fault.retryable]
        if later and reminder.attempts < MOST_ATTEMPTS:
            wait = min(LONGEST_WAIT, timedelta(seconds=15 * 2**reminder.attempts))
            await self._queue.retry(reminder, self._holder, now + wait)
            return
        last = (later or list(faults))[-1]
        dead = all(fault.reason in _DEAD for fault in faults)
        state = ReminderState.UNREACHABLE if dead else ReminderState.FAILED
        await self._end(reminder, Outcome(state, last.named.value))

    async def _hand_over(
        self,
        reminder: Reminder,
        contact: ContactRow,
        living: Sequence[LivingCertificate],
        papers: ReminderPapers,
    ) -> Receipt | GatewayFault:
        now = self._clock.now()
        apply = await self._must_apply(living, papers, now)
        try:
            return await self._router.send(self._message(reminder, contact, living, papers, now, apply=apply), now)
        except GatewayFault as fault:
            return fault

    async def _must_apply(self, living: Sequence[LivingCertificate], papers: ReminderPapers, now: datetime) -> bool:
        """Tell whether the customer has to apply: the one that ends last, which a renewal would prove, cannot."""
        proving = max(living, key=lambda one: (one.not_after, one.id))
        if proving.former is None:
            return False
        der = papers.imported[proving.id]
        return await known_doubt(self._rules.former, proving.former, der, now) is not None

    def _message(
        self,
        reminder: Reminder,
        contact: ContactRow,
        living: Sequence[LivingCertificate],
        papers: ReminderPapers,
        now: datetime,
        *,
        apply: bool,
    ) -> Message:
        wishes = papers.wishes.get(reminder.customer, NO_WISHES)
        language = Language.EN if wishes.language == Language.EN.value else Language.ZH
        first = min(living, key=lambda one: (one.not_after, one.id))
        last = self._rules.calendar.last_trading_day_within(first.not_after)
        over = opens(last) <= now and last < local_date(now)
        ends = Ends(last, local_date(first.not_after), len(living), over, apply)
        last3 = None if first.account is None else first.account[-3:]
        written = write_reminder(self._sender, language, contact.channel, ends, account_last3=last3)
        mail = contact.channel is Channel.EMAIL and not ends.over
        return Message(
            message_id=reminder.id,
            channel=contact.channel,
            destination=self._people.opened(contact),
            subject=written.subject,
            text=written.text,
            purpose=Purpose.REMINDER,
            at=reminder.begun_at,
            ttl_s=int(min(LIFE, max(timedelta(seconds=1), reminder.until - reminder.begun_at)).total_seconds()),
            customer=reminder.customer,
            attachment=calendar_entry(self._sender, language, first.id, ends, reminder.begun_at) if mail else None,
            handed_at=now,
        )

    def _ways(self, reminder: Reminder, papers: ReminderPapers, now: datetime) -> list[_Way]:
        """Return the channels in their order, each with its contact or with why there is none."""
        wanted = papers.wishes.get(reminder.customer, NO_WISHES).channel
        channels = self._rules.policy.channels(reminder.step, wanted)
        return [_way(channel, reminder.customer, papers, now) for channel in channels]

    async def _end(self, reminder: Reminder, outcome: Outcome) -> None:
        await self._queue.end(reminder, self._holder, outcome, self._clock.now())


def _way(channel: Channel, customer: CustomerId, papers: ReminderPapers, now: datetime) -> _Way:
    contact = next((one for one in papers.contacts if one.customer == customer and one.channel is channel), None)
    if contact is None:
        return _Way(channel, None, Why.NO_CONTACT.value)
    if contact.disputed_at is not None:
        return _Way(channel, None, Why.DISPUTED.value)
    for dead in papers.dead:
        same = (dead.customer, dead.channel, dead.version) == (customer, channel, contact.version)
        if same and now < dead.since + DEAD_FOR:
            return _Way(channel, None, dead.why)
    return _Way(channel, contact)


def _earlier(reminder: Reminder, papers: ReminderPapers) -> Outcome | None:
    """Return what an earlier attempt means for this one: None if nothing was handed over for certain."""
    attempts = papers.attempts.get(reminder.id, ())
    taken = next((one for one in attempts if one.fate is Fate.TAKEN), None)
    if taken is not None:
        return Outcome(ReminderState.SENT, gateway=taken.gateway)
    if any(one.fate in {Fate.BEGUN, Fate.UNKNOWN} for one in attempts):
        return Outcome(ReminderState.UNKNOWN, Why.CRASHED.value)
    return None
