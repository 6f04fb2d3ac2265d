"""Whether this machine's clock can be believed: what cannot be undone, and what others rely on, waits until it can.

`clock_trouble` decides and is pure; `ClockWatch` asks it with the readings of a running process.
"""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final, Protocol

from chopmark.core.clock import Clock

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
MOST: Final = timedelta(seconds=60)
"""How far the clock may move against the time since the machine was started."""


class Machine(Protocol):
    """What a machine knows of its clock besides the time."""

    def since_boot(self) -> timedelta:
        """Return the time since the machine was started, sleep included; nobody can set it."""
        ...

    def synchronised(self) -> bool | None:
        """Return whether something keeps the clock right; None where that cannot be told or is nobody's business."""
        ...


@dataclass(frozen=True, slots=True)
class Reading:
    """One look at the clock and at what the machine knows of it."""

    now: datetime
    since_boot: timedelta
    synchronised: bool | None


def clock_trouble(start: Reading, newest_head: datetime | None, reading: Reading) -> str | None:
    """Return why the clock cannot be believed, in a sentence for the operator; None when it can.

    `start` is what this process read when it began, `newest_head` the time of the newest signed head then.
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
    """Looks at the clock of a running process; without a machine only at where it began."""

    def __init__(self, clock: Clock, machine: Machine | None, newest_head: datetime | None) -> None:
        self._clock = clock
        self._machine = machine
        self._newest_head = newest_head
        self._start = self._read()

    def trouble(self) -> str | None:
        """Return why the clock cannot be believed; None when it can."""
        return clock_trouble(self._start, self._newest_head, self._read())

    def _read(self) -> Reading:
        now = self._clock.now()
        if self._machine is None:
            return Reading(now, now - _EPOCH, None)
        return Reading(now, self._machine.since_boot(), self._machine.synchronised())


Trouble = Callable[[], str | None]
"""Says why the clock cannot be believed; None when it can."""


def believed() -> str | None:
    """Say that the clock can be believed: for who has no watch."""
    return None
