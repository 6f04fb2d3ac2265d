"""Appends lines to a file outside the database; they are on the disk when the call returns."""

import fcntl
import os
from collections.abc import Sequence
from pathlib import Path

from chopmark.audit.durable import fsync_directory
from chopmark.core.counted import counted


def append_durably(path: Path, lines: Sequence[str]) -> None:
    """Append whole lines to a file and sync it to the disk; raises OSError when that fails.

    The file is locked meanwhile (flock). If a crash left an incomplete last line, that line is ended first, so that the
    new lines stay readable.
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
            raise OSError(f"{path.name} took {written} of {counted(len(octets), 'octet')}")
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
    if new:
        fsync_directory(path.parent)


def _is_torn(descriptor: int) -> bool:
    size = os.fstat(descriptor).st_size
    return size > 0 and os.pread(descriptor, 1, size - 1) != b"\n"
