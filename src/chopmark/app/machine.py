"""Read how long this machine has run, and whether its clock is synchronised."""

import ctypes
import time
from dataclasses import dataclass
from datetime import timedelta

_TIME_ERROR = 5
"""adjtimex(2): the clock is not synchronised."""
_TIMEX_SIZE = 1024
"""More octets than a struct timex has; filled with zeros, the call reads and changes nothing."""


@dataclass(frozen=True, slots=True)
class SystemMachine:
    """A Linux machine; `kernel_keeps` is False where the host keeps the clock, and the kernel does not know."""

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
