"""The nightly clean-up: rows that are no longer needed are deleted, one small batch after another."""

from datetime import datetime, timedelta
from typing import Final, Protocol

from chopmark.core.clock import Clock
from chopmark.core.each import each
from chopmark.tw.zone import TAIPEI

BEGINS: Final = timedelta(hours=2)
"""How long after midnight in Taipei a night's clean-up begins; if no worker runs then, the next one to run does it."""
MOST_BATCHES: Final = 50
"""How many batches of one kind a call deletes at most; then it returns, and the worker's loop calls it again at once.

So a stop of the worker is noticed in between.
"""


class Lives(Protocol):
    """Deletes expired rows, kind by kind, and remembers which night's clean-up was finished."""

    @property
    def count(self) -> int:
        """How many kinds of rows expire."""
        ...

    @property
    def batch(self) -> int:
        """How many rows one transaction deletes at most."""
        ...

    async def cleaned(self) -> str | None:
        """Return the night of the last finished clean-up; None when none was finished yet."""
        ...

    async def mark(self, night: str) -> None:
        """Note that this night's clean-up is finished."""
        ...

    async def delete(self, number: int, holder: str, now: datetime) -> int | None:
        """Delete one batch of the `number`-th kind; return how many rows were deleted, None without the lease."""
        ...


class CleanUp:
    """Deletes once a night; each batch is its own transaction, so an interrupted run continues where it stopped."""

    def __init__(self, lives: Lives, clock: Clock, holder: str) -> None:
        self._lives = lives
        self._clock = clock
        self._holder = holder

    async def once(self) -> int:
        """Do this night's clean-up unless it is finished; return how many rows it deleted if more may be left, else 0.

        Where another worker has the lease this one does nothing and returns 0. A kind of rows that cannot be deleted
        keeps no other kind from it; then the night is not finished, and what was raised is raised here.
        """
        night = (self._clock.now().astimezone(TAIPEI) - BEGINS).date().isoformat()
        if await self._lives.cleaned() == night:
            return 0
        left = [one for one in await each(range(self._lives.count), self._kind) if one != 0]
        if None in left:
            return 0
        if left:
            return sum(one for one in left if one is not None)
        await self._lives.mark(night)
        return 0

    async def _kind(self, number: int) -> int | None:
        """Delete rows of a kind. Return 0 when none is left to delete, else how many went; None without the lease."""
        gone = 0
        for _ in range(MOST_BATCHES):
            deleted = await self._lives.delete(number, self._holder, self._clock.now())
            if deleted is None:
                return None
            gone += deleted
            if deleted < self._lives.batch:
                return 0
        return gone
