"""What the worker does while its clock may be wrong: it says so, and does not run the jobs that cannot be undone."""

from typing import Protocol

import structlog

from chopmark.audit.clockwatch import Trouble
from chopmark.jobs.loop import Job

log = structlog.get_logger()


def unless_in_doubt(name: str, job: Job, trouble: Trouble) -> Job:
    """Return a job that runs only while the clock can be believed; otherwise it does nothing and logs why."""

    async def run() -> int:
        why = trouble()
        if why is None:
            return await job()
        log.error("job stopped: the clock cannot be believed", job=name, kind=why)
        return 0

    return run


class Notes(Protocol):
    """Values in the database by which the worker tells `chopmark check`, another process, how its clock is."""

    async def get(self, name: str) -> str | None:
        """Return the stored value, or None."""
        ...

    async def put(self, name: str, value: str) -> None:
        """Store a value."""
        ...


def note_of(node: int) -> str:
    """Return the name under which a node's worker stores what is wrong with its clock; empty if nothing is."""
    return f"clock:{node}"


class ClockNote:
    """Stores and logs when the clock stops being believable, and when it is believable again."""

    def __init__(self, trouble: Trouble, notes: Notes, node: int) -> None:
        self._trouble = trouble
        self._notes = notes
        self._name = note_of(node)
        self._noted: str | None = None

    async def once(self) -> int:
        """Store and log a change since the last call; return 0, because there is never more to do at once."""
        said = self._trouble() or ""
        if self._noted is None:
            self._noted = await self._notes.get(self._name) or ""
        if bool(said) != bool(self._noted):
            await self._notes.put(self._name, said)
            if said:
                log.error("the clock cannot be believed", kind=said)
            else:
                log.warning("the clock can be believed again")
            self._noted = said
        return 0
