"""Tells whether kept OCSP answers are still right, without reading each certificate's status again (decision 20).

Once a second, each process asks the database in one query which certificates have changed their status; this is a
*look*. A kept answer comes with a guard. The guard holds until a look shows that the certificate's status has changed,
and only while looks succeed.
"""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass

from chopmark.core.types import Serial
from chopmark.va.ports import Changed, StatusChanges

EVERY_S = 1.0
REST_S = 0.05
"""The least time between two looks, however many changes are notified."""
TRUSTED_S = 3.0
"""If the last look began longer ago, no guard holds, and the status is read from the database for each answer."""
MOST_STANDING = 20_000


@dataclass(slots=True, eq=False)
class StatusGuard:
    """Tells whether a certificate still has this status version, so that an answer made from it may be given again."""

    status_watcher: "StatusWatcher"
    status_version: int
    unchanged: bool = True

    def holds(self) -> bool:
        """Return True while no look has shown a change of status and the last look is recent enough."""
        return self.unchanged and self.status_watcher.sees()


class StatusWatcher:
    """Watches for changes of status, for the responders of all issuing CAs in one process.

    `tick` returns seconds of a monotonic clock, which no change of the system clock affects.
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
        """How many looks there were; a caller that reads a status notes this number before and passes it to `stand`."""

    async def look(self) -> int:
        """Ask the database what has changed, and end the guards of those certificates. Raises Refused.

        All guards end after a failed look, or when the database has fewer changes than before because a standby took
        over. Always returns 0, because no further call is needed at once.
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
        """Wait until a status has changed, at most for the timeout, and in any case REST_S."""
        await asyncio.sleep(REST_S)
        return await self._changes.wait_changed(timeout_s)

    def sees(self) -> bool:
        """Return True while the last look is recent enough."""
        return self._looked_at is not None and 0 <= self._tick() - self._looked_at < TRUSTED_S

    def stand(self, serial: Serial, status_version: int, looks: int) -> StatusGuard | None:
        """Return a guard for a certificate whose status was read after look number `looks`.

        Return None if the last look is too old, or if there was another look since the reading: that look may have
        shown a later change of status, and no further look would show it again.
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
        """End all guards, and give none to requests that are being answered now, so that each answer is made anew."""
        self.looks += 1
        self._clear()

    def _clear(self) -> None:
        for serial in tuple(self._standing):
            self._drop(serial)

    def _drop(self, serial: Serial) -> None:
        standing = self._standing.pop(serial, None)
        if standing is not None:
            standing.unchanged = False
