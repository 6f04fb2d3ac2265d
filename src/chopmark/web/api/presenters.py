"""Convert what verbs return to the structures of the JSON API."""

import hashlib
import ssl
from datetime import datetime

from chopmark.core.types import Operation, OrderId, OrderState
from chopmark.pki.key_words import key_name
from chopmark.ra.model import DISPUTED, STOPPED, Order, Step
from chopmark.ra.overview import Sent
from chopmark.ra.ports import SubscriberCertificate
from chopmark.stepup.challenge import ChallengeState
from chopmark.web.api.wire import (
    CertificateOut,
    ChallengeOut,
    ChannelOut,
    ConsentOut,
    NameOut,
    OldCertificateOut,
    OrderOut,
    ReceiptOut,
    to_b64,
)
from chopmark.web.i18n import Lang, Translator
from chopmark.web.presenters import (
    OrderView,
    days_left,
    epoch_ms,
    former_name,
    receipt_number,
    seconds_until,
    state_now,
    terms_in,
)
from chopmark.web.services import WebServices


def certificate_out(
    certificate: SubscriberCertificate,
    now: datetime,
    *,
    whole: bool = False,
    pem: bool = False,
    issuer: str | None = None,
) -> CertificateOut:
    """Return a certificate for the API; `whole` with its bytes, `pem` with them as PEM too.

    `issuer` is the name of its former issuer, for an imported one.
    """
    return CertificateOut(
        serial=certificate.number,
        state=state_now(certificate, now).value,
        not_before=epoch_ms(certificate.not_before),
        not_after=epoch_ms(certificate.not_after),
        days_left=days_left(certificate, now),
        account=certificate.account,
        key_home=certificate.key_home.value,
        order=certificate.order,
        superseded_by=certificate.superseded_by,
        issuer=issuer,
        sha256=None if certificate.former is None else certificate.serial,
        der=to_b64(certificate.der) if whole else None,
        chain=[to_b64(der) for der in certificate.chain] if whole else None,
        certificate_pem=ssl.DER_cert_to_PEM_cert(certificate.der) if pem else None,
        chain_pem="".join(ssl.DER_cert_to_PEM_cert(der) for der in certificate.chain) if pem else None,
    )


def order_url(web: WebServices, order: OrderId) -> str:
    """Return an order's address in the API, which an answer with status 201 has as its Location."""
    return f"{web.portal_url}/api/v1/orders/{order}"


def order_out(
    web: WebServices, view: OrderView, translator: Translator, lang: Lang, nonce: bytes | None = None
) -> OrderOut:
    """Return an order for the API."""
    order, now = view.order, view.now
    consent = web.ra.rekey.consent(order, view.old) if view.next == Step.REVIEW.value else None
    return OrderOut(
        id=order.id,
        operation=order.operation.value,
        state=order.state.value,
        next=view.next,
        account=order.account,
        key_home=order.key_home.value,
        portal=web.portal,
        needs_old_key=order.operation is Operation.REKEY,
        birth_date_asked=order.birth_date_asked,
        expires_in_s=seconds_until(order.expires_at, now),
        channels=[
            ChannelOut(
                choice.channel.value,
                choice.masked,
                choice.registered_on,
                choice.why_not is None,
                None if choice.why_not is None else translator.translate(choice.why_not, lang),
            )
            for choice in view.channels
        ],
        reason=None if order.reason is None else order.reason.value,
        nonce=None if nonce is None else to_b64(nonce),
        nonce_expires_in_s=None
        if nonce is None or order.nonce_expires_at is None
        else seconds_until(order.nonce_expires_at, now),
        old_certificate=None if view.old is None else _old_out(web, view.old, lang),
        ended=order.ended if order.ended in {DISPUTED, STOPPED} else None,
        spki_sha256=order.spki_sha256,
        key_name=None if order.spki_sha256 is None else key_name(order.spki_sha256),
        challenge=None if view.sent is None else _challenge_out(view.sent, now),
        consent=None
        if consent is None
        else ConsentOut(
            consent.version,
            consent.sha256,
            [translator.translate(s, lang) for s in terms_in(web, consent.sentences, lang)],
        ),
        certificate=None if view.certificate is None else certificate_out(view.certificate, now, whole=True),
        receipt=_receipt(order),
    )


def _old_out(web: WebServices, old: SubscriberCertificate, lang: Lang) -> OldCertificateOut:
    digest = hashlib.sha256(old.der).hexdigest()
    return OldCertificateOut(old.number, digest, to_b64(old.der), former_name(web, old, lang))


def named_out(web: WebServices, view: OrderView, out: OrderOut) -> OrderOut:
    """Return the order with the names that its request has to carry, for whoever makes the key.

    Only for answers that are not stored, because the names are personal data: answers to changes are kept in the
    database.
    """
    names = web.ra.rekey.csr_subject(view.snapshot)
    out.csr_subject = [NameOut(short, value) for short, value in names] or None
    return out


def _challenge_out(sent: Sent, now: datetime) -> ChallengeOut | None:
    challenge = sent.challenge
    if challenge.state is not ChallengeState.LIVE:
        return None
    return ChallengeOut(
        challenge.id,
        challenge.reference,
        challenge.channel.value,
        sent.masked,
        challenge.remaining_s(now),
        challenge.resend_in_s(now),
        challenge.tries_left,
        sent.sends_left,
        sent.undelivered,
    )


def _receipt(order: Order) -> ReceiptOut | None:
    done = order.activated_at or order.submitted_at
    serial = order.serial or order.old_serial
    if order.state not in {OrderState.ACTIVE, OrderState.DONE} or done is None or serial is None:
        return None
    return ReceiptOut(receipt_number(order), epoch_ms(done), serial, order.account)
