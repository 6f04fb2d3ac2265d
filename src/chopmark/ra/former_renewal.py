"""Decides whether an imported certificate may be renewed: for the recommendation, and at each step of a renewal.

An order for a renewal is not opened unless its own CA says that the certificate is not revoked. When the key is bound,
and again when the order is confirmed:

1. Its signature verifies with one of the certificates that the settings pin for its issuer now. Neither the name of the
   issuer nor a row of the database is enough.
2. Its subject still names this customer, if a template can read it.
3. Its key may prove a renewal (`ra.former_keys`).
4. Its own CA says, in a statement that is still valid, that it is not revoked.

Otherwise the order is refused, and the refusal says that the customer has to apply (TW-05).
"""

from dataclasses import replace
from datetime import datetime

from cryptography import x509

from chopmark.audit.events import Event
from chopmark.audit.log import RecordBuilder
from chopmark.audit.record import customer_stream, order_stream
from chopmark.core.refusal import Kind, Refusal, Refused
from chopmark.core.types import CustomerId, Operation, OrderState, Reason, text
from chopmark.pki.path import issued_by_any
from chopmark.pki.x509 import serial_of
from chopmark.ra.certificate_import.subjects import Named, Names, parse_template, read_subject
from chopmark.ra.context import RaContext, facts_of
from chopmark.ra.former_issuers import ON_HOLD, FormerIssuer, FormerStatus, GoodThere, RevokedThere, StatusThere
from chopmark.ra.former_keys import may_prove
from chopmark.ra.imported import Fingerprint, Former, Way
from chopmark.ra.model import Order
from chopmark.ra.policy import DOUBTED, Advice, Doubt, advise, instead_of_renewal, may_start
from chopmark.ra.ports import SubscriberCertificate
from chopmark.ra.snapshots import OrderSnapshot


async def require_good_there(context: RaContext, snapshot: OrderSnapshot, old: SubscriberCertificate | None) -> None:
    """Raise Refused (FORBIDDEN) if `old` is an imported certificate with which the customer may not renew.

    If its CA has revoked it, revoke it here, too, and end the order, so that the portal recommends to apply.
    """
    if old is None or old.former is None:
        return
    issuer = context.former.by_id.get(old.former.issuer)
    if issuer is None or not issued_by_any(old.der, issuer.certificates):
        raise Refused(_NOT_THEIRS)
    if not _names(context, snapshot, issuer, old.der):
        raise Refused(_ANOTHERS)
    doubt = await _asked(context, snapshot.order.customer, old)
    if doubt is None:
        return
    if doubt is Doubt.REVOKED:
        await _end(context, snapshot.order)
    raise Refused(Refusal(Kind.FORBIDDEN, DOUBTED[doubt], code=f"former_{doubt}"))


async def require_startable(
    context: RaContext,
    customer: CustomerId,
    operation: Operation,
    reason: Reason | None,
    present: SubscriberCertificate | None,
) -> Advice:
    """Return the recommended action, or raise Refused where the customer may not open this order now.

    Where a renewal of an imported certificate is asked for, its CA is asked, so that the customer learns it before a
    key is made.
    """
    advice = advise(context.policy, facts_of(present), context.now())
    if operation is Operation.REKEY and advice.operation is Operation.REKEY and present is not None:
        advice = instead_of_renewal(advice, await _asked(context, customer, present))
    refused = may_start(operation, reason, advice)
    if refused is not None:
        raise Refused(refused)
    return advice


async def recommended(context: RaContext, present: SubscriberCertificate | None) -> Advice:
    """Return the action to recommend, as far as the status of an imported certificate is known now.

    Nobody outside is asked, because an overview must not wait for another company: where a responder would have to be
    asked, there is no doubt. Nothing is read for a certificate of ours.
    """
    now = context.now()
    advice = advise(context.policy, facts_of(present), now)
    if advice.operation is not Operation.REKEY or present is None or present.former is None:
        return advice
    former = replace(present.former, serial=serial_of(present.der))
    return instead_of_renewal(advice, await known_doubt(context.former.status, former, present.der, now))


