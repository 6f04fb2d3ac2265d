"""Decides whether the clock of this machine can be trusted.

While it cannot, callers do not do what cannot be undone or what others rely on. `clock_trouble` decides, without I/O;
`ClockWatch` calls it with the readings of a running process.
"""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final, Protocol

from chopmark.core.clock import Clock

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
MOST: Final = timedelta(seconds=60)
"""How much the clock may move differently from the machine's count of the time since its start."""


class Machine(Protocol):
    """What the operating system tells about the clock besides the time."""

    def since_boot(self) -> timedelta:
        """Return the time since the machine was started, including sleep; nobody can set this count."""
        ...

    def synchronised(self) -> bool | None:
        """Return whether a service keeps the clock right; None if that is unknown or is not to be checked here."""
        ...


@dataclass(frozen=True, slots=True)
class Reading:
    """What the clock and the operating system said at one moment."""

    now: datetime
    since_boot: timedelta
    synchronised: bool | None


def clock_trouble(start: Reading, newest_head: datetime | None, reading: Reading) -> str | None:
    """Return why the clock cannot be trusted, in a sentence for the operator; None when it can be.

    `start` is what this process read when it began, `newest_head` the time of the newest signed tree head at that
    moment, None if there was none.
    """
    moved = (reading.now - start.now) - (reading.since_boot - start.since_boot)
    if abs(moved) > MOST:
        way = "forward" if moved > timedelta(0) else "back"
        return (
            f"the clock was put {way} by {_span(abs(moved))} while this process ran: set it right, and where it is "
            "right now, start the process again"
        )
    if newest_head is not None and start.now < newest_head - MOST and reading.now < newest_head:
        return (
            f"this process began at {start.now:%Y-%m-%d %H:%M:%S} UTC, before the audit's newest head, which is of "
            f"{newest_head:%Y-%m-%d %H:%M:%S} UTC: the clock is behind, or was ahead then"
        )
    if reading.synchronised is False:
        return (
            "the kernel says that nothing keeps the clock right: start an NTP client, or say "
            "CHOPMARK_CLOCK_KEPT_BY=host where the host of this machine does it"
        )
    return None


def _span(length: timedelta) -> str:
    return str(timedelta(seconds=int(length.total_seconds())))


class ClockWatch:
    """Checks the clock of a running process; without `machine`, only against the newest tree head at its start."""

    def __init__(self, clock: Clock, machine: Machine | None, newest_head: datetime | None) -> None:
        self._clock = clock
        self._machine = machine
        self._newest_head = newest_head
        self._start = self._read()

    def trouble(self) -> str | None:
        """Return why the clock cannot be trusted; None when it can be."""
        return clock_trouble(self._start, self._newest_head, self._read())

    def _read(self) -> Reading:
        now = self._clock.now()
        if self._machine is None:
            return Reading(now, now - _EPOCH, None)
        return Reading(now, self._machine.since_boot(), self._machine.synchronised())


Trouble = Callable[[], str | None]
"""Returns why the clock cannot be trusted; None when it can be."""


def believed() -> str | None:
    """Return that the clock can be trusted, for a caller that has no `ClockWatch`."""
    return None
