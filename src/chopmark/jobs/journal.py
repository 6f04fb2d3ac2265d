"""Comparing the database with the signed tree heads and the journal outside it, and repeating what a crash undid."""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace
from typing import Protocol

from chopmark.audit.journal import Line
from chopmark.core.each import each
from chopmark.jobs.loop import Job, Task

GOES_ON = frozenset({"clock", "journal", "responder", "watch", "presign", "publish"})
"""The jobs that run even while the database is behind: OCSP answers and lists for relying parties must not expire."""


class Watch(Protocol):
    """Finds out what the journal and the signed tree heads have and the database has not."""

    @property
    def behind(self) -> bool:
        """True when the database lacks more than a crash can explain: it is probably an older copy."""
        ...

    async def look(self) -> int:
        """Compare once; raises Refused."""
        ...

    def undone(self) -> tuple[Line, ...]:
        """Return changes of status that are in the journal and were never committed to the database."""
        ...


class JournalCheck:
    """The worker's check of the journal; `redo` makes a change of status that only the journal has."""

    def __init__(self, watch: Watch, redo: Callable[[Sequence[Line]], Awaitable[object]]) -> None:
        self._watch = watch
        self._redo = redo

    async def once(self) -> int:
        """Compare once and make the missing changes; return 0, because there is never more to do at once."""
        await self._watch.look()
        await each([[line] for line in self._watch.undone()], self._redo)
        return 0


def unless_behind(tasks: Sequence[Task], watch: Watch) -> tuple[Task, ...]:
    """Return the tasks, changed so that all but those of `GOES_ON` do nothing while the database is behind."""

    def guarded(job: Job) -> Job:
        async def run() -> int:
            return 0 if watch.behind else await job()

        return run

    return tuple(task if task.name in GOES_ON else replace(task, job=guarded(task.job)) for task in tasks)
