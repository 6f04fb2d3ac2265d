"""What reminders read and write: living certificates, planned reminders, and what is known of the customers."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from enum import StrEnum
from typing import Protocol

from chopmark.audit.record import AuditRecord
from chopmark.core.types import AccountNumber, Channel, CustomerId
from chopmark.identity.ports import ContactRow
from chopmark.messaging.attempts import Attempt
from chopmark.messaging.ports import FaultReason
from chopmark.ra.reminders.policy import ReminderPolicy, Step
from chopmark.tw.trading_days import TradingCalendar


@dataclass(frozen=True, slots=True)
class ReminderRules:
    """The firm's rules, the trading days, and when the renewal window of a certificate that ends then opens."""

    policy: ReminderPolicy
    calendar: TradingCalendar
    opens: Callable[[datetime], datetime]


class ReminderState(StrEnum):
    """The states of a reminder; all but the first are final."""

    PLANNED = "planned"
    SENT = "sent"
    UNKNOWN = "unknown"
    """Perhaps sent: an answer was lost, a process ended in the middle, or the database was restored. Never repeated."""
    FAILED = "failed"
    UNREACHABLE = "unreachable"
    """The customer has no contact that works."""
    STOPPED = "stopped"
    """Its certificates were replaced or revoked, or ended."""
    SKIPPED = "skipped"
    """A later one takes its place, or the customer has paused reminders."""


class Why(StrEnum):
    """Why a reminder was not sent, beside the reasons of gateways."""

    LATE = "late"
    PAUSED = "paused"
    RESTORED = "restored"
    NO_CONTACT = "no_contact"
    DISPUTED = "disputed"
    CRASHED = "crashed"


@dataclass(frozen=True, slots=True)
class LivingCertificate:
    """A certificate that its customer trades with and that nothing has replaced; `id` is a serial or a fingerprint."""

    id: str
    customer: CustomerId
    not_after: datetime
    account: AccountNumber | None


@dataclass(frozen=True, slots=True)
class ToldStep:
    """A step of a certificate that has its reminder: the day of that reminder, and whether it still waits."""

    certificate: str
    step: Step
    day: date
    waiting: bool


@dataclass(frozen=True, slots=True)
class Known:
    """What a batch of customers has: living certificates, days with a reminder (True: it still waits), told steps."""

    living: Mapping[CustomerId, Sequence[LivingCertificate]]
    days: Mapping[CustomerId, Mapping[date, bool]]
    told: Sequence[ToldStep]


@dataclass(frozen=True, slots=True)
class Placed:
    """One step of one certificate, on the day that it is to be told. `state` is PLANNED, or UNKNOWN after a restore."""

    id: str
    customer: CustomerId
    certificate: str
    step: Step
    day: date
    earliest: date
    due_at: datetime
    until: datetime
    state: ReminderState = ReminderState.PLANNED


@dataclass(frozen=True, slots=True)
class Reminder:
    """A reminder that this process has leased; `id` is the message id, `attempts` counts the claims, this one too."""

    id: str
    customer: CustomerId
    day: date
    step: Step
    until: datetime
    attempts: int
    begun_at: datetime


@dataclass(frozen=True, slots=True)
class Wishes:
    """What a customer asked for; None: nothing."""

    channel: Channel | None = None
    language: str | None = None
    paused_until: datetime | None = None


NO_WISHES = Wishes()


@dataclass(frozen=True, slots=True)
class DeadContact:
    """A contact of which a gateway said that nothing arrives there."""

    customer: CustomerId
    channel: Channel
    version: int
    why: str
    since: datetime


@dataclass(frozen=True, slots=True)
class ReminderPapers:
    """What the messages of a batch are made of, read at one moment."""

    contacts: Sequence[ContactRow]
    dead: Sequence[DeadContact]
    wishes: Mapping[CustomerId, Wishes]
    living: Mapping[CustomerId, Sequence[LivingCertificate]]
    attempts: Mapping[str, Sequence[Attempt]]


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of a reminder."""

    state: ReminderState
    why: str | None = None
    channel: Channel | None = None
    contact_version: int | None = None
    gateway: str | None = None
    certificates: int | None = None


class ReminderPlans(Protocol):
    """The store's side of planning. One process at a time plans: each change needs the lease."""

    async def begin(self, holder: str, now: datetime) -> bool:
        """Take the lease of planning; False when another process has it."""
        ...

    async def done(self) -> str | None:
        """Return the mark of the last plan that was finished."""
        ...

    async def mark(self, mark: str) -> None:
        """Store the mark of a plan that was finished."""
        ...

    async def restored(self) -> date | None:
        """Return the day of the last restore; what may have been sent until then is never sent again."""
        ...

    async def untold(
        self, step: Step, ends: tuple[datetime, datetime], after: LivingCertificate | None, most: int
    ) -> list[LivingCertificate]:
        """Return living certificates of which the step has no reminder and that end in this span, in their order."""
        ...

    async def known(self, customers: Sequence[CustomerId], today: date, now: datetime) -> Known:
        """Return what these customers have."""
        ...

    async def loads(self, today: date) -> dict[date, dict[int, int]]:
        """Return how many reminders each day has from today on, by their urgency."""
        ...

    async def place(self, placed: Sequence[Placed], holder: str, now: datetime) -> bool:
        """Store the steps with their reminders; False, and nothing stored, without the lease."""
        ...

    async def release(self, day: date, below: Step, most: int, holder: str, now: datetime) -> list[int] | None:
        """Delete waiting reminders of a day that are less urgent than `below`, the least urgent first.

        Return their urgencies; None without the lease. Their steps are planned anew.
        """
        ...


class ReminderQueue(Protocol):
    """The store's side of sending. A claim is a lease, and the guard: who is claimed has a living certificate."""

    async def sweep(self, now: datetime, today: date, urgent: Step, most: int) -> int:
        """Close due reminders that are not to be sent: replaced, too late, paused. Return how many."""
        ...

    async def claim(
        self, holder: str, now: datetime, today: date, urgent: Step, *, most: int, per_minute: int
    ) -> list[Reminder]:
        """Lease due reminders, urgent ones first. None are leased while a code waits to be sent.

        In a minute all processes together lease at most `per_minute`.
        """
        ...

    async def papers(self, reminders: Sequence[Reminder], now: datetime) -> ReminderPapers:
        """Return what the messages of these reminders are made of."""
        ...

    async def end(self, reminder: Reminder, holder: str, outcome: Outcome, now: datetime) -> bool:
        """Close a reminder; False when the lease is lost."""
        ...

    async def retry(self, reminder: Reminder, holder: str, at: datetime) -> bool:
        """Give a reminder back, due again at `at`; False when the lease is lost."""
        ...

    async def dead(self, customer: CustomerId, channel: Channel, version: int, why: FaultReason, now: datetime) -> None:
        """Note that nothing arrives at this version of a contact."""
        ...


class ReminderPreferences(Protocol):
    """What customers asked for."""

    async def of(self, customer: CustomerId) -> Wishes:
        """Return what the customer asked for."""
        ...

    async def put(self, customer: CustomerId, wishes: Wishes, now: datetime, record: AuditRecord) -> None:
        """Store what the customer asks for from now on, with its record."""
        ...
