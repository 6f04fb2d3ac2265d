"""The three ways to sign in, each with its own counter: an unknown browser, a known one, a launch (I11, I19).

Wrong passwords of a stranger only count for unknown browsers. After `CLOSES_AT` wrong passwords in a row a way is
closed for this customer, in all networks and without a time limit. A new password slip opens it again, or a launch
followed by a right one-time code.

A name that no customer has is counted in the same way, so that nobody can tell the two apart (I18).
"""

from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Final, Protocol

from chopmark.audit.record import AuditRecord
from chopmark.core.types import CustomerId
from chopmark.limits.rate_limits import RateLimit, Spent

CLOSES_AT: Final = 100
"""How many wrong passwords in a row close a way to sign in (NIST SP 800-63B-4 s.3.2.2: at most 100)."""


class Entry(StrEnum):
    """The kind of browser in which somebody types a password; the words are stored."""

    STRANGER = "stranger"
    """A browser of which nothing is known."""
    KNOWN = "known"
    """A browser with the cookie that it got when this customer had signed in there with all factors."""
    LAUNCH = "launch"
    """A browser with a live session of this customer that a trading program has opened."""


_NETWORK: Final = "signin-network:"


@dataclass(frozen=True, slots=True)
class Way:
    """The counter that an attempt moves: whose it is, and for which kind of browser.

    `subject` is a customer number, or `claim:` and the keyed hash of a name that no customer has.
    """

    subject: str
    entry: Entry


def signin_limits(way: Way, network: str) -> tuple[RateLimit, ...]:
    """Return the rate limits of one attempt: 3 in 30 seconds, 5 in 5 minutes, 10 in an hour, and the network's limit.

    A known browser and a launch have rate limits of their own, without the network's, so that nobody else in their
    network slows them down. Unknown browsers whose network is not known (empty) have no limit in common either, because
    they are not in one network.
    """
    stranger = way.entry is Entry.STRANGER
    pair = f"signin:{way.subject}:{network if stranger else way.entry.value}"
    own = (
        RateLimit(f"{pair}:30s", 3, timedelta(seconds=30)),
        RateLimit(f"{pair}:5m", 5, timedelta(minutes=5)),
        RateLimit(f"{pair}:1h", 10, timedelta(hours=1)),
    )
    return (*own, RateLimit(f"{_NETWORK}{network}", 200, timedelta(minutes=15))) if stranger and network else own


def spare_limits(way: Way, network: str, spent: Spent) -> tuple[RateLimit, ...] | None:
    """Return the rate limits of an attempt whose network has used up its limit; None when `spent` is another limit.

    A mobile carrier has thousands of customers behind one address. So each customer has two attempts an hour that other
    people's wrong passwords do not use up. A right password is given back, as everywhere.
    """
    if not spent.name.startswith(_NETWORK):
        return None
    own = (limit for limit in signin_limits(way, network) if not limit.name.startswith(_NETWORK))
    return (*own, RateLimit(f"signin-spare:{way.subject}", 2, timedelta(hours=1)))


class Entries(Protocol):
    """Counts wrong passwords in a row, for all nodes together."""

    async def charge(self, way: Way, limits: tuple[RateLimit, ...], now: datetime) -> int | Spent | None:
        """Count an attempt as wrong before it is compared; return how many in a row there are now.

        When a rate limit is used up, count nothing and return that limit. When the way is closed, return None.
        """
        ...

    async def uncharge(self, way: Way, limits: tuple[RateLimit, ...]) -> None:
        """Take back an attempt that was counted and then not compared."""
        ...

    async def right(self, way: Way, limits: tuple[RateLimit, ...]) -> None:
        """Set the counter to 0 after a right password, unless the way was closed meanwhile; refund the rate limits."""
        ...

    async def close(self, way: Way, now: datetime, record: AuditRecord) -> bool:
        """Close a way after `CLOSES_AT` wrong passwords in a row, with the record; False when it was closed before."""
        ...

    async def reopen(self, customer: CustomerId, record: AuditRecord) -> bool:
        """Open all ways of the customer and set the counters to 0, with the record; False when none was closed."""
        ...
