"""What step-up needs kept: challenges and the failure ledger. Each method is one transaction."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Protocol

from chopmark.audit.leaf import Leaf
from chopmark.errors import Refusal
from chopmark.limits.budgets import Budget
from chopmark.post.ports import Work
from chopmark.stepup.challenge import Challenge
from chopmark.words import ActingLogin, ChallengeId, CustomerId, OrderId


@dataclass(frozen=True, slots=True)
class FailureLimits:
    """How many failures a customer and factor may have: in a window, and ever, before a person must help."""

    in_window: int
    window: timedelta
    ever: int


@dataclass(frozen=True, slots=True)
class Charged:
    """Permission to compare once: what the code is derived from, and how many attempts remain after this one."""

    challenge: Challenge


@dataclass(frozen=True, slots=True)
class SendLimits:
    """How often codes may be sent for one order."""

    per_order: int
    budgets: tuple[Budget, ...]


class Challenges(Protocol):
    """Keeps challenges; what decides is one conditional statement each."""

    async def open(
        self, challenge: Challenge, acting: ActingLogin, limits: SendLimits, work: Work, leaf: Leaf, no: Leaf
    ) -> Refusal | None:
        """Store a challenge and its message together, and end the order's earlier one.

        Refused, and recorded with `no`: sent too often or too soon, the factor is on hold, or the order is not
        waiting for a code of this login.
        """
        ...

    async def latest(self, order: OrderId) -> tuple[Challenge, int] | None:
        """Return the order's newest challenge and how many were sent for it."""
        ...

    async def get(self, challenge: ChallengeId) -> Challenge | None:
        """Return a challenge by id."""
        ...

    async def charge(
        self, challenge: Challenge, limits: FailureLimits, now: datetime, leaf: Leaf, no: Leaf
    ) -> Charged | Refusal:
        """Take one attempt and one failure from the budgets, before anything is compared (I10, I11, I13)."""
        ...

    async def right(
        self, challenge: Challenge, acting: ActingLogin, now: datetime, works: tuple[Work, ...], leaf: Leaf, no: Leaf
    ) -> Refusal | None:
        """Consume the challenge, mark its order coded by this login, queue `works`, give the failure back; once (I12).

        Refused, and recorded with `no`, where the order has moved on or the login does not hold its key.
        """
        ...

    async def wrong(
        self, challenge: Challenge, limits: FailureLimits, now: datetime, notices: tuple[Work, ...], leaf: Leaf
    ) -> bool:
        """Record that the code differed; return whether the factor is on hold from now on, and queue `notices` then."""
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
        leaf: Leaf,
    ) -> Refusal | None:
        """Take one failure from the budget before anything is compared.

        A refusal is recorded with `leaf`; the one that sets the hold queues `notices` too.
        """
        ...

    async def wrong(
        self,
        customer: CustomerId,
        factor: str,
        limits: FailureLimits,
        now: datetime,
        notices: tuple[Work, ...],
        leaf: Leaf,
    ) -> bool:
        """Record that a charged answer differed; return whether the factor is on hold from now on.

        The call that sets the hold queues `notices` too.
        """
        ...

    async def held(self, customer: CustomerId) -> dict[str, str]:
        """Return the factors on hold and why."""
        ...

    async def release(self, customer: CustomerId, leaf: Leaf, notices: tuple[Work, ...]) -> int:
        """Lift every hold of a customer and forget the failures; return how many holds were lifted."""
        ...
