"""From verbs' values to what programs and pages are shown; one place for both, so that they agree."""

import hashlib
import ssl
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from chopmark.core.refusal import Kind, Refusal, Refused
from chopmark.core.types import AccountKind, CertificateState, Operation, OrderId, OrderState, Text, text
from chopmark.identity.ports import AccountRow
from chopmark.pki.key_words import key_name
from chopmark.ra.context import Caller
from chopmark.ra.model import DISPUTED, STOPPED, Order, Step
from chopmark.ra.overview import ChannelChoice, Sent
from chopmark.ra.ports import SubscriberCertificate
from chopmark.ra.program import Issued
from chopmark.ra.snapshots import OrderSnapshot
from chopmark.stepup.challenge import ChallengeState
from chopmark.tw.account import label
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
from chopmark.web.pages.views import CertificateView
from chopmark.web.services import WebServices

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def epoch_ms(moment: datetime) -> int:
    """Return epoch milliseconds."""
    return (moment - _EPOCH) // timedelta(milliseconds=1)


def issuer_name(web: WebServices, lang: Lang) -> str:
    """Return the issuing CA's name in a language; the brand knows both names of the firm's CA."""
    named = web.brand.ca_name
    return named.to(lang) if web.issuer_title == named.zh else web.issuer_title


def terms_in(web: WebServices, sentences: tuple[Text, ...], lang: Lang) -> tuple[Text, ...]:
    """Return the terms with the CA's name in the reader's language; their hash names the official one."""
    name = issuer_name(web, lang)
    return tuple(
        Text(s.msgid, tuple((key, name if key == "issuer" else value) for key, value in s.values)) for s in sentences
    )


def seconds_until(moment: datetime, now: datetime) -> int:
    """Return whole seconds until a moment, never negative."""
    return max(0, int((moment - now).total_seconds()))


def days_left(holding: SubscriberCertificate, now: datetime) -> int:
    """Return the days that a certificate is still valid, rounded up; 0 when it is over."""
    return max(0, -((now - holding.not_after) // timedelta(days=1)))


def state_now(holding: SubscriberCertificate, now: datetime) -> CertificateState:
    """Return the state at this moment: an active certificate past its end is expired."""
    if holding.state is CertificateState.ACTIVE and now > holding.not_after:
        return CertificateState.EXPIRED
    return holding.state


def certificate_out(
    holding: SubscriberCertificate, now: datetime, *, whole: bool = False, pem: bool = False
) -> CertificateOut:
    """Return a certificate for the API; `whole` with its bytes, `pem` with them as PEM too."""
    return CertificateOut(
        serial=holding.serial,
        state=state_now(holding, now).value,
        not_before=epoch_ms(holding.not_before),
        not_after=epoch_ms(holding.not_after),
        days_left=days_left(holding, now),
        account=holding.account,
        key_home=holding.key_home.value,
        order=holding.order,
        superseded_by=holding.superseded_by,
        der=to_b64(holding.der) if whole else None,
        chain=[to_b64(der) for der in holding.chain] if whole else None,
        certificate_pem=ssl.DER_cert_to_PEM_cert(holding.der) if pem else None,
        chain_pem="".join(ssl.DER_cert_to_PEM_cert(der) for der in holding.chain) if pem else None,
    )


@dataclass(frozen=True, slots=True)
class OrderView:
    """An order with all that its next step shows."""

    order: Order
    next: str
    channels: list[ChannelChoice]
    sent: Sent | None
    old: SubscriberCertificate | None
    holding: SubscriberCertificate | None
    now: datetime
    snapshot: OrderSnapshot


async def credential_for(web: WebServices, caller: Caller, order_id: OrderId) -> Issued:
    """Return a fresh credential for the program of an order; raise Refused where the firm has no door for programs."""
    if not web.est_url:
        raise Refused(Refusal(Kind.NOT_FOUND, text("The firm has no service for programs."), code="no_est"))
    return await web.ra.program.credential(caller, order_id)


def order_view(web: WebServices, snapshot: OrderSnapshot) -> OrderView:
    """Return what there is to show of an order."""
    now, order, step = web.now(), snapshot.order, snapshot.order.next()
    waiting = step is Step.CHANNEL
    channels = web.ra.customer_queries.channels(snapshot) if waiting else []
    sent = web.ra.customer_queries.sent(snapshot) if waiting else None
    old, holding = snapshot.holding(order.old_serial), snapshot.holding(order.serial)
    name = step.value
    if sent is not None and sent.challenge.refusal(now) is None:
        name = "code"
    return OrderView(order, name, channels, sent, old, holding, now, snapshot)


def order_out(
    web: WebServices, view: OrderView, translator: Translator, lang: Lang, nonce: bytes | None = None
) -> OrderOut:
    """Return an order for the API."""
    order, now = view.order, view.now
    consent = web.ra.rekey.consent(order) if view.next == Step.REVIEW.value else None
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
        old_certificate=None
        if view.old is None
        else OldCertificateOut(view.old.serial, hashlib.sha256(view.old.der).hexdigest(), to_b64(view.old.der)),
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
        certificate=None if view.holding is None else certificate_out(view.holding, now, whole=True),
        receipt=_receipt(order),
    )


def named_out(web: WebServices, view: OrderView, out: OrderOut) -> OrderOut:
    """Return the order with the names that its request has to carry, for whoever makes the key.

    Only for answers that nobody keeps: what a repeated change is answered with lies in the database.
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


def receipt_number(order: Order) -> str:
    """Return the number by which customer and help line speak of an order: its first twelve characters in fours."""
    return "-".join((order.id[:4], order.id[4:8], order.id[8:12]))


_MARKETS = {
    AccountKind.FUTURES: "(Futures)",
    AccountKind.SECURITIES: "(Securities)",
    AccountKind.SUB_BROKERAGE: "(Sub-brokerage)",
}


def account_label(account: AccountRow, lang: Lang) -> str:
    """Return an account as the firm writes it: `(期) F014000-0000007`; the market spelled out in English."""
    market = label(account.kind) if lang is Lang.ZH_TW else _MARKETS[account.kind]
    return f"{market} {account.number}"


def certificate_view(holding: SubscriberCertificate, account: str, now: datetime) -> CertificateView:
    """Return a certificate as pages show it; `account` is its label."""
    return CertificateView(
        holding.serial,
        state_now(holding, now),
        holding.not_before,
        holding.not_after,
        days_left(holding, now),
        account,
        holding.key_home,
        holding.superseded_by,
    )
