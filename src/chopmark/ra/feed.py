"""The feed that relying firms follow: which certificate an account has, sent again whenever a record says it changed.

The cursor is a place in the audit tree. Places are given in one order, without gaps, and only to committed records, so
a reader who continues from the last cursor misses nothing, but may get the same certificate twice.
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
"""The events after which a certificate may be in another state, and the facts that hold its serial."""


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
    """The certificates that changed from a cursor on, each once, and the cursor for the next call."""

    following: int
    changes: tuple[Change, ...]


class Feed(Protocol):
    """Reads the feed from the store."""

    async def after(self, cursor: int) -> Changed:
        """Return what changed at this place of the tree or after it; one call returns a limited number."""
        ...

    async def rest(self, timeout_s: float) -> None:
        """Wait until records have got their places since the last call, or until the timeout.

        The first call returns at once. A wake-up may be lost or may come from a process that this one does not hear,
        so the caller must also read after a timeout.
        """
        ...


class FeedCursor(Protocol):
    """Stores how far the webhook's receiver has been told, and which worker may send."""

    async def take(self, holder: str, now: datetime, ttl: timedelta) -> int | None:
        """Take the lease for `ttl` and return the cursor; None while another holder has the lease."""
        ...

    async def move(self, before: int, after: int) -> bool:
        """Move the cursor from `before` to `after`; return False, without a change, if it is not at `before`."""
        ...


def told(following: int, changes: Iterable[Change]) -> Mapping[str, Any]:
    """Return what a relying firm gets, the same from the feed and the webhook; moments are in Taipei time."""
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
    """Return the serials of the certificates whose state a record may have changed."""
    names = next((names for known, names in CHANGES.items() if known.value == event), ())
    return [Serial(value) for name in names if isinstance(value := facts.get(name), str)]
