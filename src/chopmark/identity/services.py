"""The services of identity that interfaces and jobs use: people, sign-in, sessions, launch tickets; built once."""

from dataclasses import dataclass

from chopmark.identity.launching import LaunchTickets
from chopmark.identity.password import PasswordGate
from chopmark.identity.people import People
from chopmark.identity.ports import Records
from chopmark.identity.sessions import SessionService


@dataclass(frozen=True, slots=True)
class IdentityServices:
    """The services of identity, as they are passed around."""

    people: People
    records: Records
    gate: PasswordGate
    sessions: SessionService
    launches: LaunchTickets
