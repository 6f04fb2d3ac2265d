"""Telling the customer's contacts of a replacement at once, and stopping it with the reference in that notice.

Somebody who replaces a certificate without the old key may have stolen the customer's factors. The customer can stop
the order without signing in: the reference is enough, because it was sent only to the customer's contacts. Therefore a
stop must not destroy anything: an order that is not submitted ends, a certificate that is issued is put on hold, and
people at the firm decide.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Protocol

from chopmark.audit.events import Event
from chopmark.audit.log import RecordBuilder
from chopmark.audit.record import AuditRecord, order_stream
from chopmark.core.clock import new_id
from chopmark.core.refusal import Kind, Refusal, Refused
from chopmark.core.types import ActingLogin, Channel, text
from chopmark.limits.rate_limits import RateLimit
from chopmark.messaging.ports import OTHER_VERSION, OutboxJob, OutboxJobKind, Purpose
from chopmark.ra.context import RaContext
from chopmark.ra.model import Order
from chopmark.ra.replace import Cancelling, cancelling, demand, without_old_key
from chopmark.ra.snapshots import OrderSnapshot, present_of
from chopmark.ra.stop_codes import stop_code, stop_hash
from chopmark.stepup.ports import Sequel, Stop
from chopmark.tw.account import last3

PER_NETWORK = 10
"""How many references may be tried from one network in an hour."""
OVER_ALL = 600
"""How many may be tried from all networks together in an hour; of 2^40 a few are valid, each for three days."""
_HOUR = timedelta(hours=1)
_ATTEMPTS = 3


@dataclass(frozen=True, slots=True)
class Stopping:
    """An order, as it was read, that is to be stopped, with the notices and the work for the CA to queue."""

    order: Order
    works: tuple[OutboxJob, ...]


class Stops(Protocol):
    """Stores references; each method is one transaction."""

    async def find(self, reference_hash: str, now: datetime) -> Order | None:
        """Return the order that a reference stops; None for a reference that is unknown, too old or used."""
        ...

    async def stop(self, reference_hash: str, one: Stopping, now: datetime, record: AuditRecord) -> bool:
        """Use the reference up and stop the order; False, with nothing changed, when either has changed meanwhile."""
        ...


class Stopped(StrEnum):
    """What a reference has stopped."""

    ORDER = "order"
    CERTIFICATE = "certificate"


def announced(context: RaContext, snapshot: OrderSnapshot, acting: ActingLogin, coded_by: Channel | None) -> Sequel:
    """Return the notices of an order `without_old_key` and its reference as stored; nothing for any other order.

    `demand` says which contacts are told; they include contacts that are stopped or were changed lately. If a notice
    cannot be delivered, the worker sends it to the other contact. An order that asks for two codes is announced with
    the first of them only. `coded_by` is the channel of the right code, or None for a slip: then all contacts are told.
    """
    order = snapshot.order
    had_one = present_of(snapshot.certificates, order.profile, context.now()) is not None
    again = order.wants_second and order.code_channel is not coded_by
    if not without_old_key(order.operation, had_one=had_one) or again:
        return Sequel()
    versions, now = {row.channel: row.version for row in snapshot.contacts}, context.now()
    asked = demand(context.policy, context.contact_facts(snapshot.contacts), acting.union, coded_by, now)
    stop, works = new_id(context.entropy), []
    for channel in sorted(asked.told):
        facts = {"template": Purpose.REPLACING.value, "account_last3": last3(order.account), "stop": stop}
        other = {OTHER_VERSION: versions[channel.other]} if channel.other in versions.keys() - asked.told else {}
        works.append(
            context.work(OutboxJobKind.NOTICE, order.customer, {**facts, **other}, channel, versions[channel], order.id)
        )
    reference = stop_code(context.people, order.id, stop)
    stored = Stop(order.id, stop_hash(context.people, reference.reveal()), now + context.policy.stop_life)
    return Sequel(tuple(works), stored)


class StopDesk:
    """Accepts references from customers who have not signed in."""

    def __init__(self, context: RaContext, stops: Stops) -> None:
        self._context = context
        self._stops = stops

    async def stop(self, typed: str, network: str) -> Stopped:
        """Stop the order of a reference and return what was stopped; `network` is the network of the request.

        Raises Refused: TOO_MANY, or the same NOT_FOUND for every reference that stops nothing, so that the answer does
        not show whether it once was valid.
        """
        context = self._context
        # 1. The rate limits of this network and of all networks, whatever was typed.
        limits = (RateLimit(f"stop:{network}", PER_NETWORK, _HOUR), RateLimit("stops", OVER_ALL, _HOUR))
        spent = await context.rate_limits.take(limits, context.now())
        if spent is not None:
            raise Refused(Refusal(Kind.TOO_MANY, _LATER, code="stops", retry_after_s=spent.retry_after_s))
        hashed = stop_hash(context.people, typed)
        for _ in range(_ATTEMPTS):
            # 2. The order that the reference stops.
            order = await self._stops.find(hashed, context.now())
            if order is None:
                break
            does = cancelling(order.at(context.now(), context.policy).state)
            if does is Cancelling.NOTHING:
                break
            # 3. [tx] The reference is used up; the order ends or its certificate is put on hold; all contacts are told.
            if await self._write(hashed, order, does, network):
                await context.rate_limits.give_back(limits)
                return Stopped.ORDER if does is Cancelling.ENDS_ORDER else Stopped.CERTIFICATE
        raise Refused(_NOTHING)

    async def _write(self, hashed: str, order: Order, does: Cancelling, network: str) -> bool:
        context, ends = self._context, does is Cancelling.ENDS_ORDER
        template = Purpose.ORDER_STOPPED if ends else Purpose.CERTIFICATE_STOPPED
        facts = {"template": template.value, "account_last3": last3(order.account)}
        contacts = await context.people.contacts(order.customer)
        works = [
            context.work(OutboxJobKind.NOTICE, order.customer, facts, channel, contact.version, order.id)
            for channel, contact in sorted(contacts.items())
        ]
        if order.serial is not None:
            works.append(context.hold_work(order.serial, order.customer, order.id))

        async def attempt(builder: RecordBuilder) -> bool:
            record = builder.record(
                Event.RA_ORDER_STOPPED,
                state="cancelled" if ends else "held",
                serial=order.serial,
                network=network,
            )
            return await self._stops.stop(hashed, Stopping(order, tuple(works)), context.now(), record)

        return await context.audit_log.write(order_stream(order.id), attempt)


_LATER = text("There were too many attempts. Please wait a while and try again, or call us.")
_NOTHING = Refusal(
    Kind.NOT_FOUND,
    text(
        "There is nothing to stop with this code. Please compare it with the message; it works once, for three days. "
        "If you have used it already, the stop stands. If you are not sure, please call us."
    ),
    field="reference",
    code="stop",
)
