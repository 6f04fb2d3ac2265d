"""The nightly clean-up: what has outlived its time is deleted, a little at a time."""

from datetime import datetime, timedelta
from typing import Final, Protocol

from chopmark.core.clock import Clock
from chopmark.tw.zone import TAIPEI

BEGINS: Final = timedelta(hours=2)
"""After midnight in Taipei; where nothing ran then, it is done when a worker runs again."""
MOST_BATCHES: Final = 50
"""Then the worker's loop has its turn, and the job is called again at once."""


class Lives(Protocol):
    """What is deleted, and how far that is."""

    @property
    def count(self) -> int:
        """How many kinds of rows have a life."""
        ...

    @property
    def batch(self) -> int:
        """How many rows go at once at most."""
        ...

    async def cleaned(self) -> str | None:
        """Return the night whose clean-up was the last that came to its end; None before the first."""
        ...

    async def mark(self, night: str) -> None:
        """Note that this night's clean-up has come to its end."""
        ...

    async def delete(self, number: int, holder: str, now: datetime) -> int | None:
        """Delete a batch of the `number`-th kind under the lease; how many rows went, None without the lease."""
        ...


class CleanUp:
    """Deletes once a night. Each batch is a transaction of its own, so whoever is interrupted goes on where it was."""

    def __init__(self, lives: Lives, clock: Clock, holder: str) -> None:
        self._lives = lives
        self._clock = clock
        self._holder = holder

    async def once(self) -> int:
        """Do this night's clean-up unless it is done; return how many rows went when there may be more, else 0."""
        night = (self._clock.now().astimezone(TAIPEI) - BEGINS).date().isoformat()
        if await self._lives.cleaned() == night:
            return 0
        gone = 0
        for number in range(self._lives.count):
            for _ in range(MOST_BATCHES):
                deleted = await self._lives.delete(number, self._holder, self._clock.now())
                if deleted is None:
                    return 0
                gone += deleted
                if deleted < self._lives.batch:
                    break
            else:
                return gone
        await self._lives.mark(night)
        return 0
