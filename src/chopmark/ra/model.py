"""An order and its states. Pure: transitions return new values, time is an argument.

An order for a certificate goes open -> bound (it has a key) -> coded (right code or slip) -> checked (right birth date,
if asked) -> submitted -> issued -> active; a revocation goes open -> coded -> done. After ten minutes without the next
step `coded` and `checked` fall back to `bound`, a revocation to `open`. An order that was not submitted within a day
(`Policy.order_life`, longer with a slip) expires.

An approval belongs to one login and one key: code, birth date and confirmation count only in a login that has bound the
key or has proved that it holds it.
"""

from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from enum import StrEnum

from chopmark.core.refusal import Kind, Refusal
from chopmark.core.types import (
    AccountNumber,
    ActingLogin,
    Channel,
    CustomerId,
    FactorClass,
    Installed,
    KeyEvidence,
    KeyHome,
    LoginId,
    Operation,
    OrderId,
    OrderState,
    Reason,
    Serial,
    text,
)
from chopmark.ra.policy import Policy

LIVE = frozenset(
    {
        OrderState.OPEN,
        OrderState.BOUND,
        OrderState.CODE_VERIFIED,
        OrderState.BIRTH_DATE_VERIFIED,
        OrderState.SUBMITTED,
        OrderState.PENDING,
        OrderState.ISSUED,
    }
)
BEFORE_SUBMISSION = frozenset(
    {OrderState.OPEN, OrderState.BOUND, OrderState.CODE_VERIFIED, OrderState.BIRTH_DATE_VERIFIED}
)


DISPUTED = "contact_disputed"
"""The value of `Order.ended` when the customer said that a contact is not theirs."""


STOPPED = "stopped_by_contact"
"""The value of `Order.ended` for a replacement that was stopped with the reference of a notice.

One that was submitted already continues with this mark: its certificate is put on hold until the firm has decided."""


class Step(StrEnum):
    """What the customer has to do next; each step has a page of the same name."""

    KEY = "key"
    POSSESSION = "possession"
    CHANNEL = "channel"
    SLIP = "slip"
    BIRTH_DATE = "birth_date"
    REVIEW = "review"
    WAIT = "wait"
    INSTALL = "install"
    DONE = "done"
    ENDED = "ended"


