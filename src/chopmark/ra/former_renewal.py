"""May an imported certificate of a former issuer prove a renewal? Asked when the key is bound and when it is confirmed.

1. Its signature verifies under one of the certificates that the settings pin for its issuer now. A name never suffices,
   and a row of the database does not suffice either.
2. Its key passes the checks that ours have to pass (`pki.key_checks`): others could sign with a weak one.
3. Its own CA says that it is not revoked, in a statement that still counts.

Otherwise the customer has to apply (TW-05), and the refusal says so.
"""

from dataclasses import replace

from chopmark.audit.events import Event
from chopmark.audit.log import RecordBuilder
from chopmark.audit.record import order_stream
from chopmark.core.refusal import Kind, Refusal, Refused
from chopmark.core.types import OrderState, text
from chopmark.pki import key_checks
from chopmark.pki.path import issued_by_any
from chopmark.pki.x509 import spki_der
from chopmark.ra.context import RaContext
from chopmark.ra.former_issuers import GoodThere, RevokedThere
from chopmark.ra.imported import Fingerprint
from chopmark.ra.model import Order
from chopmark.ra.ports import SubscriberCertificate


async def require_good_there(context: RaContext, order: Order, old: SubscriberCertificate | None) -> None:
    """Raise Refused (FORBIDDEN) if `old` is an imported certificate that may not renew; for others return at once.

    One that its CA has revoked is revoked here, too, and the renewal ends: the customer is told to apply from now on.
    """
    if old is None or old.former is None:
        return
    issuer = context.former.by_id.get(old.former.issuer)
    if issuer is None or not issued_by_any(old.der, issuer.certificates):
        raise Refused(_NOT_THEIRS)
    if key_checks.judge(spki_der(old.der)):
        raise Refused(_WEAK)
    now = context.now()
    status = await context.former.status.status_of(issuer.id, old.former.serial, now)
    if isinstance(status, GoodThere) and now < status.until:
        return
    if not isinstance(status, RevokedThere):
        raise Refused(_UNKNOWN)
    if context.imported is not None:
        await _revoke(context, order, old, status)
    raise Refused(_REVOKED)


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

    # 1. [tx] It is revoked here. 2. [tx] The renewal ends, so that the overview recommends to apply.
    await context.audit_log.write(order_stream(order.id), attempt)
    await context.audit_log.write(order_stream(order.id), end)


_NOT_THEIRS = Refusal(
    Kind.FORBIDDEN,
    text("This certificate cannot be renewed here. Please apply for a new one instead; it takes a few minutes."),
    code="former_issuer",
)
_WEAK = replace(_NOT_THEIRS, code="former_key")
_UNKNOWN = Refusal(
    Kind.FORBIDDEN,
    text(
        "The company that issued your present certificate does not say at the moment whether it is valid, so it cannot "
        "be renewed. Please apply for a new one instead; you need your phone for the code."
    ),
    code="former_unknown",
)
_REVOKED = Refusal(
    Kind.FORBIDDEN,
    text(
        "The company that issued your present certificate has revoked it, so it cannot be renewed. Please apply for a "
        "new one instead."
    ),
    code="former_revoked",
)
