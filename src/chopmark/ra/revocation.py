"""Ending a certificate: by its holder with a code of its own, by a newer one, or because it was never proved."""

from datetime import timedelta

from chopmark.audit.events import Event
from chopmark.audit.leaf import order_chain
from chopmark.audit.recorder import Pen
from chopmark.ca.ports import Issuer
from chopmark.core.refusal import Kind, Refusal, Refused
from chopmark.core.types import CustomerId, Operation, OrderId, OrderState, Reason, Serial, text
from chopmark.limits.budgets import Budget
from chopmark.messaging.ports import Work
from chopmark.ra.consent import consent_for
from chopmark.ra.desk import Caller, Desk
from chopmark.ra.model import Order, Step

CA_REASONS = {
    Reason.COMPROMISED: "key_compromise",
    Reason.LOST: "key_compromise",
    Reason.NO_LONGER_NEEDED: "cessation_of_operation",
}


class Revocation:
    """Carries out revocation orders and the CA's part of every ending."""

    def __init__(self, desk: Desk, issuer: Issuer) -> None:
        self._desk = desk
        self._issuer = issuer

    async def confirm(self, caller: Caller, order_id: OrderId, consent: str) -> Order:
        """Return the revocation order done; the CA is told at once, and again by its work row if that fails.

        1 the order is approved by a code bound to this certificate, and these are its terms  2 [tx] quotas, holding
        revoked, leaf, notice and work row  3 the CA revokes; status shows it within seconds  4 its renewals
        in flight end.
        """
        desk = self._desk
        order = await desk.order(caller, order_id)
        if order.operation is not Operation.REVOKE:
            raise Refused(order.elsewhere())
        if order.state is OrderState.DONE:
            return order
        refused = order.require(Step.REVIEW)
        if refused is not None:
            raise Refused(refused)
        if consent != consent_for(order, self._issuer.name).sha256:
            raise Refused(
                Refusal(
                    Kind.CONFLICT,
                    text("The terms of this order have changed. Please read them again."),
                    field="consent",
                )
            )
        serial, reason = order.old_serial, order.reason
        if serial is None or reason is None:
            raise ValueError(f"order {order.id} names no certificate or reason")
        budgets = (
            Budget(f"revoke:{order.customer}:1d", desk.policy.revocations_per_day, timedelta(days=1)),
            Budget(f"revoke:{order.customer}:1y", desk.policy.revocations_per_year, timedelta(days=365)),
        )
        ca_reason = CA_REASONS.get(reason, "unspecified")
        acting = desk.acting(caller, order)
        works = await desk.notice(order.customer, "revoked", order.code_channel, serial=serial)
        works += (desk.revoke_work(serial, ca_reason, order.customer, order.id),)
        now = desk.now()

        async def attempt(pen: Pen) -> Refusal | None:
            leaf = pen.leaf(Event.RA_ORDER_DONE, serial=serial, reason=reason, terms=consent, login=acting.id)
            since = now - desk.policy.approval_life
            return await desk.orders.revoke(order, acting, budgets, since, now, works, leaf)

        refused = await desk.recorder.write(order_chain(order.id), attempt)
        if refused is not None:
            raise Refused(refused)
        await self._issuer.revoke(serial, ca_reason)
        await self.end_renewals(order.customer, serial)
        return await desk.order(caller, order_id)

    async def end_renewals(self, customer: CustomerId, revoked: Serial) -> None:
        """End the renewals that built on a revoked certificate; what got a certificate by now has it revoked too."""
        desk = self._desk
        for order in await desk.orders.live(customer):
            if order.operation is not Operation.REKEY or order.old_serial != revoked:
                continue
            works: tuple[Work, ...] = ()
            if order.serial is not None:
                works = (desk.revoke_work(order.serial, "cessation_of_operation", order.customer, order.id),)
            await self._end(order, works)

    async def _end(self, order: Order, works: tuple[Work, ...]) -> None:
        async def attempt(pen: Pen) -> bool:
            leaf = pen.leaf(Event.RA_ORDER_CANCELLED, code="old_revoked")
            return await self._desk.orders.end(order.id, OrderState.CANCELLED, "old_revoked", works, leaf)

        await self._desk.recorder.write(order_chain(order.id), attempt)

    async def at_ca(self, serial: Serial, reason: str) -> None:
        """Have the CA revoke a certificate; the job of a REVOKE work row, safe to repeat."""
        await self._issuer.revoke(serial, reason)
