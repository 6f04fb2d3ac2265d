"""A certificate of which the customer only said that it has arrived has been opened after all."""

from dataclasses import replace

from chopmark.audit.events import Event
from chopmark.audit.leaf import order_chain
from chopmark.audit.recorder import Pen
from chopmark.core.refusal import Refusal, Refused
from chopmark.core.types import Installed
from chopmark.ra.desk import Caller, Desk
from chopmark.ra.files import OrderFile


async def arrived(desk: Desk, caller: Caller, file: OrderFile, nonce: bytes | None) -> OrderFile:
    """Bring the end of the certificate before it forward: the new key has signed, so nobody needs the old one.

    [tx] the order, a work row for the revocation. The row that waits for the policy's days stays: what it finds revoked
    it leaves alone.
    """
    order = file.order
    old = next((held for held in file.holdings if held.superseded_by == order.serial), None)
    works = () if old is None else (desk.revoke_work(old.serial, "superseded", order.customer, order.id),)

    async def attempt(pen: Pen) -> Refusal | None:
        leaf = pen.leaf(
            Event.RA_CERTIFICATE_OPENED,
            serial=order.serial,
            old_serial=None if old is None else old.serial,
            installed=Installed.OPENED,
            door=caller.door,
        )
        return await desk.orders.arrive(order, nonce, works, leaf)

    refused = await desk.recorder.write(order_chain(order.id), attempt)
    if refused is not None:
        raise Refused(refused)
    return file.now_as(replace(order, installed=Installed.OPENED, nonce=None))