@dataclass(frozen=True, slots=True)
class Order:
    """A customer's request for one certificate, or for the revocation of one. Moments are aware UTC.

    `login` opened the order, `bound_login` bound its key, `proved_login` was the last to prove possession of it, and
    `approved_login` gave the right code. `login_factors` are the factor classes of all logins that took a step.
    `within` sets the last two: `key_is_here` is False in a login that does not hold the key (see `held_by`), and
    `key_is_mine` is False in a login that has neither bound nor proved it and so must not bind another one.
    """

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
    login: LoginId | None = None
    bound_login: LoginId | None = None
    proved_login: LoginId | None = None
    approved_login: LoginId | None = None
    key_evidence: KeyEvidence | None = None
    both_codes: bool = False
    second_channel: Channel | None = None
    second_coded_at: datetime | None = None
    delay: timedelta = timedelta(0)
    announced_at: datetime | None = None
    slip_unless: frozenset[Channel] | None = None
    """The order asks for an approval slip unless one of these channels can carry a code; None if it asks for a code."""
    slip_id: str | None = None
    """The id of the slip that has approved the order."""
    installed: Installed | None = None
    key_is_here: bool = True
    key_is_mine: bool = True

    def at(self, now: datetime, policy: Policy) -> "Order":
        """Return the order as it counts at `now`: expired if its time is over, and without an approval that lapsed."""
        if self.state in BEFORE_SUBMISSION and now >= self.expires_at:
            return replace(self, state=OrderState.EXPIRED)
        if self.state in {OrderState.CODE_VERIFIED, OrderState.BIRTH_DATE_VERIFIED} and not self._fresh(now, policy):
            return self._lapsed()
        return self

    def within(self, login: LoginId) -> "Order":
        """Return the order as it counts in one login: an approval by another login does not count here.

        This is only a view of the order: nothing is stored, and the other login's approval stays valid there.
        """
        if self.state not in BEFORE_SUBMISSION:
            return self
        counts = self
        if self.state in {OrderState.CODE_VERIFIED, OrderState.BIRTH_DATE_VERIFIED} and self.approved_login != login:
            counts = self._lapsed()
        mine = self.spki_sha256 is None or login in {self.bound_login, self.proved_login}
        if (self.held_by(login), mine) == (counts.key_is_here, counts.key_is_mine):
            return counts
        return replace(counts, key_is_here=self.held_by(login), key_is_mine=mine)

    def held_by(self, login: LoginId) -> bool:
        """Tell whether code, birth date and confirmation of a login count for this order's key.

        A login holds the key when it has bound it, or has proved possession of it since. Any login may approve the key
        of a renewal, because the old certificate's key has signed it. For a key that a program sent with a one-time
        credential, the customer first types the key words: the login only gave out the credential and has not seen the
        key.
        """
        if self.spki_sha256 is None or self.key_evidence in {KeyEvidence.OLD_KEY, KeyEvidence.TLS}:
            return True
        if self.proved_login == login:
            return True
        return self.bound_login == login and self.key_evidence is KeyEvidence.LOGIN

    def _lapsed(self) -> "Order":
        return replace(self, state=self.rest, coded_at=None, checked_at=None, second_channel=None, second_coded_at=None)

    def _fresh(self, now: datetime, policy: Policy) -> bool:
        return self.coded_at is not None and now < self.coded_at + policy.approval_life

    def bound(
        self,
        spki_sha256: str,
        csr: bytes,
        now: datetime,
        login: LoginId | None,
        evidence: KeyEvidence,
        *,
        used_nonce: bool,
    ) -> "Order":
        """Return the order with a new key; all approvals of an earlier key are void."""
        return replace(
            self,
            state=OrderState.BOUND,
            bound_login=login,
            proved_login=None,
            approved_login=None,
            key_evidence=evidence,
            spki_sha256=spki_sha256,
            csr=csr,
            bound_at=now,
            coded_at=None,
            checked_at=None,
            code_channel=None,
            second_channel=None,
            second_coded_at=None,
            announced_at=None,
            slip_id=None,
            nonce=None if used_nonce else self.nonce,
        )

    def possessed(self, login: LoginId, *, used_nonce: bool) -> "Order":
        """Return the order after a login has proved that it holds the key; earlier approvals are void."""
        return replace(
            self,
            state=OrderState.BOUND,
            proved_login=login,
            approved_login=None,
            coded_at=None,
            checked_at=None,
            code_channel=None,
            second_channel=None,
            second_coded_at=None,
            slip_id=None,
            nonce=None if used_nonce else self.nonce,
            key_is_here=True,
            key_is_mine=True,
        )

    def coded(self, channel: Channel, login: LoginId, now: datetime) -> "Order":
        """Return the order after the right code.

        It is the second code if the order asks for both, and the same login gave the first one by the other contact.
        """
        if self.wants_second and self.approved_login == login and self.code_channel is not channel:
            return replace(self, second_channel=channel, second_coded_at=now)
        return replace(
            self,
            second_channel=None,
            second_coded_at=None,
            state=OrderState.CODE_VERIFIED,
            code_channel=channel,
            coded_at=now,
            checked_at=None,
            approved_login=login,
        )

    def slipped(self, slip_id: str, login: LoginId, now: datetime) -> "Order":
        """Return the order after the right approval slip, which takes the place of the right code."""
        given = replace(self, state=OrderState.CODE_VERIFIED, coded_at=now, checked_at=None, approved_login=login)
        return replace(given, slip_id=slip_id, code_channel=None)

    def touched(self, acting: ActingLogin) -> "Order":
        """Return the order with the factor classes of the login that took a step added to it (TW-01)."""
        return self if self.login_factors == acting.union else replace(self, login_factors=acting.union)

    def checked(self, now: datetime) -> "Order":
        """Return the order after the right birth date."""
        return replace(self, state=OrderState.BIRTH_DATE_VERIFIED, checked_at=now)

    def submitted(self, consent: str, now: datetime) -> "Order":
        """Return the order after the customer has agreed to these terms; `consent` is their hash."""
        return replace(self, state=OrderState.SUBMITTED, consent=consent, submitted_at=now)

    def issued(self, serial: Serial, now: datetime) -> "Order":
        """Return the order with its certificate."""
        return replace(self, state=OrderState.ISSUED, serial=serial, issued_at=now, nonce=None)

    def active(self, now: datetime) -> "Order":
        """Return the order after its certificate was proved."""
        return replace(self, state=OrderState.ACTIVE, activated_at=now, nonce=None)

    @property
    def rest(self) -> OrderState:
        """The state that a lapsed approval falls back to."""
        return OrderState.OPEN if self.operation is Operation.REVOKE else OrderState.BOUND

    @property
    def wants_slip(self) -> bool:
        """Whether the order asks for an approval slip in place of a code."""
        return self.slip_unless is not None

    @property
    def code_channels(self) -> frozenset[Channel]:
        """The channels whose codes were right."""
        return frozenset(used for used in (self.code_channel, self.second_channel) if used is not None)

    @property
    def wants_second(self) -> bool:
        """Whether the order asks for two codes and only the first one was given."""
        return self.both_codes and self.state is OrderState.CODE_VERIFIED and self.second_channel is None

    @property
    def waits_until(self) -> datetime | None:
        """The moment from which the order accepts its second code, or None for an order that does not wait.

        The wait begins with the first right code, when the customer's contacts are told of the order.
        """
        return self.announced_at + self.delay if self.delay and self.announced_at is not None else None

    @property
    def stopped(self) -> bool:
        """Whether the order was stopped with the reference of a notice."""
        return self.ended == STOPPED

    @property
    def only_said(self) -> bool:
        """Whether the certificate is active only because the customer said that it has arrived; no key has signed."""
        return self.state is OrderState.ACTIVE and self.installed is Installed.SAID

    @property
    def live(self) -> bool:
        """Whether the order is still going on."""
        return self.state in LIVE

    def next(self) -> Step:
        """Return the customer's next step; call it on the order as it counts now (`at`, `within`)."""
        match self.state:
            case OrderState.OPEN:
                return Step.CHANNEL if self.operation is Operation.REVOKE else Step.KEY
            case OrderState.BOUND:
                if not self.key_is_here:
                    return Step.POSSESSION
                return Step.SLIP if self.wants_slip else Step.CHANNEL
            case OrderState.CODE_VERIFIED if self.wants_second:
                return Step.CHANNEL
            case OrderState.CODE_VERIFIED:
                return Step.BIRTH_DATE if self.birth_date_asked else Step.REVIEW
            case OrderState.BIRTH_DATE_VERIFIED:
                return Step.REVIEW
            case OrderState.SUBMITTED | OrderState.PENDING:
                return Step.WAIT
            case OrderState.ISSUED:
                return Step.ENDED if self.stopped else Step.INSTALL
            case OrderState.ACTIVE | OrderState.DONE:
                return Step.DONE
            case _:
                return Step.ENDED

    def require(self, step: Step) -> Refusal | None:
        """Return None if `step` is the order's next step, otherwise the refusal that says where it stands (SES-01)."""
        if self.next() is step:
            return None
        return self.elsewhere()

    def elsewhere(self) -> Refusal:
        """Return the refusal of a step that is not the next: it names the next one, or says that the order ended."""
        if not self.live or self.stopped:
            return ended(self)
        return Refusal(
            Kind.STEP_REQUIRED,
            text("This step is not the next one of your order. Please go on where the order stands."),
            code=self.next().value,
        )


def ended(order: Order) -> Refusal:
    """Return the refusal that says how an order has ended and what the customer can do."""
    sentences = {
        OrderState.EXPIRED: text("This order is older than a day and has ended. Please start again."),
        OrderState.CANCELLED: text("This order was cancelled. Please start again."),
        OrderState.LOCKED: text("This order is on hold. Please call us; a person will help you."),
        OrderState.REFUSED: text("This order was refused. Please call us; a person will help you."),
    }
    done = text("This order is finished. There is nothing more to do.")
    if order.ended == DISPUTED:
        sentences[OrderState.CANCELLED] = text("This order ended because a contact is not yours. Please start again.")
    if order.stopped:
        said = text("This order was stopped with the code that one of your contacts got. Please call us.")
        return Refusal(Kind.CONFLICT, said, code="order_stopped")
    return Refusal(Kind.CONFLICT, sentences.get(order.state, done), code=f"order_{order.state}")


HAS_A_KEY = Refusal(
    Kind.CONFLICT,
    text(
        "This order has a key that was made in another login. Go on with that key, or begin again: then the order ends "
        "and a new one is opened."
    ),
    code="other_login",
)
