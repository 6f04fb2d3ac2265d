"""The bundle of messaging, built: the outbox, what carries its messages, their reports, and the demo's inbox."""

from dataclasses import dataclass

from chopmark.app.foundation import Foundation
from chopmark.app.gateways import gateways_of
from chopmark.messaging.failover import Router
from chopmark.messaging.reports import DeliveryReports
from chopmark.store.repositories.messaging.deliveries import DeliveryRepository
from chopmark.store.repositories.messaging.inbox import InboxRepository
from chopmark.store.repositories.messaging.outbox import OutboxRepository


@dataclass(frozen=True, slots=True)
class MessagingServices:
    """The bundle of messaging."""

    outbox: OutboxRepository
    router: Router
    inbox: InboxRepository
    reports: DeliveryReports


def messaging_services(foundation: Foundation) -> MessagingServices:
    """Return the bundle. Raises GatewayUnfit for settings of a gateway that do not work."""
    inbox = InboxRepository(foundation.engine)
    gateways = gateways_of(foundation.settings, foundation.brand, inbox)
    deliveries = DeliveryRepository(foundation.engine)
    return MessagingServices(
        outbox=OutboxRepository(foundation.engine),
        router=Router(gateways, deliveries),
        inbox=inbox,
        reports=DeliveryReports(gateways, deliveries, foundation.clock),
    )
