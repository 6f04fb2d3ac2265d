"""What the tests need from the machine. Without it: a skip that says why, or with CI=true a failure."""

import os
import shutil
import tempfile
from pathlib import Path
from typing import NoReturn

import pytest


def missing(what: str) -> NoReturn:
    """End the test: `what` is not on this machine."""
    sentence = f"{what} is missing here; `make test` says how to install it"
    if os.environ.get("CI") == "true":
        pytest.fail(sentence, pytrace=False)
    pytest.skip(sentence)


def program(name: str) -> Path:
    """The path of a program of tools/debian-packages.txt."""
    found = shutil.which(name)
    if found is None:
        missing(f"The program {name}")
    return Path(found)


MEMORY = Path("/dev/shm")
ROOM = 6 * 2**30


def write_to_memory() -> None:
    """Put what tests write on the machine's file system in memory, where there is one with room enough.

    Every commit waits for the disk, in the product as in its databases; that it asks for that is tested (fsync is
    called, and a power cut loses what was not asked for), and what a killed process wrote is there all the same. With
    TMPDIR set, the files lie where it says.
    """
    if "TMPDIR" in os.environ or not MEMORY.is_dir():
        return
    disk = os.statvfs(MEMORY)
    if disk.f_flag & os.ST_NOEXEC or disk.f_bavail * disk.f_frsize < ROOM or _available() < ROOM:
        return
    os.environ["TMPDIR"] = tempfile.tempdir = str(MEMORY)


def _available() -> int:
    """Return how many octets of memory nobody needs."""
    lines = Path("/proc/meminfo").read_text(encoding="ascii").splitlines()
    return next((int(line.split()[1]) * 1024 for line in lines if line.startswith("MemAvailable:")), 0)
