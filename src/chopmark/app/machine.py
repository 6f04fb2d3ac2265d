"""What this machine knows of its clock besides the time: how long it has run, and whether something keeps it right."""

import ctypes
import time
from dataclasses import dataclass
from datetime import timedelta

_TIME_ERROR = 5
"""adjtimex(2): the clock is not synchronised."""
_TIMEX_SIZE = 1024
"""More than a struct timex has; all zero it asks and changes nothing."""


@dataclass(frozen=True, slots=True)
class SystemMachine:
    """Linux. `kernel_keeps`: the kernel's word on synchronisation counts; where a host keeps the time it knows none."""

    kernel_keeps: bool

    def since_boot(self) -> timedelta:
        """Return the time since the machine was started, sleep included."""
        return timedelta(microseconds=time.clock_gettime_ns(time.CLOCK_BOOTTIME) // 1000)

    def synchronised(self) -> bool | None:
        """Return what the kernel says; None where it is not asked or does not say."""
        if not self.kernel_keeps:
            return None
        said = int(ctypes.CDLL(None).adjtimex(ctypes.create_string_buffer(_TIMEX_SIZE)))
        return None if said < 0 else said != _TIME_ERROR
