"""Ending a certificate: by its holder with a code of its own, by a newer one, or because it was never proved."""

from datetime import timedelta

from chopmark.audit.events import Event
from chopmark.audit.log import RecordBuilder
from chopmark.audit.record import order_stream
from chopmark.ca.ports import Issuer
from chopmark.core.refusal import Kind, Refusal, Refused
from chopmark.core.types import CustomerId, Operation, OrderId, OrderState, Reason, Serial, text
from chopmark.limits.budgets import RateLimit
from chopmark.messaging.ports import Work
from chopmark.ra.consent import consent_for
from chopmark.ra.context import Caller, RaContext
from chopmark.ra.model import Order, Step

CA_REASONS = {
    Reason.COMPROMISED: "key_compromise",
    Reason.LOST: "key_compromise",
    Reason.NO_LONGER_NEEDED: "cessation_of_operation",
}


class Revocation:
    """Carries out revocation orders and the CA's part of every ending."""

    def __init__(self, context: RaContext, issuer: Issuer) -> None:
        self._context = context
        self._issuer = issuer

    async def confirm(self, caller: Caller, order_id: OrderId, consent: str) -> Order:
        """Return the revocation order done; the CA is told at once, and again by its work row if that fails.

        1 the order is approved by a code bound to this certificate, and these are its terms  2 [tx] quotas, holding
        revoked, leaf, notice and work row  3 the CA revokes; status shows it within seconds  4 its renewals
        in flight end.
        """
        context = self._context
        order = await context.order(caller, order_id)
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
        limits = (
            RateLimit(f"revoke:{order.customer}:1d", context.policy.revocations_per_day, timedelta(days=1)),
            RateLimit(f"revoke:{order.customer}:1y", context.policy.revocations_per_year, timedelta(days=365)),
        )
        ca_reason = CA_REASONS.get(reason, "unspecified")
        acting = context.acting(caller, order)
        works = await context.notice(order.customer, "revoked", order.code_channel, serial=serial)
        works += (context.revoke_work(serial, ca_reason, order.customer, order.id),)
        now = context.now()

        async def attempt(builder: RecordBuilder) -> Refusal | None:
            record = builder.record(Event.RA_ORDER_DONE, serial=serial, reason=reason, terms=consent, login=acting.id)
            since = now - context.policy.approval_life
            return await context.orders.revoke(order, acting, limits, since, now, works, record)

        refused = await context.audit_log.write(order_stream(order.id), attempt)
        if refused is not None:
            raise Refused(refused)
        await self._issuer.revoke(serial, ca_reason)
        await self.end_renewals(order.customer, serial)
        return await context.order(caller, order_id)

    async def end_renewals(self, customer: CustomerId, revoked: Serial) -> None:
        """End the renewals that built on a revoked certificate; what got a certificate by now has it revoked too."""
        context = self._context
        for order in await context.orders.live(customer):
            if order.operation is not Operation.REKEY or order.old_serial != revoked:
                continue
            works: tuple[Work, ...] = ()
            if order.serial is not None:
                works = (context.revoke_work(order.serial, "cessation_of_operation", order.customer, order.id),)
            await self._end(order, works)

    async def _end(self, order: Order, works: tuple[Work, ...]) -> None:
        async def attempt(builder: RecordBuilder) -> bool:
            record = builder.record(Event.RA_ORDER_CANCELLED, code="old_revoked")
            return await self._context.orders.end(order.id, OrderState.CANCELLED, "old_revoked", works, record)

        await self._context.audit_log.write(order_stream(order.id), attempt)

    async def at_ca(self, serial: Serial, reason: str) -> None:
        """Have the CA revoke a certificate; the job of a REVOKE work row, safe to repeat."""
        await self._issuer.revoke(serial, reason)
