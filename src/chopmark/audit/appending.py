"""Appending lines to a file outside the database, so that they are on the disk when the call returns."""

import fcntl
import os
from collections.abc import Sequence
from pathlib import Path


def append_durably(path: Path, lines: Sequence[str]) -> None:
    """Write whole lines at the end of a file and have them on the disk; raises OSError when it does not take them.

    The file is locked meanwhile (flock). A line that a crash tore is closed first: it spoils nothing but itself.
    """
    new = not path.exists()
    descriptor = os.open(path, os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o640)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        octets = "".join(f"{line}\n" for line in lines).encode()
        if _is_torn(descriptor):
            octets = b"\n" + octets
        written = os.write(descriptor, octets)
        if written != len(octets):
            raise OSError(f"{path.name} took {written} of {len(octets)} octets")
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
    if new:
        fsync_directory(path.parent)


def fsync_directory(directory: Path) -> None:
    """Have the names in a directory on the disk."""
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _is_torn(descriptor: int) -> bool:
    size = os.fstat(descriptor).st_size
    return size > 0 and os.pread(descriptor, 1, size - 1) != b"\n"
