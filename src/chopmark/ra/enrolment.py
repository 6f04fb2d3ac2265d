"""Opening an order and ending it before its time."""

from datetime import timedelta

from chopmark.audit.events import Event
from chopmark.audit.facts import Fact
from chopmark.audit.leaf import new_chain, order_chain
from chopmark.audit.recorder import Pen
from chopmark.core.clock import new_id
from chopmark.core.refusal import Kind, Refusal, Refused
from chopmark.core.types import (
    AccountNumber,
    CertificateState,
    Channel,
    KeyHome,
    Operation,
    OrderId,
    OrderState,
    Reason,
    Serial,
    text,
)
from chopmark.limits.budgets import Budget
from chopmark.messaging.ports import Work
from chopmark.ra.desk import NOT_YOURS, Caller, Desk, contact_facts, facts_of
from chopmark.ra.files import CustomerFile, OrderFile, present_of
from chopmark.ra.model import BEFORE_SUBMISSION, LIVE, Order, ended
from chopmark.ra.policy import advise, may_start
from chopmark.ra.ports import Holding
from chopmark.ra.replace import (
    CALL_US,
    PASSWORD_ALONE,
    Way,
    can_carry,
    carriers,
    demand,
    why_none_carries,
    without_old_key,
)
from chopmark.tw.account import last3

_NO_PROGRAMS = Refusal(
    Kind.MALFORMED,
    text("There is no certificate program here. Please choose another place for your key."),
    field="key_home",
    code="no_programs",
)


