"""What reminders read and write: living certificates, planned reminders, and what is known of the customers."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime
from enum import StrEnum
from typing import Protocol

from chopmark.audit.record import AuditRecord
from chopmark.core.types import AccountNumber, Channel, CustomerId
from chopmark.identity.ports import ContactRow
from chopmark.messaging.attempts import Attempt
from chopmark.messaging.ports import FaultReason
from chopmark.ra.former_issuers import FormerStatus, NoStatus
from chopmark.ra.imported import Former
from chopmark.ra.reminders.policy import ReminderPolicy, Step
from chopmark.tw.trading_days import TradingCalendar


@dataclass(frozen=True, slots=True)
class ReminderRules:
    """The firm's rules, the trading days, and `opens`, which returns when the renewal window of a certificate opens.

    `former` knows the status of imported certificates: where they cannot be renewed, a reminder says to apply.
    """

    policy: ReminderPolicy
    calendar: TradingCalendar
    opens: Callable[[datetime], datetime]
    former: FormerStatus = field(default_factory=NoStatus)


class ReminderState(StrEnum):
    """The states of a reminder; all but the first are final."""

    PLANNED = "planned"
    SENT = "sent"
    UNKNOWN = "unknown"
    """Perhaps sent: an answer was lost, a process died in the middle, or the database was restored. Not sent again."""
    FAILED = "failed"
    UNREACHABLE = "unreachable"
    """The customer has no contact at which messages arrive."""
    STOPPED = "stopped"
    """The certificates were replaced or revoked, or have ended."""
    SKIPPED = "skipped"
    """A later reminder replaces it, or the customer has paused reminders."""


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
    """A certificate that its customer trades with and that nothing has replaced; `id` is a serial or a fingerprint.

    `former` is its former issuer; None for one of ours.
    """

    id: str
    customer: CustomerId
    not_after: datetime
    account: AccountNumber | None
    former: Former | None = None


@dataclass(frozen=True, slots=True)
class ToldStep:
    """A step of a certificate that has a reminder: the day of that reminder, and whether it is still to be sent."""

    certificate: str
    step: Step
    day: date
    waiting: bool


@dataclass(frozen=True, slots=True)
class Known:
    """What is stored of some customers: living certificates, days with a reminder (True: unsent), steps with one."""

    living: Mapping[CustomerId, Sequence[LivingCertificate]]
    days: Mapping[CustomerId, Mapping[date, bool]]
    told: Sequence[ToldStep]


@dataclass(frozen=True, slots=True)
class Placed:
    """One step of one certificate with the day on which to send it. `state` is PLANNED, or UNKNOWN after a restore."""

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
    """A reminder that this process has leased. `id` is the message id; `attempts` counts the leases, with this one."""

    id: str
    customer: CustomerId
    day: date
    step: Step
    until: datetime
    attempts: int
    begun_at: datetime


@dataclass(frozen=True, slots=True)
class Wishes:
    """What a customer asked for. None: the customer did not choose."""

    channel: Channel | None = None
    language: str | None = None
    paused_until: datetime | None = None


NO_WISHES = Wishes()


@dataclass(frozen=True, slots=True)
class DeadContact:
    """A contact at which nothing arrives, as a gateway said."""

    customer: CustomerId
    channel: Channel
    version: int
    why: str
    since: datetime


@dataclass(frozen=True, slots=True)
class ReminderPapers:
    """All that is needed to write the messages of a batch, read in one transaction.

    `imported` has the DER of the living certificates of former issuers, by their ids.
    """

    contacts: Sequence[ContactRow]
    dead: Sequence[DeadContact]
    wishes: Mapping[CustomerId, Wishes]
    living: Mapping[CustomerId, Sequence[LivingCertificate]]
    imported: Mapping[str, bytes]
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
    """What planning needs from the store. One process at a time plans, because each change needs the lease."""

    async def begin(self, holder: str, now: datetime) -> bool:
        """Take the lease for planning; False if another process has it."""
        ...

    async def done(self) -> str | None:
        """Return the mark of the last finished plan (its hour)."""
        ...

    async def mark(self, mark: str) -> None:
        """Store the mark of a finished plan."""
        ...

    async def restored(self) -> date | None:
        """Return the day of the last restore. Reminders that may have been sent until then are never sent again."""
        ...

    async def untold(
        self, step: Step, ends: tuple[datetime, datetime], after: LivingCertificate | None, most: int
    ) -> list[LivingCertificate]:
        """Return living certificates that end in this span and have no reminder of this step, in a fixed order."""
        ...

    async def known(self, customers: Sequence[CustomerId], today: date, now: datetime) -> Known:
        """Return what is stored of these customers."""
        ...

    async def loads(self, today: date) -> dict[date, dict[int, int]]:
        """Return how many reminders each day from today on has, by urgency."""
        ...

    async def place(self, placed: Sequence[Placed], holder: str, now: datetime) -> bool:
        """Store the steps with their reminders. False, with nothing stored, if the lease was lost."""
        ...

    async def release(self, day: date, below: Step, most: int, holder: str, now: datetime) -> list[int] | None:
        """Delete unsent reminders of a day that are less urgent than `below`, the least urgent first.

        Return their urgencies, or None if the lease was lost. Their steps will be planned again.
        """
        ...


class ReminderQueue(Protocol):
    """What sending needs from the store. Only reminders of customers with a living certificate can be leased."""

    async def sweep(self, now: datetime, today: date, urgent: Step, most: int) -> int:
        """Close due reminders that must not be sent (replaced, too late, paused). Return how many were closed."""
        ...

    async def claim(
        self, holder: str, now: datetime, today: date, urgent: Step, *, most: int, per_minute: int
    ) -> list[Reminder]:
        """Lease due reminders, urgent ones first. None are leased while a code waits to be sent.

        All processes together lease at most `per_minute` in a minute.
        """
        ...

    async def papers(self, reminders: Sequence[Reminder], now: datetime) -> ReminderPapers:
        """Return what is needed to write the messages of these reminders."""
        ...

    async def end(self, reminder: Reminder, holder: str, outcome: Outcome, now: datetime) -> bool:
        """Close a reminder; False if the lease was lost."""
        ...

    async def retry(self, reminder: Reminder, holder: str, at: datetime) -> bool:
        """Release the lease, with the reminder due again at `at`; False if the lease was lost."""
        ...

    async def dead(self, customer: CustomerId, channel: Channel, version: int, why: FaultReason, now: datetime) -> None:
        """Store that nothing arrives at this version of a contact."""
        ...


class ReminderPreferences(Protocol):
    """Stores what customers asked for."""

    async def of(self, customer: CustomerId) -> Wishes:
        """Return what the customer asked for."""
        ...

    async def put(self, customer: CustomerId, wishes: Wishes, now: datetime, record: AuditRecord) -> None:
        """Store what the customer asks for from now on, and append the record."""
        ...
