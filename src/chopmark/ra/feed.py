"""What relying firms follow: which certificate an account has, told again whenever a record says that it changed.

The cursor is a place in the audit's tree: places are given in one order, without gaps, and only to what is committed,
so whoever reads on from the last cursor misses nothing, and may get a certificate twice.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Final, Protocol

from chopmark.audit.events import Event
from chopmark.core.types import AccountNumber, CertificateState, Serial

CHANGES: Final[Mapping[Event, tuple[str, ...]]] = {
    Event.RA_CERTIFICATE_ACTIVATED: ("serial", "old_serial"),
    Event.RA_CERTIFICATE_HELD: ("serial",),
    Event.RA_CERTIFICATE_RELEASED: ("serial",),
    Event.RA_ORDER_DONE: ("serial",),
    Event.CA_CERTIFICATE_HELD: ("serial",),
    Event.CA_CERTIFICATE_RELEASED: ("serial",),
    Event.CA_CERTIFICATE_REVOKED: ("serial",),
    Event.STAFF_CERTIFICATE_REVOKED: ("serial",),
}
"""The records after which a certificate may be in another state, and which facts name it."""


@dataclass(frozen=True, slots=True)
class Change:
    """A certificate as it stands now; `since` and `until` are its validity."""

    account: AccountNumber
    serial: Serial
    state: CertificateState
    since: datetime
    until: datetime


@dataclass(frozen=True, slots=True)
class Changed:
    """What was changed from a cursor on, each certificate once, and the cursor from which to go on."""

    following: int
    changes: tuple[Change, ...]


class Feed(Protocol):
    """Reads what relying firms follow."""

    async def after(self, cursor: int) -> Changed:
        """Return what was changed at this place of the tree or behind it, bounded."""
        ...


def serials_of(event: str, facts: Mapping[str, object]) -> Iterable[Serial]:
    """Return the certificates that a record is about."""
    names = next((names for known, names in CHANGES.items() if known.value == event), ())
    return [Serial(value) for name in names if isinstance(value := facts.get(name), str)]
