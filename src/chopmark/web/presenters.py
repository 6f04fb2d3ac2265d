"""What API and pages show alike: an order's next step, names, states, remaining days, receipt numbers."""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from chopmark.core.refusal import Kind, Refusal, Refused
from chopmark.core.types import AccountKind, CertificateState, OrderId, Text, text
from chopmark.identity.ports import AccountRow
from chopmark.ra.context import Caller
from chopmark.ra.model import Order, Step
from chopmark.ra.overview import ChannelChoice, Sent
from chopmark.ra.ports import SubscriberCertificate
from chopmark.ra.program import Issued
from chopmark.ra.snapshots import OrderSnapshot
from chopmark.tw.account import label
from chopmark.web.i18n import Lang
from chopmark.web.services import WebServices

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def epoch_ms(moment: datetime) -> int:
    """Return epoch milliseconds."""
    return (moment - _EPOCH) // timedelta(milliseconds=1)


def issuer_name(web: WebServices, lang: Lang) -> str:
    """Return the issuing CA's name in a language; the brand knows both names of the firm's CA."""
    named = web.brand.ca_name
    return named.to(lang) if web.issuer_title == named.zh else web.issuer_title


def former_name(web: WebServices, certificate: SubscriberCertificate | None, lang: Lang) -> str | None:
    """Return the name of the former issuer of an imported certificate in a language; None for any other."""
    if certificate is None or certificate.former is None:
        return None
    issuer = web.ra.context.former.by_id.get(certificate.former.issuer)
    if issuer is None:
        return certificate.former.issuer
    return issuer.name_zh if lang is Lang.ZH_TW else issuer.name_en


def terms_in(web: WebServices, sentences: tuple[Text, ...], lang: Lang) -> tuple[Text, ...]:
    """Return the terms with the CAs' names in the reader's language; their hash names the official ones."""
    former = {} if lang is Lang.ZH_TW else {one.name_zh: one.name_en for one in web.ra.context.former.by_id.values()}

    def named(key: str, value: str | int | Text) -> str | int | Text:
        if key == "former":
            return former.get(str(value), value)
        return issuer_name(web, lang) if key == "issuer" else value

    return tuple(Text(s.msgid, tuple((key, named(key, value)) for key, value in s.values)) for s in sentences)


def seconds_until(moment: datetime, now: datetime) -> int:
    """Return whole seconds until a moment, never negative."""
    return max(0, int((moment - now).total_seconds()))


def days_left(certificate: SubscriberCertificate, now: datetime) -> int:
    """Return the days that a certificate is still valid, rounded up; 0 when it is over."""
    return max(0, -((now - certificate.not_after) // timedelta(days=1)))


def state_now(certificate: SubscriberCertificate, now: datetime) -> CertificateState:
    """Return the state at this moment: an active certificate past its end is expired."""
    if certificate.state is CertificateState.ACTIVE and now > certificate.not_after:
        return CertificateState.EXPIRED
    return certificate.state


@dataclass(frozen=True, slots=True)
class OrderView:
    """An order with all that its next step shows."""

    order: Order
    next: str
    channels: list[ChannelChoice]
    sent: Sent | None
    old: SubscriberCertificate | None
    certificate: SubscriberCertificate | None
    now: datetime
    snapshot: OrderSnapshot


async def credential_for(web: WebServices, caller: Caller, order_id: OrderId) -> Issued:
    """Return a fresh credential for an order's program; raise Refused where the firm has no interface for programs."""
    if not web.est_url:
        raise Refused(Refusal(Kind.NOT_FOUND, text("The firm has no service for programs."), code="no_est"))
    return await web.ra.program.credential(caller, order_id)


def order_view(web: WebServices, snapshot: OrderSnapshot) -> OrderView:
    """Return what there is to show of an order."""
    now, order, step = web.now(), snapshot.order, snapshot.order.next()
    waiting = step is Step.CHANNEL
    channels = web.ra.customer_queries.channels(snapshot) if waiting else []
    sent = web.ra.customer_queries.sent(snapshot) if waiting else None
    old, certificate = snapshot.certificate(order.old_serial), snapshot.certificate(order.serial)
    name = step.value
    if sent is not None and sent.challenge.refusal(now) is None:
        name = "code"
    return OrderView(order, name, channels, sent, old, certificate, now, snapshot)


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
