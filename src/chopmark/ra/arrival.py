"""A customer first only said that a certificate had arrived, and now its key has signed: the old one can be revoked."""

from dataclasses import replace

from chopmark.audit.events import Event
from chopmark.audit.log import RecordBuilder
from chopmark.audit.record import order_stream
from chopmark.core.refusal import Refusal, Refused
from chopmark.core.types import Installed
from chopmark.ra.context import Caller, RaContext
from chopmark.ra.snapshots import OrderSnapshot


async def arrived(context: RaContext, caller: Caller, snapshot: OrderSnapshot, nonce: bytes | None) -> OrderSnapshot:
    """Note that the new key has signed, and have the certificate before it revoked at once, because nobody needs it.

    The outbox row that would revoke it after the policy's days stays; by then the certificate is revoked, and that row
    changes nothing.
    """
    order = snapshot.order
    old = next((held for held in snapshot.certificates if held.superseded_by == order.serial), None)
    works = context.revoke_old(old, "superseded", order.customer, order.id)

    # [tx] The order, its record, and the outbox row of the revocation.
    async def attempt(builder: RecordBuilder) -> Refusal | None:
        record = builder.record(
            Event.RA_CERTIFICATE_OPENED,
            serial=order.serial,
            old_serial=None if old is None else old.serial,
            installed=Installed.OPENED,
            door=caller.interface,
        )
        return await context.orders.arrive(order, nonce, context.now(), works, record)

    refused = await context.audit_log.write(order_stream(order.id), attempt)
    if refused is not None:
        raise Refused(refused)
    return snapshot.now_as(replace(order, installed=Installed.OPENED, nonce=None))
