"""What customers see of their own: accounts, certificates, the recommended action, and the state of an order."""

from dataclasses import dataclass
from datetime import date, datetime, timedelta

from chopmark.core.refusal import Refused
from chopmark.core.types import (
    AccountNumber,
    CertificateState,
    Channel,
    CustomerId,
    FactorClass,
    OrderId,
    Serial,
    Text,
    text,
)
from chopmark.identity.ports import AccountRow
from chopmark.ra.context import NO_ACCOUNT, Caller, RaContext
from chopmark.ra.former_renewal import recommended
from chopmark.ra.model import Order
from chopmark.ra.policy import Advice, may_use_channel
from chopmark.ra.ports import SubscriberCertificate
from chopmark.ra.replace import may_carry
from chopmark.ra.snapshots import CustomerSnapshot, OrderSnapshot, present_of
from chopmark.stepup.challenge import Challenge
from chopmark.tw.trading_days import Standing, TradingCalendar
from chopmark.tw.zone import local_date


@dataclass(frozen=True, slots=True)
class Countdown:
    """On how many trading days a certificate is still good, and the last of them."""

    trading_days: int
    last: date


@dataclass(frozen=True, slots=True)
class Overview:
    """The overview of one customer at one moment."""

    accounts: list[AccountRow]
    present: SubscriberCertificate | None
    advice: Advice
    live: list[Order]
    now: datetime
    countdown: Countdown | None = None
    """The trading days that the present certificate has left; None where it is over, or the calendar does not reach."""
    swap: Text | None = None
    """A warning for the customer if the CA ends the old certificate when it issues the new one; otherwise None."""


@dataclass(frozen=True, slots=True)
class ChannelChoice:
    """A channel by which a code may be sent; `why_not` says why it cannot be chosen, None if it can."""

    channel: Channel
    masked: str
    registered_on: str
    why_not: Text | None


HANDED_OVER_WITHIN = timedelta(seconds=4)
"""If no gateway has accepted a code by then, the page says that it is late and offers the other channel.

The page asks again after 4.5 seconds, so the customer reads that within 5."""


@dataclass(frozen=True, slots=True)
class Sent:
    """The newest code of an order as the page shows it."""

    challenge: Challenge
    masked: str
    sends_left: int
    undelivered: bool


