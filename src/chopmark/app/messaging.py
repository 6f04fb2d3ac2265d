"""The bundle of messaging, built: the outbox, what carries its messages, and the demo's inbox."""

from dataclasses import dataclass

from chopmark.app.foundation import Foundation
from chopmark.app.gateways import gateways_of
from chopmark.messaging.failover import Router
from chopmark.store.repositories.messaging.inbox import InboxRepository
from chopmark.store.repositories.messaging.outbox import OutboxRepository


@dataclass(frozen=True, slots=True)
class MessagingServices:
    """The bundle of messaging."""

    outbox: OutboxRepository
    router: Router
    inbox: InboxRepository


def messaging_services(foundation: Foundation) -> MessagingServices:
    """Return the bundle. Raises GatewayUnfit for settings of a gateway that do not work."""
    inbox = InboxRepository(foundation.engine)
    router = Router(gateways_of(foundation.settings, foundation.brand, inbox))
    return MessagingServices(OutboxRepository(foundation.engine), router, inbox)
