"""Opening an order and ending it before its time."""

from datetime import timedelta

from chopmark.audit.events import Event
from chopmark.audit.leaf import new_chain, order_chain
from chopmark.audit.recorder import Pen
from chopmark.errors import Kind, Refusal, Refused
from chopmark.post.ports import Work
from chopmark.ra.desk import Caller, Desk, facts_of
from chopmark.ra.files import CustomerFile, OrderFile, present_of
from chopmark.ra.model import LIVE, Order, ended
from chopmark.ra.policy import advise, may_start
from chopmark.ra.ports import Holding
from chopmark.stepup.verifier import new_id
from chopmark.words import (
    AccountNumber,
    CertificateState,
    Channel,
    FactorClass,
    KeyHome,
    Operation,
    OrderId,
    OrderState,
    Reason,
    Serial,
    text,
)


class Enrolment:
    """Opens, renews the nonce of, cancels and disputes orders."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk

    async def start(
        self,
        caller: Caller,
        operation: Operation,
        account: AccountNumber,
        key_home: KeyHome,
        reason: Reason | None = None,
        serial: Serial | None = None,
    ) -> OrderFile:
        """Return the file of a new open order with its first nonce, or of the customer's live one.

        1 the login used the trading password (TW-01)  2 the account is the caller's  3 policy allows the operation now
        4 [tx] order, leaf: one live order a customer and profile, whatever the tabs and devices.
        Raises Refused; CONFLICT with the live order's id as code when it is of another operation.
        """
        desk, now = self._desk, self._desk.now()
        if FactorClass.PASSWORD not in caller.factors:
            raise Refused(Refusal(Kind.FORBIDDEN, text("Please sign in with your trading password first.")))
        file = await desk.customer_file(caller)
        if all(row.number != account for row in file.accounts):
            raise Refused(
                Refusal(Kind.NOT_FOUND, text("This is not one of your accounts."), field="account", code="account")
            )
        present = present_of(file.holdings, desk.policy.profile)
        advice = advise(desk.policy, facts_of(present), now)
        refused = may_start(operation, reason, advice)
        if refused is not None:
            raise Refused(refused)
        old = _old(file, present, operation, reason, serial)
        order = Order(
            id=OrderId(new_id(desk.entropy)),
            customer=caller.customer,
            operation=operation,
            account=account,
            profile=desk.policy.profile,
            key_home=key_home,
            state=OrderState.OPEN,
            login_factors=caller.factors,
            policy=desk.policy.id,
            created_at=now,
            expires_at=now + desk.policy.order_life,
            birth_date_asked=self._asks_birth_date(file, operation),
            reason=reason or advice.reason,
            nonce=desk.entropy.token(32),
            nonce_expires_at=now + desk.policy.nonce_life,
            old_serial=old,
        )
        stored = await self._store(order, file.live, caller)
        return file.opened(order) if stored.id == order.id else await desk.reread(caller, stored.id)

    def _asks_birth_date(self, file: CustomerFile, operation: Operation) -> bool:
        """Tell whether the order asks for the birth date: policy wants it, and there is one (a company has none)."""
        if not self._desk.policy.birth_date_asked or operation is Operation.REVOKE:
            return False
        return file.customer is not None and not self._desk.people.shown(file.customer).company

    async def _store(self, order: Order, live: tuple[Order, ...], caller: Caller) -> Order:
        desk = self._desk
        for stale in live:
            if stale.at(order.created_at, desk.policy).state is OrderState.EXPIRED:
                await self._end(stale, OrderState.EXPIRED, Event.RA_ORDER_EXPIRED)

        async def attempt(pen: Pen) -> Order:
            leaf = pen.leaf(
                Event.RA_ORDER_OPENED,
                customer=order.customer,
                operation=order.operation,
                account=order.account,
                reason=order.reason,
                home=order.key_home,
                factor="+".join(sorted(order.login_factors)),
                policy=order.policy,
                old_serial=order.old_serial,
                checks="birth_date" if order.birth_date_asked else None,
                door=caller.door,
            )
            return await desk.orders.open(order, leaf)

        desk.recorder.know(new_chain(order_chain(order.id)))
        stored = await desk.recorder.write(order_chain(order.id), attempt)
        if stored.id != order.id and stored.operation is not order.operation:
            raise Refused(
                Refusal(
                    Kind.CONFLICT,
                    text("You have another order open. Please finish it, or cancel it first."),
                    code=f"open:{stored.id}",
                )
            )
        return stored

    async def nonce(self, caller: Caller, order_id: OrderId) -> tuple[bytes, timedelta]:
        """Return a fresh nonce for the next signature of the customer's key; the earlier one is dead."""
        desk, now = self._desk, self._desk.now()
        order = (await desk.file(caller, order_id)).order
        if not order.live:
            raise Refused(ended(order))
        nonce = desk.entropy.token(32)

        async def attempt(pen: Pen) -> bool:
            leaf = pen.leaf(Event.RA_NONCE_ISSUED)
            return await desk.orders.renonce(order.id, nonce, now + desk.policy.nonce_life, leaf)

        if not await desk.recorder.write(order_chain(order.id), attempt):
            raise Refused(ended(order))
        return nonce, desk.policy.nonce_life

    async def cancel(self, caller: Caller, order_id: OrderId) -> Order:
        """End a live order; nothing is left behind, and an unproven certificate of it is revoked."""
        order = await self._desk.order(caller, order_id)
        if order.live and order.state not in {OrderState.SUBMITTED, OrderState.PENDING}:
            await self._end(order, OrderState.CANCELLED, Event.RA_ORDER_CANCELLED)
        return await self._desk.order(caller, order_id)

    async def _end(self, order: Order, state: OrderState, event: Event) -> None:
        desk = self._desk
        works: tuple[Work, ...] = ()
        if order.serial is not None:
            works = (desk.revoke_work(order.serial, "cessation_of_operation", order.customer, order.id),)

        async def attempt(pen: Pen) -> bool:
            return await desk.orders.end(order.id, state, event.value, works, pen.leaf(event))

        await desk.recorder.write(order_chain(order.id), attempt)

    async def expire(self, order: Order) -> None:
        """End an order whose day is over, or whose certificate was never proved (72 h); the old one is untouched."""
        if order.state in LIVE:
            await self._end(order, OrderState.EXPIRED, Event.RA_ORDER_EXPIRED)

    async def dispute(self, caller: Caller, order_id: OrderId, channel: Channel) -> Order:
        """Hold the order because the contact shown is not the customer's, and stop using that contact."""
        desk, now = self._desk, self._desk.now()
        order = await desk.order(caller, order_id)
        if not order.live:
            raise Refused(ended(order))
        works = await desk.notice(order.customer, "contact_disputed", channel, channel=channel.value)

        async def attempt(pen: Pen) -> bool:
            leaf = pen.leaf(Event.RA_CONTACT_DISPUTED, channel=channel, customer=order.customer)
            return await desk.orders.dispute(order.id, channel, now, works, leaf)

        await desk.recorder.write(order_chain(order.id), attempt)
        return await desk.order(caller, order_id)


def _old(
    file: CustomerFile, present: Holding | None, operation: Operation, reason: Reason | None, serial: Serial | None
) -> Serial | None:
    """Return the certificate that the order is about: the present one, or the one to be revoked."""
    if operation is not Operation.REVOKE:
        return None if present is None else present.serial
    holding = next((held for held in file.holdings if held.serial == serial), None)
    if holding is None:
        raise Refused(
            Refusal(Kind.NOT_FOUND, text("Please choose the certificate to be revoked."), field="serial", code="serial")
        )
    if holding.state not in {CertificateState.ACTIVE, CertificateState.HELD}:
        raise Refused(
            Refusal(Kind.CONFLICT, text("This certificate is not valid any more."), field="serial", code="not_valid")
        )
    if reason is None:
        raise Refused(
            Refusal(Kind.MALFORMED, text("Please say why it should be revoked."), field="reason", code="reason")
        )
    return holding.serial