async def known_doubt(statuses: FormerStatus, former: Former, der: bytes, now: datetime) -> Doubt | None:
    """Return why the customer has to apply, as far as it is known without asking the CA of the certificate `der`."""
    if not may_prove(der):
        return Doubt.KEY
    status = await statuses.known_of(former.issuer, former.serial, now)
    doubt = None if status is None else doubt_in(status, now)
    return Doubt.NO_FILE if doubt is None and former.way in _NO_FILE else doubt


def doubt_in(status: StatusThere, now: datetime) -> Doubt | None:
    """Return what a status says against a renewal; None for a certificate that is good now."""
    if isinstance(status, RevokedThere):
        return Doubt.HELD if status.reason == ON_HOLD else Doubt.REVOKED
    return None if isinstance(status, GoodThere) and now < status.until else Doubt.UNKNOWN


async def _asked(context: RaContext, customer: CustomerId, old: SubscriberCertificate) -> Doubt | None:
    """Ask the CA of an imported certificate; if it has revoked it for good, revoke it here, too.

    Nobody is asked about a key that proves nothing, whatever its CA says.
    """
    if old.former is None:
        return None
    if not may_prove(old.der):
        return Doubt.KEY
    now = context.now()
    status = await context.former.status.status_of(old.former.issuer, serial_of(old.der), now)
    doubt = doubt_in(status, now)
    if doubt is Doubt.REVOKED and isinstance(status, RevokedThere):
        await _revoke(context, customer, old, status)
    return doubt


def _names(context: RaContext, snapshot: OrderSnapshot, issuer: FormerIssuer, der: bytes) -> bool:
    """Tell whether a certificate's subject still names this customer; True if the templates find nobody in it.

    A customer number may belong to another person since the import. If only a table said whose the certificate is,
    there is nothing to compare.
    """
    named = read_subject(
        x509.load_der_x509_certificate(der).subject, tuple(map(parse_template, issuer.subject_templates))
    )
    person = context.people.subject_values(snapshot.customer, frozenset({"national_id"})).get("national_id")
    theirs = {Named(Names.CUSTOMER, snapshot.order.customer), Named(Names.PERSON_ID, person or "")}
    theirs |= {Named(Names.ACCOUNT, row.number) for row in snapshot.accounts}
    return not named or bool(named & theirs)


async def _revoke(context: RaContext, customer: CustomerId, old: SubscriberCertificate, status: RevokedThere) -> None:
    imported, issuer = context.imported, "" if old.former is None else old.former.issuer

    async def attempt(builder: RecordBuilder) -> bool:
        record = builder.record(
            Event.RA_FORMER_REVOKED, serial=old.serial, issuer=issuer, reason=status.reason, customer=customer
        )
        found = Fingerprint(old.serial)
        return imported is not None and await imported.revoked_there(found, status.reason, context.now(), record)

    await context.audit_log.write(customer_stream(customer), attempt)


async def _end(context: RaContext, order: Order) -> None:
    """End a renewal whose old certificate is revoked, so that the portal recommends to apply."""

    async def attempt(builder: RecordBuilder) -> bool:
        record = builder.record(Event.RA_ORDER_CANCELLED, code="old_revoked")
        return await context.orders.end(order.id, OrderState.CANCELLED, "old_revoked", (), record)

    await context.audit_log.write(order_stream(order.id), attempt)


_NOT_THEIRS = Refusal(
    Kind.FORBIDDEN,
    text("This certificate cannot be renewed here. Please apply for a new one instead; it takes a few minutes."),
    code="former_issuer",
)
_ANOTHERS = replace(_NOT_THEIRS, code="former_customer")
_NO_FILE = frozenset({Way.VAULT, Way.NONE})
