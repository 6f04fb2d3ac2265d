"""Opening an order, and ending it before it is finished."""

from datetime import timedelta

from chopmark.audit.events import Event
from chopmark.audit.facts import Fact
from chopmark.audit.log import RecordBuilder
from chopmark.audit.record import new_stream, order_stream
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
from chopmark.limits.rate_limits import RateLimit
from chopmark.messaging.ports import OutboxJob
from chopmark.ra.context import NOT_YOURS, Caller, RaContext
from chopmark.ra.former_renewal import require_startable
from chopmark.ra.model import BEFORE_SUBMISSION, LIVE, Order, ended
from chopmark.ra.ports import SubscriberCertificate
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
from chopmark.ra.snapshots import CustomerSnapshot, OrderSnapshot, present_of
from chopmark.tw.account import last3

_REVOKED_ELSEWHERE = Refusal(
    Kind.CONFLICT,
    text("This certificate was issued by another company. Please call us to have it revoked."),
    field="serial",
    code="former_issuer",
)
_NO_PROGRAMS = Refusal(
    Kind.MALFORMED,
    text("There is no certificate program here. Please choose another place for your key."),
    field="key_home",
    code="no_programs",
)


class Enrolment:
    """Opens, cancels and disputes orders and gives them nonces; `programs` says that there is an EST interface."""

    def __init__(self, context: RaContext, *, programs: bool) -> None:
        self._context = context
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
    ) -> OrderSnapshot:
        """Return the snapshot of a new order with its first nonce, or of the customer's live one if it asks the same.

        A customer has one live order a profile, however many tabs and devices they use. An order that was begun before
        ends if it is `instead` or if `_gives_way` says so. Raises Refused; CONFLICT, with the live order's id in its
        code, when the customer has a live order that asks for something else.
        """
        context, now = self._context, self._context.now()
        # 1. The login used the trading password (TW-01).
        context.require_password(caller)
        if key_home is KeyHome.HELPER and not self._programs and operation is not Operation.REVOKE:
            raise Refused(_NO_PROGRAMS)
        snapshot = await context.customer_snapshot(caller)
        # 2. The account is the caller's.
        if all(row.number != account for row in snapshot.accounts):
            raise Refused(NOT_YOURS)
        # 3. The policy allows the operation now, and for a renewal of an imported certificate its own CA.
        present = present_of(snapshot.certificates, context.policy.profile, now)
        advice = await require_startable(context, caller.customer, operation, reason, present)
        old = _old(snapshot, present, operation, reason, serial)
        way = self._way(snapshot, caller, operation, present)
        order = Order(
            id=OrderId(new_id(context.entropy)),
            customer=caller.customer,
            operation=operation,
            account=account,
            profile=context.policy.profile,
            key_home=key_home,
            state=OrderState.OPEN,
            login_factors=caller.factors,
            policy=context.policy.id,
            created_at=now,
            expires_at=now + (context.policy.slip_life if way is Way.SLIP else context.policy.order_life),
            birth_date_asked=self._asks_birth_date(snapshot, operation),
            reason=reason or (advice.reason if operation is advice.operation else None),
            nonce=context.entropy.token(32),
            nonce_expires_at=now + context.policy.nonce_life,
            old_serial=old,
            login=caller.login,
            both_codes=way is Way.BOTH_CODES,
            delay=context.policy.replace_delay if way is Way.DELAY else timedelta(0),
            slip_unless=carriers(context.policy) if way is Way.SLIP else None,
        )
        # 4. An order that gives way ends. [tx] The new order, its record and a notice.
        stored = await self._store(order, snapshot, caller, instead)
        return snapshot.opened(order) if stored.id == order.id else await context.reread(caller, stored.id)

    def _asks_birth_date(self, snapshot: CustomerSnapshot, operation: Operation) -> bool:
        """Tell whether the order asks for the birth date: the policy wants it, and the customer is no company."""
        if not self._context.policy.birth_date_asked or operation is Operation.REVOKE:
            return False
        return snapshot.customer is not None and not self._context.people.shown(snapshot.customer).company

    def _way(
        self, snapshot: CustomerSnapshot, caller: Caller, operation: Operation, present: SubscriberCertificate | None
    ) -> Way:
        """Return how the order has to be approved (`ra.replace`); a revocation is always approved by one code.

        The reason that the customer gives does not matter: somebody who says *lost* has not proved anything more than
        somebody who says something else. Raises Refused if codes are needed and none can be sent, because of the
        contacts or because this login used them as factors.
        """
        context = self._context
        if operation is Operation.REVOKE:
            return Way.ONE_CODE
        facts = context.contact_facts(snapshot.contacts)
        asked = demand(context.policy, facts, caller.factors, None, context.now())
        if asked.way is Way.SLIP:
            return Way.SLIP
        if not context.policy.replace_by_both or not without_old_key(operation, had_one=present is not None):
            return Way.ONE_CODE
        if asked.way is Way.CALL_US:
            raise Refused(PASSWORD_ALONE if can_carry(context.policy, facts, context.now()) else CALL_US)
        return asked.way

    async def _store(self, order: Order, snapshot: CustomerSnapshot, caller: Caller, instead: OrderId | None) -> Order:
        context = self._context
        for found in snapshot.live:
            live = found.at(order.created_at, context.policy)
            if live.state is OrderState.EXPIRED:
                await self._end(found, OrderState.EXPIRED, Event.RA_ORDER_EXPIRED)
            elif live.id == instead or _gives_way(live, order):
                await self._give_up(live, caller)
        contacts = snapshot.contacts
        told = context.notice_to(
            order.customer,
            contacts,
            "order_opened",
            None,
            account_last3=last3(order.account),
        )
        why = (
            why_none_carries(context.policy, context.contact_facts(snapshot.contacts), order.created_at)
            if order.wants_slip
            else None
        )

        async def attempt(builder: RecordBuilder) -> Order:
            record = builder.record(
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
                door=caller.interface,
            )
            return await context.orders.open(order, told, record)

        context.audit_log.know(new_stream(order_stream(order.id)))
        stored = await context.audit_log.write(order_stream(order.id), attempt)
        if stored.id != order.id and not _the_same(stored, order):
            said = text("You have another order open. Please go on with it, or end it and begin this one.")
            raise Refused(Refusal(Kind.CONFLICT, said, code=f"open:{stored.id}"))
        return stored

    async def nonce(self, caller: Caller, order_id: OrderId) -> tuple[bytes, timedelta]:
        """Return a fresh nonce for the next signature of the customer's key, and its life; the earlier one is void."""
        context, now = self._context, self._context.now()
        order = (await context.snapshot(caller, order_id)).order
        context.require_password(caller)
        if not (order.live or order.only_said):
            raise Refused(ended(order))
        nonce = context.entropy.token(32)

        async def attempt(builder: RecordBuilder) -> bool:
            record = builder.record(Event.RA_NONCE_ISSUED)
            return await context.orders.renonce(order.id, nonce, now + context.policy.nonce_life, record)

        if not await context.audit_log.write(order_stream(order.id), attempt):
            raise Refused(ended(order))
        return nonce, context.policy.nonce_life

    async def cancel(self, caller: Caller, order_id: OrderId) -> Order:
        """End a live order and return it; if it has a certificate that was not proved yet, that is revoked.

        An order that is with the CA stays as it is.
        """
        self._context.require_password(caller)
        await self._give_up(await self._context.order(caller, order_id), caller)
        return await self._context.order(caller, order_id)

    async def _give_up(self, order: Order, caller: Caller) -> None:
        """End a live order in the name of the caller's login, unless it is with the CA."""
        if order.live and order.state not in {OrderState.SUBMITTED, OrderState.PENDING}:
            await self._end(order, OrderState.CANCELLED, Event.RA_ORDER_CANCELLED, login=caller.login)

    async def _end(self, order: Order, state: OrderState, event: Event, **facts: Fact) -> None:
        context = self._context
        works: tuple[OutboxJob, ...] = ()
        if order.serial is not None:
            works = (context.revoke_work(order.serial, "cessation_of_operation", order.customer, order.id),)

        async def attempt(builder: RecordBuilder) -> bool:
            return await context.orders.end(order.id, state, event.value, works, builder.record(event, **facts))

        await context.audit_log.write(order_stream(order.id), attempt)

    async def expire(self, order: Order) -> None:
        """End a live order that has expired, or whose certificate was not proved in time (72 h).

        The customer's earlier certificate stays as it is.
        """
        if order.state in LIVE:
            await self._end(order, OrderState.EXPIRED, Event.RA_ORDER_EXPIRED)

    async def dispute(self, caller: Caller, order_id: OrderId, channel: Channel) -> Order:
        """End the order because the contact shown is not the customer's, and stop that contact.

        A stopped contact carries no code until the firm has confirmed it again. A customer can stop a contact once a
        day and never both contacts, so that somebody who knows only the password cannot lock the customer out.
        """
        context, now = self._context, self._context.now()
        context.require_password(caller)
        order = await context.order(caller, order_id)
        if not order.live:
            raise Refused(ended(order))
        works = await context.notice(order.customer, "contact_disputed", channel, channel=channel.value)
        limit = RateLimit(f"dispute:{order.customer}:1d", context.policy.disputes_per_day, timedelta(days=1))

        # 1. [tx] The order ends, the contact is stopped, the other contact is told.
        async def attempt(builder: RecordBuilder) -> Refusal | None:
            record = builder.record(Event.RA_CONTACT_DISPUTED, channel=channel, customer=order.customer)
            return await context.orders.dispute(order, channel, limit, now, works, record)

        refused = await context.audit_log.write(order_stream(order.id), attempt)
        if refused is not None:
            raise Refused(refused)
        # 2. The customer's other orders that a code over this contact has approved end too.
        for other in await context.orders.live(order.customer):
            if other.code_channel is channel and other.state in BEFORE_SUBMISSION:
                await self._end(other, OrderState.CANCELLED, Event.RA_ORDER_CANCELLED)
        return await context.order(caller, order_id)


