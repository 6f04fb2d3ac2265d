"""Which kept OCSP answers still say what the record says, without reading the record for each (decision 20).

A process asks once a second what has changed, for all certificates in one query. An answer stands from the record's
reading on until a look shows that the record has turned.
"""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass

from chopmark.core.types import Serial
from chopmark.va.ports import Changed, StatusChanges

EVERY_S = 1.0
REST_S = 0.05
"""Between two looks, however many changes are rung for."""
TRUSTED_S = 3.0
"""After a look that began longer ago, nothing stands: the record is read for each answer."""
MOST_STANDING = 20_000


@dataclass(slots=True, eq=False)
class StatusGuard:
    """Whether what was said of a certificate, when its record had turned `status_version` times, is still so."""

    status_watcher: "StatusWatcher"
    status_version: int
    unchanged: bool = True

    def holds(self) -> bool:
        """True while the record has not turned as far as is known, and what is known is of these seconds."""
        return self.unchanged and self.status_watcher.sees()


class StatusWatcher:
    """One process's view of what changes, for the responders of all issuing CAs.

    `tick` tells seconds, and no change of the clock moves it.
    """

    def __init__(
        self,
        changes: StatusChanges,
        most_standing: int = MOST_STANDING,
        tick: Callable[[], float] | None = None,
    ) -> None:
        self._changes = changes
        self._most_standing = most_standing
        self._tick = tick or asyncio.get_running_loop().time
        self._standing: dict[Serial, StatusGuard] = {}
        self._since: int | None = None
        self._looked_at: float | None = None
        self.looks = 0
        """How many looks there were: whoever reads a record remembers it from before the reading."""

    async def look(self) -> int:
        """Find out what has changed; return 0, there is nothing more to do at once. Raises Refused.

        After a look that failed, or into a database that knows less than before (a standby that took over), nothing
        stands any more.
        """
        since, self._since = self._since, None
        begun = self._tick()
        seen = await self._changes.changed(since)
        if since is None or seen.mark < since or seen.found is None:
            self._clear()
        else:
            self._turn(seen.found)
        self._since, self._looked_at = seen.mark, begun
        self.looks += 1
        return 0

    async def rest(self, timeout_s: float) -> bool:
        """Wait until something has changed, or the timeout."""
        await asyncio.sleep(REST_S)
        return await self._changes.wait_changed(timeout_s)

    def sees(self) -> bool:
        """True while the last look is not too old."""
        return self._looked_at is not None and 0 <= self._tick() - self._looked_at < TRUSTED_S

    def stand(self, serial: Serial, status_version: int, looks: int) -> StatusGuard | None:
        """Return the standing of a record that was read when `looks` looks had been.

        None when nothing is seen now, or when a look came between: it may have shown a change after that reading,
        and no later look shows it again.
        """
        if looks != self.looks or not self.sees():
            return None
        standing = self._standing.get(serial)
        if standing is not None and standing.status_version == status_version:
            return standing
        self._drop(serial)
        while len(self._standing) >= self._most_standing:
            self._drop(next(iter(self._standing)))
        standing = self._standing[serial] = StatusGuard(self, status_version)
        return standing

    def _turn(self, changes: tuple[Changed, ...]) -> None:
        for change in changes:
            standing = self._standing.get(change.serial)
            if standing is not None and standing.status_version != change.status_version:
                self._drop(change.serial)

    def forget(self) -> None:
        """Have nothing stand any more, nor what is being answered now: every answer is asked for anew."""
        self.looks += 1
        self._clear()

    def _clear(self) -> None:
        for serial in tuple(self._standing):
            self._drop(serial)

    def _drop(self, serial: Serial) -> None:
        standing = self._standing.pop(serial, None)
        if standing is not None:
            standing.unchanged = False