class Enrolment:
    """Opens, renews the nonce of, cancels and disputes orders; with `programs` there is an EST door for them."""

    def __init__(self, desk: Desk, *, programs: bool) -> None:
        self._desk = desk
        self._programs = programs

    async def start(
        self,
        caller: Caller,
        operation: Operation,
        account: AccountNumber,
        key_home: KeyHome,
        reason: Reason | None = None,
        serial: Serial | None = None,
        instead: OrderId | None = None,
    ) -> OrderFile:
        """Return the file of a new open order with its first nonce, or of the customer's live one if it is the same.

        1 the login used the trading password (TW-01)  2 the account is the caller's  3 policy allows the operation now
        4 an order that gives way ends: `instead`, or one that `_gives_way` names  5 [tx] order, notice, leaf: one live
        order a customer and profile, whatever the tabs and devices.
        Raises Refused; CONFLICT with the live order's id in its code when that asks for something else.
        """
        desk, now = self._desk, self._desk.now()
        desk.require_password(caller)
        if key_home is KeyHome.HELPER and not self._programs and operation is not Operation.REVOKE:
            raise Refused(_NO_PROGRAMS)
        file = await desk.customer_file(caller)
        if all(row.number != account for row in file.accounts):
            raise Refused(NOT_YOURS)
        present = present_of(file.holdings, desk.policy.profile)
        advice = advise(desk.policy, facts_of(present), now)
        refused = may_start(operation, reason, advice)
        if refused is not None:
            raise Refused(refused)
        old = _old(file, present, operation, reason, serial)
        way = self._way(file, caller, operation, present)
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
            expires_at=now + (desk.policy.slip_life if way is Way.SLIP else desk.policy.order_life),
            birth_date_asked=self._asks_birth_date(file, operation),
            reason=reason or advice.reason,
            nonce=desk.entropy.token(32),
            nonce_expires_at=now + desk.policy.nonce_life,
            old_serial=old,
            login=caller.login,
            both_codes=way is Way.BOTH_CODES,
            delay=desk.policy.replace_delay if way is Way.DELAY else timedelta(0),
            slip_unless=carriers(desk.policy) if way is Way.SLIP else None,
        )
        stored = await self._store(order, file, caller, instead)
        return file.opened(order) if stored.id == order.id else await desk.reread(caller, stored.id)

    def _asks_birth_date(self, file: CustomerFile, operation: Operation) -> bool:
        """Tell whether the order asks for the birth date: policy wants it, and there is one (a company has none)."""
        if not self._desk.policy.birth_date_asked or operation is Operation.REVOKE:
            return False
        return file.customer is not None and not self._desk.people.shown(file.customer).company

    def _way(self, file: CustomerFile, caller: Caller, operation: Operation, present: Holding | None) -> Way:
        """Return what approves the order: with one contact only time helps, with none that carries codes only a slip.

        Who says *lost* has proved nothing more than who says anything else. A revocation is approved by a code alone.
        Raises Refused where the login has used up what could carry the codes.
        """
        desk = self._desk
        if operation is Operation.REVOKE:
            return Way.ONE_CODE
        facts = contact_facts(desk.people.masked(file.contacts))
        asked = demand(desk.policy, facts, caller.factors, None, desk.now(), has_birth_date=False)
        if asked.way is Way.SLIP:
            return Way.SLIP
        if not desk.policy.replace_by_both or not without_old_key(operation, had_one=present is not None):
            return Way.ONE_CODE
        if asked.way is Way.CALL_US:
            raise Refused(PASSWORD_ALONE if can_carry(desk.policy, facts, desk.now()) else CALL_US)
        return asked.way

    async def _store(self, order: Order, file: CustomerFile, caller: Caller, instead: OrderId | None) -> Order:
        desk = self._desk
        for found in file.live:
            live = found.at(order.created_at, desk.policy)
            if live.state is OrderState.EXPIRED:
                await self._end(found, OrderState.EXPIRED, Event.RA_ORDER_EXPIRED)
            elif live.id == instead or _gives_way(live, order):
                await self._give_up(live, caller)
        contacts = desk.people.masked(file.contacts)
        told = desk.notice_to(
            order.customer,
            contacts,
            "order_opened",
            None,
            account_last3=last3(order.account),
        )
        why = why_none_carries(desk.policy, contact_facts(contacts), order.created_at) if order.wants_slip else None

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
                login=order.login,
                checks=_checks(order),
                contacts=why,
                door=caller.door,
            )
            return await desk.orders.open(order, told, leaf)

        desk.recorder.know(new_chain(order_chain(order.id)))
        stored = await desk.recorder.write(order_chain(order.id), attempt)
        if stored.id != order.id and not _the_same(stored, order):
            said = text("You have another order open. Please go on with it, or end it and begin this one.")
            raise Refused(Refusal(Kind.CONFLICT, said, code=f"open:{stored.id}"))
        return stored

    async def nonce(self, caller: Caller, order_id: OrderId) -> tuple[bytes, timedelta]:
        """Return a fresh nonce for the next signature of the customer's key; the earlier one is dead."""
        desk, now = self._desk, self._desk.now()
        order = (await desk.file(caller, order_id)).order
        desk.require_password(caller)
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
        self._desk.require_password(caller)
        await self._give_up(await self._desk.order(caller, order_id), caller)
        return await self._desk.order(caller, order_id)

    async def _give_up(self, order: Order, caller: Caller) -> None:
        """End an order in the name of a login, unless it has been submitted and its certificate is on the way."""
        if order.live and order.state not in {OrderState.SUBMITTED, OrderState.PENDING}:
            await self._end(order, OrderState.CANCELLED, Event.RA_ORDER_CANCELLED, login=caller.login)

    async def _end(self, order: Order, state: OrderState, event: Event, **facts: Fact) -> None:
        desk = self._desk
        works: tuple[Work, ...] = ()
        if order.serial is not None:
            works = (desk.revoke_work(order.serial, "cessation_of_operation", order.customer, order.id),)

        async def attempt(pen: Pen) -> bool:
            return await desk.orders.end(order.id, state, event.value, works, pen.leaf(event, **facts))

        await desk.recorder.write(order_chain(order.id), attempt)

    async def expire(self, order: Order) -> None:
        """End an order whose day is over, or whose certificate was never proved (72 h); the old one is untouched."""
        if order.state in LIVE:
            await self._end(order, OrderState.EXPIRED, Event.RA_ORDER_EXPIRED)

    async def dispute(self, caller: Caller, order_id: OrderId, channel: Channel) -> Order:
        """End the order because the contact shown is not the customer's, and stop that contact.

        1 [tx] the order ends, the contact carries no code until the firm has confirmed it anew, the other contact is
        told; once a day, and never both contacts, so that who knows a password cannot shut a customer out
        2 what a code over that contact has approved elsewhere ends too.
        """
        desk, now = self._desk, self._desk.now()
        desk.require_password(caller)
        order = await desk.order(caller, order_id)
        if not order.live:
            raise Refused(ended(order))
        works = await desk.notice(order.customer, "contact_disputed", channel, channel=channel.value)
        budget = Budget(f"dispute:{order.customer}:1d", desk.policy.disputes_per_day, timedelta(days=1))

        async def attempt(pen: Pen) -> Refusal | None:
            leaf = pen.leaf(Event.RA_CONTACT_DISPUTED, channel=channel, customer=order.customer)
            return await desk.orders.dispute(order, channel, budget, now, works, leaf)

        refused = await desk.recorder.write(order_chain(order.id), attempt)
        if refused is not None:
            raise Refused(refused)
        for other in await desk.orders.live(order.customer):
            if other.code_channel is channel and other.state in BEFORE_SUBMISSION:
                await self._end(other, OrderState.CANCELLED, Event.RA_ORDER_CANCELLED)
        return await desk.order(caller, order_id)


def _checks(order: Order) -> str | None:
    """Return what the order asks for beside one code, or in its place, as its record says it and the CA demands it."""
    asked = {"birth_date": order.birth_date_asked, "both_codes": order.both_codes, "delay": bool(order.delay)}
    asked["slip"] = order.wants_slip
    return "+".join(name for name, wanted in asked.items() if wanted) or None


def _the_same(live: Order, wanted: Order) -> bool:
    """Tell whether a live order is the one that is asked for: what, why, for which account, and where its key lives."""
    asked = (wanted.operation, wanted.reason, wanted.account, wanted.key_home)
    return (live.operation, live.reason, live.account, live.key_home) == asked


def _gives_way(live: Order, wanted: Order) -> bool:
    """Tell whether a live order ends because of what is asked for now; never one that has been submitted.

    A certificate that is lost or compromised is replaced at once, whatever else was begun. And the renewal of a
    customer, which the old key signs, ends a replacement that another login has begun without any key.
    """
    if live.operation is Operation.REVOKE or live.state not in BEFORE_SUBMISSION:
        return False
    elsewhere = live.login != wanted.login
    if wanted.operation is Operation.REPLACE and wanted.reason in {Reason.LOST, Reason.COMPROMISED}:
        return elsewhere or not _the_same(live, wanted)
    return wanted.operation is Operation.REKEY and live.operation is Operation.REPLACE and elsewhere


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
