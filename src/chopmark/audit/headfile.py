"""The heads file: an append-only copy of every head, and of every time-stamp over one, outside the database.

One head or anchor a line. Whoever cuts rows and heads in the database still has to answer to this file, best
kept on a volume or a host of its own.
"""

import os
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from chopmark.audit.appending import append_durably
from chopmark.audit.head import Head, encode_head
from chopmark.audit.headlines import HeadLines, encode_anchor, parse_head_lines
from chopmark.audit.ports import StoredAnchor

_TAIL = 8192  # octets: far more than the longest head
Found = TypeVar("Found")


class HeadFile:
    """Writes lines to a file opened for appending alone; a line is on the disk when `append` returns."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def append(self, head: Head) -> None:
        """Write one line and fsync it; raises OSError when the disk does not take it.

        A line that a crash tore is closed first, so that it spoils nothing but itself.
        """
        self._append(encode_head(head))

    def append_anchor(self, anchor: StoredAnchor) -> None:
        """Write an anchor's line likewise."""
        self._append(encode_anchor(anchor))

    def last(self) -> Head | None:
        """Return the newest whole head, or None when there is none; raises OSError."""
        return self._newest(lambda lines: lines.heads[-1] if lines.heads else None)

    def has_anchor(self, anchor: StoredAnchor) -> bool:
        """Tell whether the anchor is the newest of the file; raises OSError."""
        return self._newest(lambda lines: lines.anchors[-1] if lines.anchors else None) == anchor

    def _append(self, text: str) -> None:
        append_durably(self._path, [text])

    def _newest(self, wanted: Callable[[HeadLines], Found | None]) -> Found | None:
        """Read from the end, each time four times as much, until the wanted is found or the file is over."""
        try:
            with self._path.open("rb") as file:
                size, tail = file.seek(0, os.SEEK_END), _TAIL
                while True:
                    file.seek(max(0, size - tail))
                    found = wanted(parse_head_lines(file.read().decode(errors="replace")))
                    if found is not None or tail >= size:
                        return found
                    tail *= 4
        except FileNotFoundError:
            return None


def read_heads(path: Path) -> HeadLines:
    """Return every line of the file; raises OSError when it cannot be read."""
    return parse_head_lines(path.read_bytes().decode(errors="replace"))
