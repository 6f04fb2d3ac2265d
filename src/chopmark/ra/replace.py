"""How a new certificate without the old key is approved: a `replace`, or an `enrol` by somebody who had one. Pure.

Only the customer's factors support such an order, so this is the way in for somebody who has stolen some of them.
`tw-broker` follows the manual: one code and the birth date, and the other contact is told at once and can stop the
order. `strict` asks for a code on each of two contacts; with only one contact, for two codes with a delay between them.
Under both policies, and for a first application and a renewal too, a slip takes the place of a code if none of the
contacts on record can carry one: the firm prints it after it has seen the customer's papers. The reason that the
customer gives does not matter: somebody who says *lost* has not proved anything more than somebody who says something
else.
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
    """Tell whether an order asks for a new certificate without the signature of the customer's earlier, proved one.

    An `enrol` counts too if the customer had a certificate that expired or was revoked. Otherwise a thief could first
    revoke it with one code and then get a new one without what a replacement demands. A first application does not
    count.
    """
    return operation is Operation.REPLACE or (operation is Operation.ENROL and had_one)


class Way(StrEnum):
    """How a replacement is approved."""

    ONE_CODE = "one_code"
    BOTH_CODES = "both_codes"
    DELAY = "delay"
    SLIP = "slip"
    CALL_US = "call_us"
    """No code can be sent now: because of the login's factors, or because the contacts cool down."""


@dataclass(frozen=True, slots=True)
class Demand:
    """How this order has to be approved, and which contacts are told of it.

    `told` are the contacts that get a notice at once, with the reference that stops the order. Contacts that were
    stopped or changed lately are told too. If one code is enough, the contact that it was sent to is left out, unless
    it is the only one.
    """

    way: Way
    told: frozenset[Channel]


class Cancelling(StrEnum):
    """What the reference in the notice does to the order."""

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
    """Return how a replacement has to be approved under this policy, for a customer with these contacts.

    `login` are the factors of all logins that took a step of the order. `coded_by` is the channel of its first code,
    None before one was right and for a slip.
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
    """Return the channels whose code alone may approve an order under this policy."""
    return frozenset(channel for channel in policy.channels if _alone(policy, {channel}))


def can_carry(policy: Policy, contacts: Mapping[Channel, ContactFacts], now: datetime) -> bool:
    """Tell whether some contact on record can carry a code now, in a login that used only the password.

    The factors of the present login do not matter: a customer who used more than the password needs no slip, because
    they get a code when they sign in with the password alone.
    """
    return any(_usable(contacts.get(channel), now) for channel in carriers(policy))


def will_carry(policy: Policy, contacts: Mapping[Channel, ContactFacts]) -> bool:
    """Tell whether some contact on record can carry a code now or after its cool-down; then no slip is used."""
    return any(
        channel in contacts and not (contacts[channel].disputed or contacts[channel].barred)
        for channel in carriers(policy)
    )


def why_none_carries(policy: Policy, contacts: Mapping[Channel, ContactFacts], now: datetime) -> str:
    """Say for each channel why its contact carries no code, in the words that audit records use.

    The word `usable` says that a contact can carry a code, so that no slip counts.
    """
    return "+".join(f"{channel}:{_why_not(policy, contacts.get(channel), channel, now)}" for channel in sorted(Channel))


def _why_not(policy: Policy, contact: ContactFacts | None, channel: Channel, now: datetime) -> str:
    if contact is None:
        return "none"
    if contact.disputed:
        return "stopped"
    if contact.barred:
        return "abroad"
    if channel not in policy.channels:
        return "not_sent"
    if channel not in carriers(policy):
        return "not_alone"
    return "changed" if now < contact.cool_until else "usable"


def may_carry(
    policy: Policy, order: Order, contact: ContactFacts | None, channel: Channel, now: datetime
) -> Text | None:
    """Say why this channel may not carry a code of this order, or None when it may; see `may_use_channel`.

    If the order asks for codes on both contacts, e-mail may carry one of them even where e-mail alone is not allowed.
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
    """Return what the reference does to an order in this state.

    Nobody signs in to use a reference, so it must not destroy a certificate: one that was submitted or issued already
    is put on hold, and people at the firm decide.
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
"""For an order that was opened for less than the policy demands now, and for contacts that cannot carry a code now."""
PASSWORD_ALONE = Refusal(
    Kind.FORBIDDEN,
    text(
        "You signed in with more than your trading password, and a code has to come another way than that. Please sign "
        "out, and sign in with the password alone."
    ),
    field="operation",
    code="password_alone",
)
"""For a login that has used as factors the very contacts that could carry the codes (TW-01)."""


def _fit(contact: ContactFacts | None, login: Collection[FactorClass], now: datetime) -> bool:
    """Whether a code may go there: on record, not stopped, not changed lately, and not a factor of the login.

    If the login's factors are unknown, no contact is fit.
    """
    return contact is not None and _usable(contact, now) and bool(login) and contact.channel.factor not in login


def _usable(contact: ContactFacts | None, now: datetime) -> bool:
    """Whether a contact is on record, not stopped and not changed lately."""
    return contact is not None and not contact.disputed and not contact.barred and now >= contact.cool_until


def _alone(policy: Policy, channels: Collection[Channel]) -> bool:
    """Whether codes by these channels may approve alone, which a policy may forbid for e-mail."""
    return policy.email_alone or Channel.EMAIL not in channels
