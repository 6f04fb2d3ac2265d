"""The way in, built: the gate for passwords, the door and the desk for launches, over one database."""

from dataclasses import dataclass

from chopmark.audit.recorder import Recorder
from chopmark.core.clock import Clock, Entropy
from chopmark.core.types import Secret
from chopmark.identity.known import KnownBrowsers
from chopmark.identity.launching import LaunchDesk
from chopmark.identity.password import PasswordGate, hash_password
from chopmark.identity.people import People
from chopmark.identity.sessions import Door, Marks
from chopmark.store.engine.port import Engine
from chopmark.store.repositories.identity.customers import RecordLedger, SessionLedger
from chopmark.store.repositories.identity.launches import LaunchLedger
from chopmark.store.repositories.limits import CounterLedger


@dataclass(frozen=True, slots=True)
class Doorway:
    """What lets customers in."""

    gate: PasswordGate
    door: Door
    launches: LaunchDesk


def doorway(
    engine: Engine, people: People, recorder: Recorder, clock: Clock, entropy: Entropy, secret: bytes
) -> Doorway:
    """Return the way in; `secret` lies outside the database, and the cookies of known browsers are signed under it."""
    records, counters = RecordLedger(engine), CounterLedger(engine)
    gate = PasswordGate(hash_password(Secret(entropy.token(16).hex()), entropy.token(16)))
    known = KnownBrowsers(secret, clock, entropy)
    door = Door(people, records, SessionLedger(engine), counters, Marks(gate, known), recorder, clock, entropy)
    return Doorway(gate, door, LaunchDesk(LaunchLedger(engine), records, counters, door, recorder, clock, entropy))
