"""An order and its states. Pure: transitions return new values, time is an argument.

open -> bound (key) -> coded (right code) -> checked (birth date, if asked) -> submitted -> issued -> active;
a revocation goes open -> coded -> done. `coded` and `checked` lapse to `bound` (a revocation to `open`) after ten
minutes; an order that was never submitted ends after a day.
"""

from dataclasses import dataclass, replace
from datetime import datetime
from enum import StrEnum

from chopmark.errors import Kind, Refusal
from chopmark.ra.policy import Policy
from chopmark.words import (
    AccountNumber,
    Channel,
    CustomerId,
    FactorClass,
    KeyHome,
    Operation,
    OrderId,
    OrderState,
    Reason,
    Serial,
    text,
)

LIVE = frozenset(
    {
        OrderState.OPEN,
        OrderState.BOUND,
        OrderState.CODED,
        OrderState.CHECKED,
        OrderState.SUBMITTED,
        OrderState.PENDING,
        OrderState.ISSUED,
    }
)
BEFORE_SUBMISSION = frozenset({OrderState.OPEN, OrderState.BOUND, OrderState.CODED, OrderState.CHECKED})


DISPUTED = "contact_disputed"
"""How an order has ended whose customer said that a contact is not theirs."""


class Step(StrEnum):
    """What the customer does next; the page of the same name shows it."""

    KEY = "key"
    CHANNEL = "channel"
    BIRTH_DATE = "birth_date"
    REVIEW = "review"
    WAIT = "wait"
    INSTALL = "install"
    DONE = "done"
    ENDED = "ended"


@dataclass(frozen=True, slots=True)
class Order:
    """One wish for a certificate, or for the revocation of one. Moments are aware UTC."""

    id: OrderId
    customer: CustomerId
    operation: Operation
    account: AccountNumber
    profile: str
    key_home: KeyHome
    state: OrderState
    login_factors: frozenset[FactorClass]
    policy: str
    created_at: datetime
    expires_at: datetime
    birth_date_asked: bool
    reason: Reason | None = None
    nonce: bytes | None = None
    nonce_expires_at: datetime | None = None
    old_serial: Serial | None = None
    spki_sha256: str | None = None
    csr: bytes | None = None
    bound_at: datetime | None = None
    code_channel: Channel | None = None
    coded_at: datetime | None = None
    checked_at: datetime | None = None
    consent: str | None = None
    submitted_at: datetime | None = None
    serial: Serial | None = None
    issued_at: datetime | None = None
    activated_at: datetime | None = None
    ended: str | None = None

    def at(self, now: datetime, policy: Policy) -> "Order":
        """Return the order as it counts at `now`: lapsed approvals and the end of its day applied."""
        if self.state in BEFORE_SUBMISSION and now >= self.expires_at:
            return replace(self, state=OrderState.EXPIRED)
        if self.state in {OrderState.CODED, OrderState.CHECKED} and not self._fresh(now, policy):
            return replace(self, state=self.rest, coded_at=None, checked_at=None)
        return self

    def _fresh(self, now: datetime, policy: Policy) -> bool:
        return self.coded_at is not None and now < self.coded_at + policy.approval_life

    def bound(self, spki_sha256: str, csr: bytes, now: datetime, *, used_nonce: bool) -> "Order":
        """Return the order with a new key: what approved an earlier one is void."""
        return replace(
            self,
            state=OrderState.BOUND,
            spki_sha256=spki_sha256,
            csr=csr,
            bound_at=now,
            coded_at=None,
            checked_at=None,
            code_channel=None,
            nonce=None if used_nonce else self.nonce,
        )

    def coded(self, channel: Channel, now: datetime) -> "Order":
        """Return the order after the right code."""
        return replace(self, state=OrderState.CODED, code_channel=channel, coded_at=now, checked_at=None)

    def checked(self, now: datetime) -> "Order":
        """Return the order after the right birth date."""
        return replace(self, state=OrderState.CHECKED, checked_at=now)

    def submitted(self, consent: str, now: datetime) -> "Order":
        """Return the order after the customer's yes to these terms."""
        return replace(self, state=OrderState.SUBMITTED, consent=consent, submitted_at=now)

    def issued(self, serial: Serial, now: datetime) -> "Order":
        """Return the order with its certificate."""
        return replace(self, state=OrderState.ISSUED, serial=serial, issued_at=now, nonce=None)

    def active(self, now: datetime) -> "Order":
        """Return the order whose certificate has proved itself."""
        return replace(self, state=OrderState.ACTIVE, activated_at=now, nonce=None)

    @property
    def rest(self) -> OrderState:
        """The state that a lapsed approval falls back to."""
        return OrderState.OPEN if self.operation is Operation.REVOKE else OrderState.BOUND

    @property
    def live(self) -> bool:
        """Whether the order still wants something."""
        return self.state in LIVE

    def next(self) -> Step:
        """Return the customer's next step; call it on the order as it counts now."""
        match self.state:
            case OrderState.OPEN:
                return Step.CHANNEL if self.operation is Operation.REVOKE else Step.KEY
            case OrderState.BOUND:
                return Step.CHANNEL
            case OrderState.CODED:
                return Step.BIRTH_DATE if self.birth_date_asked else Step.REVIEW
            case OrderState.CHECKED:
                return Step.REVIEW
            case OrderState.SUBMITTED | OrderState.PENDING:
                return Step.WAIT
            case OrderState.ISSUED:
                return Step.INSTALL
            case OrderState.ACTIVE | OrderState.DONE:
                return Step.DONE
            case _:
                return Step.ENDED

    def require(self, step: Step) -> Refusal | None:
        """Refuse anything but the order's own next step (SES-01)."""
        if self.next() is step:
            return None
        return self.elsewhere()

    def elsewhere(self) -> Refusal:
        """Refuse a step that is not this order's: say where it stands, or that it has ended."""
        if not self.live:
            return ended(self)
        return Refusal(
            Kind.STEP_REQUIRED,
            text("This step is not the next one of your order. Please go on where the order stands."),
            code=self.next().value,
        )


def ended(order: Order) -> Refusal:
    """Say that an order has ended and what to do."""
    sentences = {
        OrderState.EXPIRED: text("This order is older than a day and has ended. Please start again."),
        OrderState.CANCELLED: text("This order was cancelled. Please start again."),
        OrderState.HELD: text("This order is on hold. Please call us; a person will help you."),
        OrderState.REFUSED: text("This order was refused. Please call us; a person will help you."),
    }
    done = text("This order is finished. There is nothing more to do.")
    if order.ended == DISPUTED:
        sentences[OrderState.CANCELLED] = text("This order ended because a contact is not yours. Please start again.")
    return Refusal(Kind.CONFLICT, sentences.get(order.state, done), code=f"order_{order.state}")
