"""From an approved order to its certificate: submit the order, ask the CA, and store the CA's answer.

This is the second half of `ra.rekey`. If a process dies in between or the CA is slow, the worker continues here. The RA
sends the CA the order's data together with its sealed audit records, and the CA believes only the records.
"""

from collections.abc import Mapping
from datetime import datetime

from chopmark.audit.events import Event
from chopmark.audit.log import RecordBuilder
from chopmark.audit.record import StoredRecord, order_stream, system_stream
from chopmark.ca.approval import DISTRUSTED
from chopmark.ca.ports import Certified, IssuanceRequest, Issuer, Pending
from chopmark.core.refusal import Kind, Refusal, Refused
from chopmark.core.types import ActingLogin, CertificateState, Operation, OrderId, OrderState, Reason, text
from chopmark.identity.ports import CustomerRow
from chopmark.messaging.ports import OutboxJob
from chopmark.pki import csr
from chopmark.ra.context import RaContext
from chopmark.ra.imported import is_fingerprint
from chopmark.ra.model import Order
from chopmark.ra.ports import AlternativeOutcome, SubscriberCertificate
from chopmark.ra.snapshots import OrderSnapshot, present_of
from chopmark.stepup.challenge import ChallengeState


class Issuing:
    """Submits orders and has them certified."""

    def __init__(self, context: RaContext, issuer: Issuer) -> None:
        self._context = context
        self._issuer = issuer

    async def submit(
        self, snapshot: OrderSnapshot, consent: str, acting: ActingLogin
    ) -> tuple[OrderSnapshot, tuple[StoredRecord, ...]] | None:
        """Submit the order; return its snapshot and records, or None, with nothing submitted, if it changed meanwhile.

        The new record has everything that the CA decides by: customer, account, key, code or slip, and login. Raises
        Refused (STEP_REQUIRED) if the approval by code or slip is not there any more.
        """
        context, order, sent, now = self._context, snapshot.order, snapshot.sent, self._context.now()
        since = now - context.policy.approval_life
        coded = sent is not None and sent.state is ChallengeState.CONSUMED and not order.wants_slip
        if not coded and (not order.wants_slip or order.slip_id is None):
            raise Refused(_ANOTHER_CODE)

        async def attempt(builder: RecordBuilder) -> tuple[StoredRecord, ...] | bool:
            record = builder.record(
                Event.RA_ORDER_SUBMITTED,
                customer=order.customer,
                account=order.account,
                profile=order.profile,
                operation=order.operation,
                spki_sha256=order.spki_sha256,
                old_serial=order.old_serial,
                challenge=sent.id if coded and sent is not None else None,
                slip=order.slip_id,
                login=acting.id,
                factor="+".join(sorted(acting.union)),
                channel=order.code_channel,
                terms=consent,
                policy=context.policy.id,
                home=order.key_home,
            )
            return await context.orders.submit(order, consent, acting, since, now, record) or False

        records = await context.audit_log.write(order_stream(order.id), attempt)
        return None if isinstance(records, bool) else (snapshot.now_as(order.submitted(consent, now)), records)

    async def certify(self, snapshot: OrderSnapshot, records: tuple[StoredRecord, ...]) -> SubscriberCertificate | None:
        """Ask the CA for a submitted order's certificate; return it only if nothing else on record has changed.

        With None the caller reads the snapshot again. Raises Refused when the CA refuses.
        """
        return await self._answered(snapshot.order, await self._issuer.issue(self.issuance(snapshot, records)))

    async def resume(self, order_id: OrderId) -> bool:
        """Ask the CA again for an order, after a crash or while it is pending; return False if it is still pending.

        The order's row is sent as it is, even if it makes no sense: the CA refuses whatever the records do not support.
        Raises Refused when the CA refuses.
        """
        found = await self._context.submissions.submitted(order_id)
        if found is None:
            return True
        order, snapshot = found.order, None
        if order is not None:
            snapshot = await self._context.snapshots.order(order.customer, order.id)
        if order is None or snapshot is None:
            answer = await self._issuer.resume(IssuanceRequest(order_id, "", b"", {}, records=found.records))
            await self._distrusted(order_id, answer)
            return True
        answer = await self._issuer.resume(self.issuance(snapshot.now_as(order), found.records))
        await self._answered(order, answer)
        return not isinstance(answer, Pending)

    def issuance(self, snapshot: OrderSnapshot, records: tuple[StoredRecord, ...]) -> IssuanceRequest:
        """Return what the CA is asked for, by the order's row; without a key if the row's request has another key."""
        order = snapshot.order
        request = None if order.csr is None else csr.parse(order.csr)
        named = isinstance(request, csr.Request) and request.spki_sha256 == order.spki_sha256
        spki = request.spki_der if isinstance(request, csr.Request) and named else b""
        subject = {**self.named(order, snapshot.customer), "customer": order.customer, "account": order.account}
        old = snapshot.certificate(order.old_serial) if order.operation is Operation.REKEY else None
        replaces = None if old is None or old.former is not None else old.der
        return IssuanceRequest(order.id, order.profile, spki, subject, order.csr or b"", replaces, records)

    def named(self, order: Order, customer: CustomerRow | None) -> Mapping[str, str]:
        """Return the values that the profile's subject template needs, from our records."""
        needs = self._issuer.needs.get(order.profile, frozenset())
        subject = dict(self._context.people.subject_values(customer, needs))
        if "account" in needs:
            subject["account"] = order.account
        return subject

    async def _answered(self, order: Order, answer: Certified | Pending | Refusal) -> SubscriberCertificate | None:
        """Store the CA's answer to a submitted order; return the certificate only if nothing else has changed."""
        context = self._context
        if isinstance(answer, Refusal):
            await self._refuse(order, answer)
            return None
        if isinstance(answer, Pending):
            await context.audit_log.write(
                order_stream(order.id),
                lambda builder: context.orders.pend(order.id, builder.record(Event.RA_ORDER_PENDING)),
            )
            return None
        if answer.spki_sha256 != order.spki_sha256:
            raise ValueError(f"order {order.id}: the CA answered with another key")
        overlap = self._issuer.allows_overlap
        works = self._block_old(order) or await self._swap_old(order)
        undone = (context.revoke_work(answer.serial, "cessation_of_operation", order.customer, order.id),)
        held = (context.hold_work(answer.serial, order.customer, order.id), *(() if overlap else works))
        certificate = _certificate(order, answer, context.now())

        async def attempt(builder: RecordBuilder) -> OrderState | None:
            record = builder.record(Event.RA_ORDER_ISSUED, serial=answer.serial)
            refused = builder.record(Event.RA_ORDER_REFUSED, serial=answer.serial, code="ended_meanwhile")
            otherwise = AlternativeOutcome(undone, refused, held)
            return await context.orders.fulfil(order, certificate, works, record, otherwise, swap=not overlap)

        became = await context.audit_log.write(order_stream(order.id), attempt)
        return certificate if became is OrderState.ISSUED and overlap and not works else None

    def _block_old(self, order: Order) -> tuple[OutboxJob, ...]:
        if order.reason not in {Reason.LOST, Reason.COMPROMISED} or order.old_serial is None:
            return ()
        if is_fingerprint(order.old_serial):
            return ()  # not our CA's; it is superseded when the new one is proved
        return (self._context.revoke_work(order.old_serial, "key_compromise", order.customer, order.id),)

    async def _swap_old(self, order: Order) -> tuple[OutboxJob, ...]:
        """Return the outbox row that revokes the old certificate if the CA allows no overlap; nothing otherwise."""
        if self._issuer.allows_overlap:
            return ()
        context = self._context
        old = present_of(tuple(await context.certificates.all(order.customer)), context.policy.profile, context.now())
        if old is None or old.state not in {CertificateState.ACTIVE, CertificateState.HELD}:
            return ()
        return self._context.revoke_old(old, "superseded", order.customer, order.id)

    async def _refuse(self, order: Order, refusal: Refusal) -> None:
        context = self._context
        await self._distrusted(order.id, refusal)

        async def attempt(builder: RecordBuilder) -> bool:
            record = builder.record(Event.RA_ORDER_REFUSED, kind=refusal.kind, code=refusal.code)
            return await context.orders.end(order.id, OrderState.REFUSED, refusal.code or refusal.kind, (), record)

        if refusal.kind is not Kind.UNAVAILABLE:
            await context.audit_log.write(order_stream(order.id), attempt)
        raise Refused(refusal)

    async def _distrusted(self, order_id: OrderId, answer: Certified | Pending | Refusal) -> None:
        """End an order that the CA does not trust, and raise its refusal; do nothing for any other answer.

        The record goes to a system stream, because the order's own stream may be damaged so that nothing can be added.
        """
        if answer != DISTRUSTED:
            return

        async def attempt(builder: RecordBuilder) -> bool:
            record = builder.record(Event.RA_ORDER_REFUSED, order=order_id, kind=DISTRUSTED.kind, code=DISTRUSTED.code)
            return await self._context.submissions.refuse(order_id, DISTRUSTED.code or "", record)

        await self._context.audit_log.write(system_stream("orders"), attempt)
        raise Refused(DISTRUSTED)


def _certificate(order: Order, certified: Certified, now: datetime) -> SubscriberCertificate:
    return SubscriberCertificate(
        serial=certified.serial,
        customer=order.customer,
        profile=order.profile,
        order=order.id,
        account=order.account,
        key_home=order.key_home,
        spki_sha256=certified.spki_sha256,
        state=CertificateState.ISSUED,
        der=certified.der,
        chain=certified.chain,
        not_before=certified.not_before,
        not_after=certified.not_after,
        issued_at=now,
    )


_ANOTHER_CODE = Refusal(
    Kind.STEP_REQUIRED, text("This step took too long. Please have a new code sent."), code="channel"
)
