"""What `app.web` gives to the web: the bundles that its handlers call; neither the store nor the CA."""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime

from chopmark.core.clock import Clock, Entropy
from chopmark.core.types import Secret, Text
from chopmark.identity.services import IdentityServices
from chopmark.messaging.demo import InboxEntry
from chopmark.messaging.reports import DeliveryReports
from chopmark.ra.policy import Policy
from chopmark.ra.services import RaServices
from chopmark.va.ports import Crl
from chopmark.va.responder import Responder
from chopmark.va.timestamp import TimestampAuthority
from chopmark.web.asgi.client_address import ClientAddresses
from chopmark.web.asgi.health import Check
from chopmark.web.asgi.load import Load
from chopmark.web.brand import Brand


@dataclass(frozen=True, slots=True)
class DemoPerson:
    """A customer of the demo: who may be chosen in its trading program."""

    customer: str
    account: str
    name: str
    note: Text


@dataclass(frozen=True, slots=True)
class Demo:
    """What only the demo has: people to begin as, a credential for launches, an inbox whose codes are derived."""

    people: tuple[DemoPerson, ...]
    client: str
    client_secret: Secret = field(repr=False)
    newest: Callable[[int], Awaitable[list[InboxEntry]]]
    code_of: Callable[[InboxEntry], Awaitable[Secret | None]]


@dataclass(frozen=True, slots=True)
class PublishedCa:
    """A CA certificate as published: its short name, its title, DER, and how many CRL shards it has."""

    id: str
    title: str
    certificate: bytes
    shards: int


@dataclass(frozen=True, slots=True)
class PublicationServices:
    """What relying parties are answered with: OCSP by issuer, time-stamps, CA certificates and revocation lists."""

    responders: Mapping[str, Responder]
    timestamps: TimestampAuthority | None
    authorities: tuple[PublishedCa, ...]
    crl: Callable[[str, int], Awaitable[Crl | None]]


@dataclass(frozen=True, slots=True)
class WebServices:
    """What the web is given: this portal's own values, and the bundles of the subsystems that handlers may call."""

    brand: Brand
    policy: Policy
    portal: str
    portal_url: str
    demo_mode: bool
    csrf_secret: Secret
    addresses: ClientAddresses
    est_url: str
    issuer_title: str
    clock: Clock
    entropy: Entropy
    identity: IdentityServices
    ra: RaServices
    publication: PublicationServices
    checks: Mapping[str, Check]
    require_whole: Callable[[], None]
    load: Load
    reports: DeliveryReports
    demo: Demo | None = None

    def now(self) -> datetime:
        """Return the present moment."""
        return self.clock.now()

    @property
    def https(self) -> bool:
        """Whether browsers reach the portal over TLS."""
        return self.portal_url.startswith("https://")
