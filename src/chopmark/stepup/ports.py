"""What step-up needs kept: challenges and the failure ledger. Each method is one transaction."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final, Protocol

from chopmark.audit.record import AuditRecord
from chopmark.core.refusal import Refusal
from chopmark.core.types import ActingLogin, ChallengeId, CustomerId, OrderId
from chopmark.limits.budgets import RateLimit
from chopmark.messaging.ports import Work
from chopmark.stepup.challenge import Challenge

CODE: Final = "code"
"""The failure rate limit and the lock of all codes of a customer, whatever channel, order and operation."""


@dataclass(frozen=True, slots=True)
class FailureLimits:
    """How many failures a customer may have at one lock: in a window, and ever, before a person must help."""

    in_window: int
    window: timedelta
    ever: int


@dataclass(frozen=True, slots=True)
class Charged:
    """Permission to compare once: what the code is derived from, and how many attempts remain after this one."""

    challenge: Challenge


@dataclass(frozen=True, slots=True)
class SendLimits:
    """How often codes may be sent: for one order, together with what came to nothing in others within `span`."""

    per_order: int
    span: timedelta
    limits: tuple[RateLimit, ...]


@dataclass(frozen=True, slots=True)
class Stop:
    """A reference that stops its order until then, as stored: by a keyed hash only."""

    order: OrderId
    reference_hash: str
    until: datetime


@dataclass(frozen=True, slots=True)
class Sequel:
    """What a right code sets in motion, in its own transaction.

    Where an order asks for two, this one is the second if the first was right after `first_since`. Where it waits from
    the first on, it lives for `order_life` after that.
    """

    works: tuple[Work, ...] = ()
    stop: Stop | None = None
    first_since: datetime | None = None
    order_life: timedelta = timedelta(0)


class Challenges(Protocol):
    """Keeps challenges; what decides is one conditional statement each."""

    async def open(
        self,
        challenge: Challenge,
        acting: ActingLogin,
        limits: SendLimits,
        work: Work,
        record: AuditRecord,
        no: AuditRecord,
    ) -> Refusal | None:
        """Store a challenge and its message together, and end the order's earlier one.

        Refused, and recorded with `no`: sent too often or too soon, codes are on hold, or the order is not waiting for
        a code of this login.
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
        notices: tuple[Work, ...] = (),
    ) -> Charged | Refusal:
        """Take one attempt and one failure from the rate limits, before anything is compared (I10, I11, I13).

        The call that finds no failure left and sets the hold queues `notices`.
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
        """Consume the challenge, mark its order coded by this login, do what follows, forgive the failure; once (I12).

        Refused, and recorded with `no`, where the order has moved on or the login does not hold its key.
        """
        ...

    async def wrong(
        self, challenge: Challenge, limits: FailureLimits, now: datetime, notices: tuple[Work, ...], record: AuditRecord
    ) -> bool:
        """Record that the code differed; return whether codes are on hold from now on, and queue `notices` then."""
        ...


class Failures(Protocol):
    """The failure ledger for factors without a challenge of their own: the birth date."""

    async def charge(
        self,
        customer: CustomerId,
        factor: str,
        limits: FailureLimits,
        now: datetime,
        notices: tuple[Work, ...],
        record: AuditRecord,
    ) -> Refusal | None:
        """Take one failure from the rate limit before anything is compared.

        A refusal is recorded with `record`; the one that sets the hold queues `notices` too.
        """
        ...

    async def wrong(
        self,
        customer: CustomerId,
        factor: str,
        limits: FailureLimits,
        now: datetime,
        notices: tuple[Work, ...],
        record: AuditRecord,
    ) -> bool:
        """Record that a charged answer differed; return whether the factor is on hold from now on.

        The call that sets the hold queues `notices` too.
        """
        ...

    async def held(self, customer: CustomerId) -> dict[str, str]:
        """Return the locks that are shut and why: `CODE`, "birth_date"."""
        ...

    async def release(self, customer: CustomerId, now: datetime, record: AuditRecord, notices: tuple[Work, ...]) -> int:
        """Open every lock of a customer and forget failures and sends; return how many locks were shut."""
        ...
