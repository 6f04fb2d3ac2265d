"""What relying firms follow: which certificate an account has, told again whenever a record says that it changed.

The cursor is a place in the audit's tree: places are given in one order, without gaps, and only to what is committed,
so whoever reads on from the last cursor misses nothing, and may get a certificate twice.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final, Protocol

from chopmark.audit.events import Event
from chopmark.core.types import AccountNumber, CertificateState, Serial
from chopmark.tw.zone import TAIPEI

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

    async def rest(self, timeout_s: float) -> None:
        """Return when records have got their place since the last call here, at the latest after the timeout.

        The first call returns at once. A wake-up may be lost, or come from a process that this one does not hear.
        """
        ...


class FeedCursor(Protocol):
    """How far the webhook's receiver has been told, and which worker tells it."""

    async def take(self, holder: str, now: datetime, ttl: timedelta) -> int | None:
        """Return the cursor, and keep other holders from sending for so long; None while another one may send."""
        ...

    async def move(self, before: int, after: int) -> bool:
        """Move the cursor from `before` to `after`; False, and nothing has happened, when it stands elsewhere."""
        ...


def told(following: int, changes: Iterable[Change]) -> Mapping[str, Any]:
    """Return what a relying firm is told, by the feed and by the webhook alike; moments are Taipei's."""
    return {
        "next": following,
        "changes": [
            {
                "account": change.account,
                "serial": change.serial,
                "state": change.state.value,
                "from": change.since.astimezone(TAIPEI).isoformat(),
                "to": change.until.astimezone(TAIPEI).isoformat(),
            }
            for change in changes
        ],
    }


def serials_of(event: str, facts: Mapping[str, object]) -> Iterable[Serial]:
    """Return the certificates that a record is about."""
    names = next((names for known, names in CHANGES.items() if known.value == event), ())
    return [Serial(value) for name in names if isinstance(value := facts.get(name), str)]
