"""What people at the firm look up: a customer with everything that concerns them, certificates; and ending one."""

from datetime import datetime

from chopmark.app.services import Services
from chopmark.app.settings import Settings
from chopmark.cli.console import at_console, looking
from chopmark.cli.operating import say
from chopmark.cli.staff import serial_of
from chopmark.core.refusal import Kind, Refusal, Refused
from chopmark.core.types import CustomerId, OrderId, Serial, text
from chopmark.ra.ending import FirmRevocation, Grounds
from chopmark.ra.ports import SubscriberCertificate
from chopmark.store.repositories.staff.views import StaffViews
from chopmark.tw.zone import TAIPEI

MOST = 20
"""Lines of one kind."""


async def show_customer(settings: Settings, who: str) -> int:
    """Print a customer by customer number, ID number, serial number or order: masked, newest first."""
    async with looking(settings) as services:
        customer = await _customer(services, who.strip())
        person = await services.identity.people.person(customer)
        if person is None:
            raise Refused(_NOBODY)
        views = StaffViews(services.foundation.engine)
        say(f"customer {customer}  {person.masked_name}  {person.masked_person_id}")
        for account in await services.identity.people.accounts(customer):
            say(f"  account {account.number}  {account.kind}")
        for channel, contact in (await services.identity.people.contacts(customer)).items():
            waits = contact.cool_until > services.foundation.clock.now()
            cooling = f", carries no code until {_at(contact.cool_until)}" if waits else ""
            disputed = ", called not theirs" if contact.disputed else ""
            say(f"  {channel} {contact.masked}, verified {contact.verified_at:%Y-%m-%d}{cooling}{disputed}")
        for lock, why in (await services.ra.holds.held(customer)).items():
            say(f"  locked: {lock}, {why}")
        for holding in (await services.ra.context.holdings.all(customer))[:MOST]:
            say(f"  {_line(holding)}")
        for order in await views.orders(customer, MOST):
            ended = f" ({order.ended})" if order.ended else ""
            say(f"  order {order.id}  {order.operation}  {order.state}{ended}  {_at(order.created_at)}")
        for told in await views.messages(customer, MOST):
            gone = "waits" if told.done_at is None else f"done {_at(told.done_at)}"
            say(f"  message {told.about} {told.channel}  {_at(told.at)}  {gone}")
    return 0


async def find_certificates(settings: Settings, what: str) -> int:
    """Print the certificates that a number names; exit code 1 for none."""
    async with looking(settings) as services:
        found = await StaffViews(services.foundation.engine).find(what.strip(), MOST)
    for holding in found:
        say(f"{holding.customer}  {_line(holding)}")
    if not found:
        say("No certificate has this serial number, customer, order, account or key.")
    return 0 if found else 1


async def revoke_certificate(
    settings: Settings, serial: str, reason: str, paper: str, by: str, approved_by: str
) -> int:
    """Revoke a certificate for good on the firm's own reasons."""
    number = serial_of(serial)
    async with at_console(settings) as services:
        verb = FirmRevocation(
            services.ra.context, StaffViews(services.foundation.engine), services.ca.certifier, services.ra.revocation
        )
        holding = await verb.revoke(number, Grounds(reason), paper, by, approved_by)
        by_hand = number in await services.ca.requests.attention()
    say(f"{number} of {holding.customer} is revoked for good; the customer will be told.")
    if by_hand:
        say("Its CA has to be asked by a person. When it has revoked it, tick it off, two of you:")
        say(f"`chopmark certificates revoked {number} --by ... --approved-by ...`")
    return 0


async def _customer(services: Services, who: str) -> CustomerId:
    """Return whom a number names. Raises Refused."""
    row = await services.identity.people.find(who)
    if row is not None:
        return row.id
    order = await services.ra.context.orders.get(OrderId(who.upper()))
    if order is not None:
        return order.customer
    holding = await services.ra.context.holdings.get(Serial(who.replace(":", "").replace(" ", "").upper()))
    if holding is not None:
        return holding.customer
    raise Refused(_NOBODY)


def _line(holding: SubscriberCertificate) -> str:
    ended = f", ended {_at(holding.ended_at)}: {holding.reason}" if holding.ended_at is not None else ""
    return f"certificate {holding.serial}  {holding.state}  {holding.account}  until {_at(holding.not_after)}{ended}"


def _at(moment: datetime) -> str:
    return f"{moment.astimezone(TAIPEI):%Y-%m-%d %H:%M}"


_NOBODY = Refusal(
    Kind.NOT_FOUND, text("No customer has this customer number, ID number, serial number or order."), field="who"
)