class CustomerQueries:
    """The reads of the portal; they change nothing."""

    def __init__(self, context: RaContext, calendar: TradingCalendar, *, overlap: bool = True) -> None:
        self._context = context
        self._calendar = calendar
        self._overlap = overlap

    async def overview(self, caller: Caller) -> Overview:
        """Return the caller's accounts, present certificate, recommended action and live orders."""
        context, now = self._context, self._context.now()
        snapshot = await context.customer_snapshot(caller)
        present = present_of(snapshot.certificates, context.policy.profile, now)
        advice = await recommended(context, present)
        live = [order.at(now, context.policy) for order in snapshot.live]
        return Overview(
            list(snapshot.accounts),
            present,
            advice,
            [order for order in live if order.live],
            now,
            None if present is None else countdown(self._calendar, present, now),
            None if self._overlap or not _ends_at_issue(present) else ENDS_AT_ISSUE,
        )

    def countdown(self, certificate: SubscriberCertificate, now: datetime) -> Countdown | None:
        """Return the trading days that a certificate has left; None where it is over, or the calendar ends before."""
        return countdown(self._calendar, certificate, now)

    async def order(self, caller: Caller, order: OrderId) -> Order:
        """Return the caller's order as it counts now."""
        return await self._context.order(caller, order)

    async def certificates(self, caller: Caller) -> list[SubscriberCertificate]:
        """Return the caller's certificates, newest first."""
        return await self._context.certificates.all(caller.customer)

    async def revocable(self, caller: Caller) -> list[SubscriberCertificate]:
        """Return those of the caller's certificates that can still be revoked, newest first."""
        now, ends = self._context.now(), {CertificateState.ACTIVE, CertificateState.HELD}
        ours = (one for one in await self.certificates(caller) if one.former is None)
        return [one for one in ours if one.state in ends and now <= one.not_after]

    async def certificate(self, caller: Caller, serial: Serial) -> SubscriberCertificate | None:
        """Return one of the caller's certificates; None for another customer's."""
        found = await self._context.certificates.get(serial)
        return found if found is not None and found.customer == caller.customer else None

    async def snapshot(self, caller: Caller, order: OrderId) -> OrderSnapshot:
        """Return the snapshot of the caller's order as it counts now."""
        return await self._context.snapshot(caller, order)

    async def on_record(self, customer: CustomerId) -> CustomerSnapshot:
        """Return what is on record of a customer who is not signed in yet."""
        return await self._context.snapshots.customer(customer)

    async def reread(self, caller: Caller, order: OrderId) -> OrderSnapshot:
        """Return the snapshot read anew from the store, for use after a change."""
        return await self._context.reread(caller, order)

    def channels(self, snapshot: OrderSnapshot) -> list[ChannelChoice]:
        """Return the policy's channels with masked contact, the day it was verified, and why one cannot be chosen."""
        context, now = self._context, self._context.now()
        contacts = context.people.masked(snapshot.contacts)
        facts = context.contact_facts(snapshot.contacts)
        return [
            ChannelChoice(
                channel,
                contacts[channel].masked if channel in contacts else "",
                local_date(contacts[channel].verified_at).isoformat() if channel in contacts else "",
                may_carry(context.policy, snapshot.order, facts.get(channel), channel, now),
            )
            for channel in context.policy.channels
        ]

    def password_alone_helps(self, snapshot: OrderSnapshot) -> bool:
        """Tell whether a code could be sent if the customer signed in with the password alone (TW-01).

        False when a channel can be chosen already, or while the order waits for its second code.
        """
        until = snapshot.order.waits_until
        if any(choice.why_not is None for choice in self.channels(snapshot)) or (until and self._context.now() < until):
            return False
        context, now, alone = self._context, self._context.now(), frozenset({FactorClass.PASSWORD})
        facts = context.contact_facts(snapshot.contacts)
        policy = context.policy
        return any(may_use_channel(policy, facts.get(one), one, alone, now) is None for one in policy.channels)

    def sent(self, snapshot: OrderSnapshot) -> Sent | None:
        """Return the newest code of the order, or None when none was sent."""
        challenge = snapshot.sent
        if challenge is None:
            return None
        contact = self._context.people.masked(snapshot.contacts).get(challenge.channel)
        left = max(0, self._context.policy.sends_per_order - snapshot.codes)
        now = self._context.now()
        late = challenge.remaining_s(now) > 0 and now - challenge.created_at >= HANDED_OVER_WITHIN
        undelivered = snapshot.undelivered or (snapshot.waiting and late)
        return Sent(challenge, "" if contact is None else contact.masked, left, undelivered)

    def account(self, view: Overview, wanted: str | None) -> AccountNumber:
        """Return the account a page shows: the wanted one when it is the customer's, else the first."""
        numbers = [row.number for row in view.accounts]
        if not numbers:
            raise Refused(NO_ACCOUNT)
        return AccountNumber(wanted) if wanted in numbers else numbers[0]


def countdown(calendar: TradingCalendar, certificate: SubscriberCertificate, now: datetime) -> Countdown | None:
    """Return what is left of a certificate that is in use, in trading days."""
    last = calendar.last_trading_day_within(certificate.not_after)
    known = calendar.standing(local_date(certificate.not_after)) is not Standing.UNKNOWN
    if certificate.state is not CertificateState.ACTIVE or now > certificate.not_after or not known:
        return None
    return Countdown(calendar.trading_days_left(certificate.not_after, now), last)


def _ends_at_issue(present: SubscriberCertificate | None) -> bool:
    """Tell whether a CA without overlap ends this certificate with the issuance: an active one of its own."""
    return present is not None and present.state is CertificateState.ACTIVE and present.former is None


ENDS_AT_ISSUE = text(
    "Your certificate ends as soon as a new one is issued. Please begin when you have a few minutes: you can trade "
    "again when the new one is installed."
)
