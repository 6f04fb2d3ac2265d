"""The heads file: an append-only copy of every signed tree head and of its time-stamp, outside the database.

Each line is one head or one time-stamp (an *anchor* in names). If somebody deletes records and heads in the database,
this file shows it. Keep it on a volume or a host of its own, where writers of the database cannot change it.
"""

import os
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from chopmark.audit.appending import append_durably
from chopmark.audit.head import Head, encode_head
from chopmark.audit.headlines import HeadLines, encode_anchor, parse_head_lines
from chopmark.audit.ports import StoredAnchor

_TAIL = 8192  # octets that are read first from the end of the file: far more than the longest head
Found = TypeVar("Found")


class HeadFile:
    """Appends lines to the heads file and reads its newest ones; a line is on the disk when `append` returns."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def append(self, head: Head) -> None:
        """Append the head as one line and sync it to the disk; raises OSError when that fails.

        If a crash left an incomplete last line, that line is ended first, so that the new one stays readable.
        """
        self._append(encode_head(head))

    def append_anchor(self, anchor: StoredAnchor) -> None:
        """Append the time-stamp of a head as one line and sync it, as `append` does."""
        self._append(encode_anchor(anchor))

    def last(self) -> Head | None:
        """Return the newest head that was written completely, or None when there is none; raises OSError."""
        return self._newest(lambda lines: lines.heads[-1] if lines.heads else None)

    def has_anchor(self, anchor: StoredAnchor) -> bool:
        """Tell whether this time-stamp is the newest one in the file; raises OSError."""
        return self._newest(lambda lines: lines.anchors[-1] if lines.anchors else None) == anchor

    def _append(self, text: str) -> None:
        append_durably(self._path, [text])

    def _newest(self, wanted: Callable[[HeadLines], Found | None]) -> Found | None:
        """Read from the end, each time four times as much, until `wanted` finds something or the file was read."""
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
