"""The ways in, each counted apart: an unknown browser, a known one, a launch (I11, I19).

What a stranger does moves the counter of unknown browsers and no other. At `CLOSES_AT` wrong passwords in a row an
entry closes for this customer, over all networks and for good: only a new binding opens it again, which is a new
password slip, or a launch that was followed by a right one-time code.

A name that nobody has is counted like a customer, so that the two cannot be told apart (I18).
"""

from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Final, Protocol

from chopmark.audit.record import AuditRecord
from chopmark.core.types import CustomerId
from chopmark.limits.budgets import RateLimit, Spent

CLOSES_AT: Final = 100
"""Wrong passwords in a row until an entry closes (NIST SP 800-63B-4 s.3.2.2: at most 100)."""


class Entry(StrEnum):
    """How somebody comes who types a password; the words are stored."""

    STRANGER = "stranger"
    """A browser that nothing vouches for."""
    KNOWN = "known"
    """A browser with a cookie that was given at a full sign-in of this customer."""
    LAUNCH = "launch"
    """A browser whose live session of this customer came from a trading program."""


_NETWORK: Final = "signin-network:"


@dataclass(frozen=True, slots=True)
class Way:
    """Whose counter it is, and which: a customer's number, or `claim:` and the keyed hash of what nobody is called."""

    subject: str
    entry: Entry


def signin_budgets(way: Way, network: str) -> tuple[RateLimit, ...]:
    """Return what one attempt is charged to besides: slow after three, stopped after ten, and a cap for the network.

    A known browser and a launch have rate limits of their own, so that nobody who shares their network slows them down.
    Strangers whose network is not known (empty) have no cap together: they are not one.
    """
    stranger = way.entry is Entry.STRANGER
    pair = f"signin:{way.subject}:{network if stranger else way.entry.value}"
    own = (
        RateLimit(f"{pair}:30s", 3, timedelta(seconds=30)),
        RateLimit(f"{pair}:5m", 5, timedelta(minutes=5)),
        RateLimit(f"{pair}:1h", 10, timedelta(hours=1)),
    )
    return (*own, RateLimit(f"{_NETWORK}{network}", 200, timedelta(minutes=15))) if stranger and network else own


def spare_budgets(way: Way, network: str, spent: Spent) -> tuple[RateLimit, ...] | None:
    """Return what an attempt is charged to when its network's cap is what is used up, by others; None when it is not.

    A carrier puts thousands of customers behind one address: two attempts an hour are kept for each customer, so that
    nobody else's wrong passwords keep a right one out. A right one costs nothing, there as here.
    """
    if not spent.name.startswith(_NETWORK):
        return None
    own = (limit for limit in signin_budgets(way, network) if not limit.name.startswith(_NETWORK))
    return (*own, RateLimit(f"signin-spare:{way.subject}", 2, timedelta(hours=1)))


class Entries(Protocol):
    """Counts wrong passwords in a row; shared by all nodes."""

    async def charge(self, way: Way, limits: tuple[RateLimit, ...], now: datetime) -> int | Spent | None:
        """Count an attempt as wrong before it is compared; return how many in a row that makes.

        The rate limit that is used up when one is, and nothing is counted; None when the entry is closed.
        """
        ...

    async def uncharge(self, way: Way, limits: tuple[RateLimit, ...]) -> None:
        """Take an attempt back that was not compared."""
        ...

    async def right(self, way: Way, limits: tuple[RateLimit, ...]) -> None:
        """Count anew after a right password, unless the entry was closed meanwhile; give back the rate limits."""
        ...

    async def close(self, way: Way, now: datetime, record: AuditRecord) -> bool:
        """Close an entry that failed `CLOSES_AT` times in a row, with its record; False when it was closed before."""
        ...

    async def reopen(self, customer: CustomerId, record: AuditRecord) -> bool:
        """Open all entries of the customer and count anew, with the record; False when none was closed."""
        ...
