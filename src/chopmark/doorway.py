"""The way in, built: the gate for passwords, the door and the launch tickets, over one database."""

from dataclasses import dataclass

from chopmark.audit.log import AuditLog
from chopmark.clock import Clock, Entropy
from chopmark.identity.known import KnownBrowsers
from chopmark.identity.launching import LaunchTickets
from chopmark.identity.password import PasswordGate, hash_password
from chopmark.identity.people import People
from chopmark.identity.sessions import Marks, SessionService
from chopmark.store.engine import Engine
from chopmark.store.identity import RecordLedger, SessionLedger
from chopmark.store.launches import LaunchLedger
from chopmark.store.limits import RateLimitRepository
from chopmark.words import Secret


@dataclass(frozen=True, slots=True)
class Doorway:
    """What lets customers in."""

    gate: PasswordGate
    door: SessionService
    launches: LaunchTickets


def doorway(
    engine: Engine, people: People, audit_log: AuditLog, clock: Clock, entropy: Entropy, secret: bytes
) -> Doorway:
    """Return the way in; `secret` lies outside the database, and the cookies of known browsers are signed under it."""
    records, rate_limits = RecordLedger(engine), RateLimitRepository(engine)
    gate = PasswordGate(hash_password(Secret(entropy.token(16).hex()), entropy.token(16)))
    known = KnownBrowsers(secret, clock, entropy)
    door = SessionService(
        people, records, SessionLedger(engine), rate_limits, Marks(gate, known), audit_log, clock, entropy
    )
    return Doorway(
        gate, door, LaunchTickets(LaunchLedger(engine), records, rate_limits, door, audit_log, clock, entropy)
    )
