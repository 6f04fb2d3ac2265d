"""The object graph, built once: each subsystem gives one bundle, and `Services` is the bundle of bundles.

A new feature is a field of its subsystem's bundle, and what it needs is built where the bundle is built.
"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

from chopmark.app.auditing import AuditServices, audit_services
from chopmark.app.external_ca import ExternalFault
from chopmark.app.former_issuers import FormerServices, FormerUnfit, former_services
from chopmark.app.foundation import Foundation, Opening, SystemClock, SystemEntropy, open_default, open_foundation
from chopmark.app.gateways import GatewayUnfit
from chopmark.app.identity import identity_services
from chopmark.app.issuing_cas import CaServices, ca_deps, ca_services
from chopmark.app.machine import SystemMachine
from chopmark.app.messaging import MessagingServices, messaging_services
from chopmark.app.registration import ra_services
from chopmark.app.secrets import NotReady, open_secrets
from chopmark.app.settings import Settings
from chopmark.app.timestamping import VaServices, va_services
from chopmark.app.webhooks import WebhookUnfit
from chopmark.audit.clockwatch import Machine
from chopmark.audit.durable import private_folder
from chopmark.core.clock import Clock, Entropy
from chopmark.identity.services import IdentityServices
from chopmark.ra.services import RaServices
from chopmark.store.current import make_current


@dataclass(frozen=True, slots=True)
class Services:
    """Everything that an interface or a job needs, by subsystem."""

    foundation: Foundation
    audit: AuditServices
    identity: IdentityServices
    messaging: MessagingServices
    ca: CaServices
    va: VaServices
    ra: RaServices
    former: FormerServices

    async def close(self) -> None:
        """Close what was opened."""
        await self.ra.idempotency.stored()
        await self.messaging.router.close()
        self.identity.gate.close()
        await self.foundation.close()


async def build(
    settings: Settings, clock: Clock, entropy: Entropy, opening: Opening = open_default, machine: Machine | None = None
) -> Services:
    """Return the object graph over a current database; without `machine` the clock is not checked. Raises NotReady."""
    foundation = await open_foundation(open_secrets(settings, SystemEntropy()), clock, entropy, opening)
    try:
        return await _compose(foundation, machine)
    except BaseException as error:
        await foundation.engine.close()
        if isinstance(error, ExternalFault | FormerUnfit | GatewayUnfit | WebhookUnfit):
            raise NotReady(str(error)) from error
        raise


async def _compose(foundation: Foundation, machine: Machine | None) -> Services:
    deps = ca_deps(foundation)
    ca = await ca_services(deps)
    audit = await audit_services(foundation, machine)
    identity = identity_services(foundation)
    former = former_services(foundation.settings, foundation.engine, foundation.clock, foundation.entropy)
    return Services(
        foundation=foundation,
        audit=audit,
        identity=identity,
        messaging=messaging_services(foundation),
        ca=ca,
        va=va_services(foundation, audit, ca, deps.status),
        ra=ra_services(foundation, identity, ca, former.issuers),
        former=former,
    )


@asynccontextmanager
async def opened(settings: Settings) -> AsyncIterator[Services]:
    """Give the services of these settings and close them afterwards; the schema is brought up to date first."""
    if not settings.database:
        private_folder(settings.data)
    await make_current(settings.database_url)
    machine = SystemMachine(settings.kernel_keeps_clock)
    services = await build(settings, SystemClock(), SystemEntropy(), machine=machine)
    try:
        await services.foundation.restorewatch.look()
        yield services
    finally:
        await services.close()
