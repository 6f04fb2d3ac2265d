"""Looking for what the database lacks of heads and journal, and doing again what a crash left undone."""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace
from typing import Protocol

from chopmark.audit.journal import Line
from chopmark.jobs.loop import Job, Task

GOES_ON = frozenset({"clock", "journal", "responder", "watch", "presign", "publish"})
"""The jobs that are run also while the database is behind: what relying parties ask for must not run out."""


class Watch(Protocol):
    """What the database lacks."""

    @property
    def behind(self) -> bool:
        """True when the database lacks what a crash cannot have kept from it."""
        ...

    async def look(self) -> int:
        """Compare once; raises Refused."""
        ...

    def undone(self) -> tuple[Line, ...]:
        """Return changes of status whose commit never came."""
        ...


class JournalCheck:
    """The worker's look; `redo` makes a change of status that the journal has."""

    def __init__(self, watch: Watch, redo: Callable[[Sequence[Line]], Awaitable[object]]) -> None:
        self._watch = watch
        self._redo = redo

    async def once(self) -> int:
        """Look once, and do again what is undone; there is never more to do at once."""
        await self._watch.look()
        for line in self._watch.undone():
            await self._redo([line])
        return 0


def unless_behind(tasks: Sequence[Task], watch: Watch) -> tuple[Task, ...]:
    """Return the tasks as they are run while the database has everything; else all but a few do nothing."""

    def guarded(job: Job) -> Job:
        async def run() -> int:
            return 0 if watch.behind else await job()

        return run

    return tuple(task if task.name in GOES_ON else replace(task, job=guarded(task.job)) for task in tasks)
