"""What the worker does about a clock that cannot be believed: it says so, and leaves undone what cannot be undone."""

from typing import Protocol

import structlog

from chopmark.audit.clockwatch import Trouble
from chopmark.jobs.loop import Job

log = structlog.get_logger()


def unless_in_doubt(name: str, job: Job, trouble: Trouble) -> Job:
    """Return the job as it is run while the clock can be believed; else it does nothing, and the log says why."""

    async def run() -> int:
        why = trouble()
        if why is None:
            return await job()
        log.error("job stopped: the clock cannot be believed", job=name, kind=why)
        return 0

    return run


class Notes(Protocol):
    """Where a word is left for `chopmark check`, which is another process."""

    async def get(self, name: str) -> str | None:
        """Return the value on record, or None."""
        ...

    async def put(self, name: str, value: str) -> None:
        """Put a value on record."""
        ...


def note_of(node: int) -> str:
    """Return the name under which a node's worker notes what is wrong with its clock; empty for nothing."""
    return f"clock:{node}"


class ClockNote:
    """Notes when the clock cannot be believed, and when it can be again."""

    def __init__(self, trouble: Trouble, notes: Notes, node: int) -> None:
        self._trouble = trouble
        self._notes = notes
        self._name = note_of(node)
        self._noted: str | None = None

    async def once(self) -> int:
        """Note a change, in the log too; there is never more to do at once."""
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
