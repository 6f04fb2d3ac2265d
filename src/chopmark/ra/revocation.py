"""Revoking a certificate: by its customer's order with a code, and the CA's part of every other revocation."""

from datetime import timedelta

from chopmark.audit.events import Event
from chopmark.audit.log import RecordBuilder
from chopmark.audit.record import order_stream
from chopmark.ca.ports import Issuer
from chopmark.core.refusal import Kind, Refusal, Refused
from chopmark.core.types import CustomerId, Operation, OrderId, OrderState, Reason, Serial, text
from chopmark.limits.rate_limits import RateLimit
from chopmark.messaging.ports import OutboxJob
from chopmark.ra.consent import consent_for
from chopmark.ra.context import Caller, RaContext
from chopmark.ra.model import Order, Step

CA_REASONS = {
    Reason.COMPROMISED: "key_compromise",
    Reason.LOST: "key_compromise",
    Reason.NO_LONGER_NEEDED: "cessation_of_operation",
}
"""What the CA is told (RFC 5280 s.5.3.1).

Of a lost key nobody can say who has it: it is blocked, and its certificate is revoked like that of a compromised one,
whether another takes its place (`ra.issuing`) or not.
"""


class Revocation:
    """Carries out revocation orders, and tells the CA of every revocation."""

    def __init__(self, context: RaContext, issuer: Issuer) -> None:
        self._context = context
        self._issuer = issuer

    async def confirm(self, caller: Caller, order_id: OrderId, consent: str) -> Order:
        """Carry out an approved revocation order and return it; safe to repeat.

        The CA is told at once. If that fails, Refused is raised although the certificate counts as revoked here, and
        the worker tells the CA by the outbox row. Raises Refused too when the order is not approved, its terms have
        changed, or a rate limit is used up.
        """
        context = self._context
        # 1. The order is approved by a code that is bound to this certificate, and these are its terms.
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

        # 2. [tx] Rate limits, the certificate revoked, the record, a notice and the outbox row for the CA.
        async def attempt(builder: RecordBuilder) -> Refusal | None:
            record = builder.record(Event.RA_ORDER_DONE, serial=serial, reason=reason, terms=consent, login=acting.id)
            since = now - context.policy.approval_life
            return await context.orders.revoke(order, acting, limits, since, now, works, record)

        refused = await context.audit_log.write(order_stream(order.id), attempt)
        if refused is not None:
            raise Refused(refused)
        # 3. The renewals that build on this certificate end, before the CA is told: whether it answers does not matter
        #    for them, and a repeat of this call would not come here again.
        await self.end_renewals(order.customer, serial)
        # 4. The CA revokes, and its published status shows that within seconds.
        await self._issuer.revoke(serial, ca_reason)
        return await context.order(caller, order_id)

    async def end_renewals(self, customer: CustomerId, revoked: Serial) -> None:
        """End the live renewals of a revoked certificate; if one has its new certificate already, it is revoked too."""
        context = self._context
        for order in await context.orders.live(customer):
            if order.operation is not Operation.REKEY or order.old_serial != revoked:
                continue
            works: tuple[OutboxJob, ...] = ()
            if order.serial is not None:
                works = (context.revoke_work(order.serial, "cessation_of_operation", order.customer, order.id),)
            await self._end(order, works)

    async def _end(self, order: Order, works: tuple[OutboxJob, ...]) -> None:
        async def attempt(builder: RecordBuilder) -> bool:
            record = builder.record(Event.RA_ORDER_CANCELLED, code="old_revoked")
            return await self._context.orders.end(order.id, OrderState.CANCELLED, "old_revoked", works, record)

        await self._context.audit_log.write(order_stream(order.id), attempt)

    async def at_ca(self, serial: Serial, reason: str) -> None:
        """Have the CA revoke a certificate; the worker calls this for a REVOKE outbox row, and it is safe to repeat."""
        await self._issuer.revoke(serial, reason)
