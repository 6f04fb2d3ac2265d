"""The way in, built: the gate for passwords, the door and the launch tickets, over one database."""

from dataclasses import dataclass

from chopmark.audit.log import AuditLog
from chopmark.core.clock import Clock, Entropy
from chopmark.core.types import Secret
from chopmark.identity.known import KnownBrowsers
from chopmark.identity.launching import LaunchTickets
from chopmark.identity.password import PasswordGate, hash_password
from chopmark.identity.people import People
from chopmark.identity.sessions import Marks, SessionService
from chopmark.store.engine.port import Engine
from chopmark.store.repositories.identity.customers import CustomerRepository, SessionRepository
from chopmark.store.repositories.identity.launches import LaunchRepository
from chopmark.store.repositories.limits import RateLimitRepository


@dataclass(frozen=True, slots=True)
class Doorway:
    """What lets customers in."""

    gate: PasswordGate
    session_service: SessionService
    launches: LaunchTickets


def doorway(
    engine: Engine, people: People, audit_log: AuditLog, clock: Clock, entropy: Entropy, secret: bytes
) -> Doorway:
    """Return the way in; `secret` lies outside the database, and the cookies of known browsers are signed under it."""
    records, rate_limits = CustomerRepository(engine), RateLimitRepository(engine)
    gate = PasswordGate(hash_password(Secret(entropy.token(16).hex()), entropy.token(16)))
    known = KnownBrowsers(secret, clock, entropy)
    door = SessionService(
        people, records, SessionRepository(engine), rate_limits, Marks(gate, known), audit_log, clock, entropy
    )
    return Doorway(
        gate, door, LaunchTickets(LaunchRepository(engine), records, rate_limits, door, audit_log, clock, entropy)
    )
