"""What the web doors are given by `main`: verbs and readers, no store and no CA."""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime

from chopmark.core.clock import Clock, Entropy
from chopmark.core.types import Secret, Text
from chopmark.identity.launching import LaunchTickets
from chopmark.identity.people import People
from chopmark.identity.sessions import SessionService
from chopmark.messaging.demo import InboxEntry
from chopmark.ra.authentication import RequestAuthentication
from chopmark.ra.enrolment import Enrolment
from chopmark.ra.feed import Feed
from chopmark.ra.overview import CustomerQueries
from chopmark.ra.policy import Policy
from chopmark.ra.ports import Idempotency
from chopmark.ra.possession import Possession
from chopmark.ra.program import ProgramEnrolment
from chopmark.ra.rekey import Rekey
from chopmark.ra.revocation import Revocation
from chopmark.ra.slips import SlipDesk
from chopmark.ra.stopping import StopDesk
from chopmark.va.ports import Crl
from chopmark.va.responder import Responder
from chopmark.va.timestamp import TimestampAuthority
from chopmark.web.brand import Brand
from chopmark.web.client_address import ClientAddresses
from chopmark.web.health import Check
from chopmark.web.load import Load


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
class Doors:
    """Everything a handler may call."""

    brand: Brand
    policy: Policy
    portal: str
    portal_url: str
    demo_mode: bool
    csrf_secret: Secret
    addresses: ClientAddresses
    est_url: str
    clock: Clock
    entropy: Entropy
    people: People
    session_service: SessionService
    authentication: RequestAuthentication
    launches: LaunchTickets
    enrolment: Enrolment
    rekey: Rekey
    possession: Possession
    slips: SlipDesk
    program: ProgramEnrolment
    revocation: Revocation
    stopping: StopDesk
    customer_queries: CustomerQueries
    idempotency: Idempotency
    responders: Mapping[str, Responder]
    timestamps: TimestampAuthority | None
    authorities: tuple[PublishedCa, ...]
    crl: Callable[[str, int], Awaitable[Crl | None]]
    issuer_title: str
    checks: Mapping[str, Check]
    require_whole: Callable[[], None]
    feed: Feed
    load: Load
    demo: Demo | None = None

    def now(self) -> datetime:
        """Return the present moment."""
        return self.clock.now()

    @property
    def https(self) -> bool:
        """Whether browsers reach the portal over TLS."""
        return self.portal_url.startswith("https://")
