"""What step-up needs stored: challenges, and the failures of each customer. Each method is one transaction."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final, Protocol

from chopmark.audit.record import AuditRecord
from chopmark.core.refusal import Refusal
from chopmark.core.types import ActingLogin, ChallengeId, CustomerId, OrderId
from chopmark.limits.rate_limits import RateLimit
from chopmark.messaging.ports import OutboxJob
from chopmark.stepup.challenge import Challenge

CODE: Final = "code"
"""The lock for codes: failures of one customer count together, whatever the channel, order or operation."""


@dataclass(frozen=True, slots=True)
class FailureLimits:
    """How many failures a customer may have, within `window` and altogether, before the lock is shut.

    Only staff can open the lock again.
    """

    in_window: int
    window: timedelta
    ever: int


@dataclass(frozen=True, slots=True)
class Charged:
    """Permission to compare one answer; `challenge` already counts this attempt."""

    challenge: Challenge


@dataclass(frozen=True, slots=True)
class SendLimits:
    """How often codes may be sent.

    For an order at most `per_order` codes may be sent within `span`. Codes for other orders of the customer that came
    to nothing count as well.
    """

    per_order: int
    span: timedelta
    limits: tuple[RateLimit, ...]


@dataclass(frozen=True, slots=True)
class Stop:
    """A reference with which the customer can stop the order, until `until`; only its keyed hash is stored."""

    order: OrderId
    reference_hash: str
    until: datetime


@dataclass(frozen=True, slots=True)
class Sequel:
    """What else is stored in the transaction in which a right code is accepted.

    When the order needs the codes of both channels, this code is the second one if the first was right after
    `first_since`. When the order must wait after its first code, it expires `order_life` after the wait.
    """

    works: tuple[OutboxJob, ...] = ()
    stop: Stop | None = None
    first_since: datetime | None = None
    order_life: timedelta = timedelta(0)


class Challenges(Protocol):
    """Keeps challenges; each decision is one conditional statement, so that parallel requests cannot get past it."""

    async def open(
        self,
        challenge: Challenge,
        acting: ActingLogin,
        limits: SendLimits,
        work: OutboxJob,
        record: AuditRecord,
        no: AuditRecord,
    ) -> Refusal | None:
        """Store a challenge and its message together, and end the order's earlier challenge.

        Refused, with the record `no`, when codes were sent too often or too recently, when the customer's lock for
        codes is shut, or when the order is not waiting for a code of this login.
        """
        ...

    async def latest(self, order: OrderId) -> tuple[Challenge, int] | None:
        """Return the order's newest challenge and how many were sent for it."""
        ...

    async def get(self, challenge: ChallengeId) -> Challenge | None:
        """Return a challenge by id."""
        ...

    async def charge(
        self,
        challenge: Challenge,
        limits: FailureLimits,
        now: datetime,
        record: AuditRecord,
        no: AuditRecord,
        notices: tuple[OutboxJob, ...] = (),
    ) -> Charged | Refusal:
        """Count one attempt of the challenge and one failure of the customer, before comparing (I10, I11, I13).

        When no failure is left, refuse and shut the lock. The call that shuts it queues `notices`.
        """
        ...

    async def right(
        self,
        challenge: Challenge,
        acting: ActingLogin,
        now: datetime,
        sequel: Sequel,
        record: AuditRecord,
        no: AuditRecord,
    ) -> Refusal | None:
        """Consume the challenge, mark its order coded by this login, do `sequel`, take the failure back; once (I12).

        Refused when the challenge was consumed or has ended. Refused, with the record `no`, when the order is not at
        this step any more or the login does not hold its key.
        """
        ...

    async def wrong(
        self,
        challenge: Challenge,
        limits: FailureLimits,
        now: datetime,
        notices: tuple[OutboxJob, ...],
        record: AuditRecord,
    ) -> bool:
        """Record that the code was wrong; return whether this call has shut the lock for codes.

        Then `notices` are queued.
        """
        ...


class Failures(Protocol):
    """Counts failures for factors without a challenge: the birth date."""

    async def charge(
        self,
        customer: CustomerId,
        factor: str,
        limits: FailureLimits,
        now: datetime,
        notices: tuple[OutboxJob, ...],
        record: AuditRecord,
    ) -> Refusal | None:
        """Count one failure before anything is compared.

        When no failure is left, refuse, with `record`, and shut the lock. The call that shuts it queues `notices`.
        """
        ...

    async def wrong(
        self,
        customer: CustomerId,
        factor: str,
        limits: FailureLimits,
        now: datetime,
        notices: tuple[OutboxJob, ...],
        record: AuditRecord,
    ) -> bool:
        """Record that an answer that was charged is wrong; return whether this call has shut the factor's lock.

        Then `notices` are queued.
        """
        ...

    async def held(self, customer: CustomerId) -> dict[str, str]:
        """Return the customer's locks that are shut (`CODE`, "birth_date"), each with the reason."""
        ...

    async def release(
        self, customer: CustomerId, now: datetime, record: AuditRecord, notices: tuple[OutboxJob, ...]
    ) -> int:
        """Open every lock of a customer, and reset their failures and sent codes; return how many locks were shut."""
        ...
