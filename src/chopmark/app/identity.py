"""The bundle of identity, built: people, the gate for passwords, sessions and launch tickets."""

from chopmark.app.foundation import Foundation
from chopmark.app.secrets import key_of
from chopmark.identity.known import KnownBrowsers
from chopmark.identity.launching import LaunchTickets
from chopmark.identity.password import PasswordGate, nobodys
from chopmark.identity.people import People
from chopmark.identity.services import IdentityServices
from chopmark.identity.sessions import Marks, SessionService
from chopmark.store.repositories.identity.customers import CustomerRepository, SessionRepository
from chopmark.store.repositories.identity.launches import LaunchRepository
from chopmark.store.repositories.rate_limits import RateLimitRepository


def identity_services(foundation: Foundation) -> IdentityServices:
    """Return the bundle; the cookies of known browsers are signed under a secret that lies outside the database."""
    engine, audit_log, clock, entropy = foundation.engine, foundation.audit_log, foundation.clock, foundation.entropy
    records, rate_limits = CustomerRepository(engine), RateLimitRepository(engine)
    people = People(records, foundation.sealer)
    gate = PasswordGate(nobodys(entropy.token(16), entropy.token(16)))
    marks = Marks(gate, KnownBrowsers(key_of(foundation.settings, "csrf_key"), clock, entropy))
    sessions = SessionService(people, records, SessionRepository(engine), rate_limits, marks, audit_log, clock, entropy)
    launches = LaunchTickets(LaunchRepository(engine), records, rate_limits, sessions, audit_log, clock, entropy)
    return IdentityServices(people, records, gate, sessions, launches)
