"""The heads file: an append-only copy of every head outside the database.

One head a line. Whoever cuts rows and heads in the database still has to answer to this file, best
kept on a volume or a host of its own.
"""

import os
from pathlib import Path

from chopmark.audit.head import Head, HeadLines, encode_head, parse_head_lines

_TAIL = 8192  # octets: far more than the longest head


class HeadFile:
    """Writes heads to a file opened for appending alone; a head is on the disk when `append` returns."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def append(self, head: Head) -> None:
        """Write one line and fsync it; raises OSError when the disk does not take it.

        A line that a crash tore is closed first, so that it spoils nothing but itself.
        """
        new = not self._path.exists()
        flags = os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC
        descriptor = os.open(self._path, flags, 0o640)
        try:
            line = encode_head(head).encode() + b"\n"
            if _is_torn(descriptor):
                line = b"\n" + line
            written = os.write(descriptor, line)
            if written != len(line):
                raise OSError(f"the heads file took {written} of {len(line)} octets")
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
        if new:
            _fsync_directory(self._path.parent)

    def last(self) -> Head | None:
        """Return the newest whole head, or None when there is none; raises OSError."""
        try:
            with self._path.open("rb") as file:
                size = file.seek(0, os.SEEK_END)
                file.seek(max(0, size - _TAIL))
                tail = file.read()
        except FileNotFoundError:
            return None
        heads = parse_head_lines(tail.decode(errors="replace")).heads
        return heads[-1] if heads else None


def read_heads(path: Path) -> HeadLines:
    """Return every head of the file; raises OSError when it cannot be read."""
    return parse_head_lines(path.read_bytes().decode(errors="replace"))


def _is_torn(descriptor: int) -> bool:
    size = os.fstat(descriptor).st_size
    return size > 0 and os.pread(descriptor, 1, size - 1) != b"\n"


def _fsync_directory(directory: Path) -> None:
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
