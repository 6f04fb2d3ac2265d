"""What approves a new certificate without the old key: a `replace`, and an application of who had one before. Pure.

Nothing but the customer's factors stands behind such an order, so it is the way of whoever has stolen some of them.
`tw-broker` is the manual's: one code and the birth date, and the other contact is told at once and can cancel.
`strict` asks for codes on both contacts, where there is one only for time, and where there is none for a slip that the
firm has printed after it has seen the customer's papers. A slip stands in for a code where none of the contacts on
record can carry one, and nowhere else: under `tw-broker` and for a first application and a renewal as well.
The customer's reason is no argument here: who says *lost* has proved nothing more than who says anything else.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from enum import StrEnum

from chopmark.core.refusal import Kind, Refusal
from chopmark.core.types import Channel, FactorClass, Operation, OrderState, Text, text
from chopmark.ra.model import Order
from chopmark.ra.policy import ContactFacts, Policy, may_use_channel
from chopmark.tw.zone import TAIPEI


def without_old_key(operation: Operation, *, had_one: bool) -> bool:
    """Tell whether an order is for a new certificate of somebody who had a proved one, and its key does not sign.

    An application counts too where an earlier certificate has expired or was revoked: else whoever revokes it first,
    by one code, would have a new one without any of what a replacement asks. A first application replaces nothing.
    """
    return operation is Operation.REPLACE or (operation is Operation.ENROL and had_one)


class Way(StrEnum):
    """How a replacement is approved."""

    ONE_CODE = "one_code"
    BOTH_CODES = "both_codes"
    DELAY = "delay"
    SLIP = "slip"
    CALL_US = "call_us"
    """Codes could be sent, were it not for the factors of the login."""


@dataclass(frozen=True, slots=True)
class Demand:
    """What approves this replacement, and who is told of it.

    `told` are the contacts that get the notice, at once, with the reference that cancels the order: every contact
    on record, stopped and cooling ones too, but for the one that the code itself was sent to.
    """

    way: Way
    told: frozenset[Channel]


class Cancelling(StrEnum):
    """What the reference in the notice does."""

    ENDS_ORDER = "ends_order"
    HOLDS_CERTIFICATE = "holds_certificate"
    NOTHING = "nothing"


def demand(
    policy: Policy,
    contacts: Mapping[Channel, ContactFacts],
    login: Collection[FactorClass],
    coded_by: Channel | None,
    now: datetime,
) -> Demand:
    """Return what approves a replacement under this policy, for a customer with these contacts.

    `login` are the factors of all logins that touched the order; `coded_by` is the channel of its first code, None
    before one was sent.
    """
    fit = frozenset(channel for channel in policy.channels if _fit(contacts.get(channel), login, now))
    others = frozenset(contacts) - ({coded_by} if coded_by is not None else frozenset())
    told = others or frozenset(contacts)
    if login and not can_carry(policy, contacts, now) and not will_carry(policy, contacts):
        return Demand(Way.SLIP, frozenset(contacts))
    if policy.replace_by_both:
        if len(fit) > 1:
            return Demand(Way.BOTH_CODES, frozenset(contacts))
        if fit and _alone(policy, fit):
            return Demand(Way.DELAY, frozenset(contacts))
        return Demand(Way.CALL_US, frozenset(contacts))
    usable = any(_alone(policy, {channel}) for channel in fit)
    return Demand(Way.ONE_CODE if usable else Way.CALL_US, told)


def carriers(policy: Policy) -> frozenset[Channel]:
    """Return the channels by one of which alone codes can approve an order here, where its contact can be used."""
    return frozenset(channel for channel in policy.channels if _alone(policy, {channel}))


def can_carry(policy: Policy, contacts: Mapping[Channel, ContactFacts], now: datetime) -> bool:
    """Tell whether some contact on record can carry a code, in a login that used nothing but the password.

    What a login used beside the password is no reason for a slip: who signs in without it gets a code.
    """
    return any(_usable(contacts.get(channel), now) for channel in carriers(policy))


def will_carry(policy: Policy, contacts: Mapping[Channel, ContactFacts]) -> bool:
    """Tell whether some contact on record can carry a code now or after its cool-down: that is waited for."""
    return any(channel in contacts and not contacts[channel].disputed for channel in carriers(policy))


def why_none_carries(policy: Policy, contacts: Mapping[Channel, ContactFacts], now: datetime) -> str:
    """Say for each channel why its contact carries no code, in the words that the order's records have.

    `usable` among them says that one does, and that no slip counts.
    """
    return "+".join(f"{channel}:{_why_not(policy, contacts.get(channel), channel, now)}" for channel in sorted(Channel))


def _why_not(policy: Policy, contact: ContactFacts | None, channel: Channel, now: datetime) -> str:
    if contact is None:
        return "none"
    if contact.disputed:
        return "stopped"
    if channel not in policy.channels:
        return "not_sent"
    if channel not in carriers(policy):
        return "not_alone"
    return "changed" if now < contact.cool_until else "usable"


def may_carry(
    policy: Policy, order: Order, contact: ContactFacts | None, channel: Channel, now: datetime
) -> Text | None:
    """Say why this channel may not carry a code of this order, or None when it may; as `may_use_channel`.

    Where codes on both contacts are asked, neither counts alone: e-mail may carry the other one.
    """
    if order.waits_until is not None and now < order.waits_until:
        at = order.waits_until.astimezone(TAIPEI).strftime("%Y-%m-%d %H:%M")
        return text("Your first code was right. From %(at)s on a second one can be sent to you.", at=at)
    if not order.both_codes:
        return may_use_channel(policy, contact, channel, order.login_factors, now)
    if order.wants_second and order.code_channel is channel:
        return text("The code that came this way was right. The other one comes by your other contact.")
    return may_use_channel(replace(policy, email_alone=True), contact, channel, order.login_factors, now)


def cancelling(state: OrderState) -> Cancelling:
    """Return what cancelling by the reference does to an order in this state.

    Nobody signs in to cancel, so it must not destroy: what is issued already is put on hold, and people clear it up.
    """
    if state in {OrderState.OPEN, OrderState.BOUND, OrderState.CODE_VERIFIED, OrderState.BIRTH_DATE_VERIFIED}:
        return Cancelling.ENDS_ORDER
    if state in {OrderState.SUBMITTED, OrderState.PENDING, OrderState.ISSUED, OrderState.ACTIVE}:
        return Cancelling.HOLDS_CERTIFICATE
    return Cancelling.NOTHING


CALL_US = Refusal(
    Kind.FORBIDDEN,
    text(
        "A new certificate without the old one cannot be approved with the contacts that you have with us. Please call "
        "us; we check your identity and help you."
    ),
    field="operation",
    code="call_us",
)
"""Where an order was opened for less than what policy asks for now, or the only contact was changed lately."""
PASSWORD_ALONE = Refusal(
    Kind.FORBIDDEN,
    text(
        "You signed in with more than your trading password, and a code has to come another way than that. Please sign "
        "out, and sign in with the password alone."
    ),
    field="operation",
    code="password_alone",
)
"""Where codes are asked for and the login has used the contacts that could carry them (TW-01)."""


def _fit(contact: ContactFacts | None, login: Collection[FactorClass], now: datetime) -> bool:
    """Whether a code may go there: registered, not stopped, not changed lately, and no factor of the login.

    Unknown login factors fail closed.
    """
    return contact is not None and _usable(contact, now) and bool(login) and contact.channel.factor not in login


def _usable(contact: ContactFacts | None, now: datetime) -> bool:
    """Whether a contact is on record, not stopped and not changed lately."""
    return contact is not None and not contact.disputed and now >= contact.cool_until


def _alone(policy: Policy, channels: Collection[Channel]) -> bool:
    """Whether a code by this one channel may approve at all."""
    return policy.email_alone or Channel.EMAIL not in channels
