"""Checks, when the key is bound and when the order is confirmed, that an imported certificate may be renewed.

1. Its signature verifies with one of the certificates that the settings pin for its issuer now. Neither the name of the
   issuer nor a row of the database is enough.
2. Its subject still names this customer, if a template can read it.
3. Its key passes the checks of our own keys (`pki.key_checks`), because others could sign with a weak key.
4. Its own CA says, in a statement that is still valid, that it is not revoked.

Otherwise the order is refused, and the refusal says that the customer has to apply (TW-05).
"""

from dataclasses import replace

from cryptography import x509

from chopmark.audit.events import Event
from chopmark.audit.log import RecordBuilder
from chopmark.audit.record import order_stream
from chopmark.core.refusal import Kind, Refusal, Refused
from chopmark.core.types import OrderState, text
from chopmark.pki import key_checks
from chopmark.pki.path import issued_by_any
from chopmark.pki.x509 import serial_of, spki_der
from chopmark.ra.certificate_import.subjects import Named, Names, parse_template, read_subject
from chopmark.ra.context import RaContext
from chopmark.ra.former_issuers import FormerIssuer, GoodThere, RevokedThere
from chopmark.ra.imported import Fingerprint
from chopmark.ra.model import Order
from chopmark.ra.policy import DOUBTED, Doubt
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
    if key_checks.judge(spki_der(old.der)):
        raise Refused(_WEAK)
    now = context.now()
    status = await context.former.status.status_of(issuer.id, serial_of(old.der), now)
    if isinstance(status, GoodThere) and now < status.until:
        return
    if not isinstance(status, RevokedThere):
        raise Refused(_UNKNOWN)
    if context.imported is not None:
        await _revoke(context, snapshot.order, old, status)
    raise Refused(_REVOKED)


async def doubt_of(context: RaContext, present: SubscriberCertificate) -> Doubt | None:
    """Say why the CA of an imported certificate would have its renewal refused, as far as that is known now.

    Nobody outside is asked, because an overview must not wait for another company: where a responder would have to be
    asked, there is no doubt. Nothing is read for a certificate of ours.
    """
    if present.former is None:
        return None
    now = context.now()
    known = await context.former.status.known_of(present.former.issuer, serial_of(present.der), now)
    if known is None or (isinstance(known, GoodThere) and now < known.until):
        return None
    return Doubt.REVOKED if isinstance(known, RevokedThere) else Doubt.UNKNOWN


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


async def _revoke(context: RaContext, order: Order, old: SubscriberCertificate, status: RevokedThere) -> None:
    imported, issuer = context.imported, "" if old.former is None else old.former.issuer

    async def attempt(builder: RecordBuilder) -> bool:
        record = builder.record(
            Event.RA_FORMER_REVOKED, serial=old.serial, issuer=issuer, reason=status.reason, customer=order.customer
        )
        found = Fingerprint(old.serial)
        return imported is not None and await imported.revoked_there(found, status.reason, context.now(), record)

    async def end(builder: RecordBuilder) -> bool:
        record = builder.record(Event.RA_ORDER_CANCELLED, code="old_revoked")
        return await context.orders.end(order.id, OrderState.CANCELLED, "old_revoked", (), record)

    # 1. [tx] Revoke it here. 2. [tx] End the renewal, so that the overview recommends to apply.
    await context.audit_log.write(order_stream(order.id), attempt)
    await context.audit_log.write(order_stream(order.id), end)


_NOT_THEIRS = Refusal(
    Kind.FORBIDDEN,
    text("This certificate cannot be renewed here. Please apply for a new one instead; it takes a few minutes."),
    code="former_issuer",
)
_ANOTHERS = replace(_NOT_THEIRS, code="former_customer")
_WEAK = replace(_NOT_THEIRS, code="former_key")
_UNKNOWN = Refusal(
    Kind.FORBIDDEN,
    text(
        "The company that issued your present certificate does not say at the moment whether it is valid, so it cannot "
        "be renewed. Please apply for a new one instead; you need your phone for the code."
    ),
    code="former_unknown",
)
_REVOKED = Refusal(Kind.FORBIDDEN, DOUBTED[Doubt.REVOKED], code="former_revoked")