def _checks(order: Order) -> str | None:
    """Return what the order asks for besides one code, or in its place, as its record says it and the CA checks it."""
    asked = {"birth_date": order.birth_date_asked, "both_codes": order.both_codes, "delay": bool(order.delay)}
    asked["slip"] = order.wants_slip
    return "+".join(name for name, wanted in asked.items() if wanted) or None


def _the_same(live: Order, wanted: Order) -> bool:
    """Tell whether a live order asks for the same: operation, reason, account and place of the key."""
    asked = (wanted.operation, wanted.reason, wanted.account, wanted.key_home)
    return (live.operation, live.reason, live.account, live.key_home) == asked


def _gives_way(live: Order, wanted: Order) -> bool:
    """Tell whether a live order ends because of the order that is wanted now; never one that has been submitted.

    The replacement of a lost or compromised certificate ends whatever else was begun, except a revocation. A renewal
    ends a replacement that another login has begun, because the old key signs the renewal and nothing signed that one.
    """
    if live.operation is Operation.REVOKE or live.state not in BEFORE_SUBMISSION:
        return False
    elsewhere = live.login != wanted.login
    if wanted.operation is Operation.REPLACE and wanted.reason in {Reason.LOST, Reason.COMPROMISED}:
        return elsewhere or not _the_same(live, wanted)
    return wanted.operation is Operation.REKEY and live.operation is Operation.REPLACE and elsewhere


def _old(
    snapshot: CustomerSnapshot,
    present: SubscriberCertificate | None,
    operation: Operation,
    reason: Reason | None,
    serial: Serial | None,
) -> Serial | None:
    """Return the serial of the certificate that the order is about: the one to be revoked, otherwise the present one.

    Raises Refused for a revocation of a certificate that is not the customer's or not valid, or without a reason.
    """
    if operation is not Operation.REVOKE:
        return None if present is None else present.serial
    certificate = next((held for held in snapshot.certificates if held.serial == serial), None)
    if certificate is None:
        raise Refused(
            Refusal(Kind.NOT_FOUND, text("Please choose the certificate to be revoked."), field="serial", code="serial")
        )
    if certificate.former is not None:
        raise Refused(_REVOKED_ELSEWHERE)
    if certificate.state not in {CertificateState.ACTIVE, CertificateState.HELD}:
        raise Refused(
            Refusal(Kind.CONFLICT, text("This certificate is not valid any more."), field="serial", code="not_valid")
        )
    if reason is None:
        raise Refused(
            Refusal(Kind.MALFORMED, text("Please say why it should be revoked."), field="reason", code="reason")
        )
    return certificate.serial
