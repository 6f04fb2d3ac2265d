"""What the machine says of its clock, beside what the kernel says elsewhere."""

from datetime import timedelta
from pathlib import Path

from chopmark.app.machine import SystemMachine


def uptime() -> timedelta:
    return timedelta(seconds=float(Path("/proc/uptime").read_text().split()[0]))


def test_the_time_since_the_start_is_the_kernels_uptime():
    before, told, after = uptime(), SystemMachine(kernel_keeps=False).since_boot(), uptime()
    assert before - timedelta(milliseconds=10) <= told <= after + timedelta(milliseconds=10)


def test_where_the_host_keeps_the_time_the_kernel_is_not_asked():
    assert SystemMachine(kernel_keeps=False).synchronised() is None
