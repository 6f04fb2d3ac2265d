"""The bundle of messaging, built: the outbox, what carries its messages, their reports, and the demo's inbox."""

from dataclasses import dataclass
from datetime import timedelta

from chopmark.app.foundation import Foundation
from chopmark.app.gateways import GatewayUnfit, gateways_of, listed_gateways
from chopmark.app.webhooks import webhook_of
from chopmark.core.types import Channel
from chopmark.messaging.configuration import Pumping
from chopmark.messaging.failover import Router
from chopmark.messaging.ports import Gateway
from chopmark.messaging.preview import text_faults
from chopmark.messaging.reports import DeliveryReports
from chopmark.messaging.templates import Sender
from chopmark.messaging.webhook import Webhook
from chopmark.store.repositories.messaging.alarms import AlarmRepository
from chopmark.store.repositories.messaging.deliveries import DeliveryRepository
from chopmark.store.repositories.messaging.inbox import InboxRepository
from chopmark.store.repositories.messaging.outbox import OutboxRepository
from chopmark.store.repositories.messaging.spending import SpendingRepository
from chopmark.web.brand import Brand


@dataclass(frozen=True, slots=True)
class MessagingServices:
    """The bundle of messaging."""

    outbox: OutboxRepository
    router: Router
    reminder_router: Router
    """For reminders: nothing goes out twice, and its breakers and its share of the gateways' limits are its own."""
    inbox: InboxRepository
    reports: DeliveryReports
    webhook: Webhook | None
    alarms: AlarmRepository
    gateways: tuple[Gateway, ...]


def messaging_services(foundation: Foundation) -> MessagingServices:
    """Return the bundle. Raises GatewayUnfit or WebhookUnfit for settings that do not work."""
    inbox = InboxRepository(foundation.engine)
    _require_fit_texts(foundation)
    gateways = gateways_of(foundation.settings, foundation.brand, inbox)
    deliveries = DeliveryRepository(foundation.engine)
    limits = {listed.name: listed.limits for listed in listed_gateways(foundation.settings)}
    sms = foundation.settings.sms
    pumping = Pumping(sms.pumping_codes, sms.pumping_answered, timedelta(minutes=sms.pumping_minutes))
    spending = SpendingRepository(foundation.engine, limits, pumping=pumping)
    part = SpendingRepository(foundation.engine, limits, percent=foundation.reminders.gateway_percent)
    alarms, asked = AlarmRepository(foundation.engine), foundation.settings.alarms
    told = bool(asked.recipients or asked.urls.get_secret_value())
    return MessagingServices(
        outbox=OutboxRepository(foundation.engine),
        router=Router(gateways, deliveries, spending=spending, alarms=alarms if told else None),
        reminder_router=Router(gateways, deliveries, spending=part, alarms=alarms if told else None, once=True),
        alarms=alarms,
        gateways=tuple(gateways),
        inbox=inbox,
        webhook=webhook_of(foundation.settings),
        reports=DeliveryReports(gateways, deliveries, foundation.clock),
    )


def sender_of(brand: Brand) -> Sender:
    """Return the firm's words in messages."""
    return Sender(brand.firm.zh, brand.firm.en, brand.hotline.zh)


def _require_fit_texts(foundation: Foundation) -> None:
    """Raise GatewayUnfit when there is a gateway for phones and one of the texts would not arrive."""
    if not any(listed.channel is Channel.MOBILE for listed in listed_gateways(foundation.settings)):
        return
    policy = foundation.policy
    faults = text_faults(sender_of(foundation.brand), policy.code_digits, policy.code_life)
    if faults:
        raise GatewayUnfit(f"{faults[0]} ({len(faults)} in all): `chopmark messages preview` shows them")
