"""The journal's files: one a node and day, appended to by the processes of that node and by nobody else.

`journal-NODE-YYYYMMDD.jsonl`, in a directory outside the database. Several hosts share the directory: each writes the
files of its own node and reads all of them, so that no two hosts ever append to one file.
"""

import os
import re
from collections.abc import Sequence
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

from chopmark.audit.appending import append_durably

_NAME = re.compile(r"journal-([0-9]{1,3})-([0-9]{8})\.jsonl")


class JournalFolder:
    """The directory; `node` is this host's number among those that share it."""

    def __init__(self, directory: Path, node: int) -> None:
        self.directory = directory
        self._node = node

    def append(self, lines: Sequence[str], day: date) -> None:
        """Write lines to the day's file of this node; they are on the disk when this returns. Raises OSError."""
        append_durably(self.directory / f"journal-{self._node}-{day:%Y%m%d}.jsonl", lines)

    def probe(self) -> None:
        """Write and take away a file of our own, to see that the directory takes one; raises OSError."""
        path = self.directory / f".probe-{self._node}-{os.getpid()}"
        try:
            path.write_bytes(b"probe")
        finally:
            path.unlink(missing_ok=True)

    def tail(self, since: datetime | None) -> "Tail":
        """Return a reader that begins with the files of the day before `since`, aware; None: with all."""
        first = "" if since is None else f"{since.astimezone(UTC) - timedelta(days=1):%Y%m%d}"
        return Tail(self.directory, first)


class Tail:
    """Reads lines of all nodes, each once: those that stand there, and later those that were added.

    `first` is the first day whose files are read, YYYYMMDD.
    """

    def __init__(self, directory: Path, first: str) -> None:
        self._directory = directory
        self._first = first
        self._read: dict[Path, int] = {}

    def more(self) -> list[str]:
        """Return the whole lines that were not returned before, a file after the other; raises OSError.

        A line without its end is being written, or was torn: it comes when it has one. A file that lost lines is read
        from its beginning.
        """
        lines: list[str] = []
        for path in self._files():
            begun = self._read.get(path, 0)
            size = path.stat().st_size
            if size == begun:
                continue
            with path.open("rb") as file:
                file.seek(begun if size > begun else 0)
                text = file.read()
            whole = text[: text.rfind(b"\n") + 1]
            self._read[path] = (begun if size > begun else 0) + len(whole)
            lines += (line for line in whole.decode(errors="replace").split("\n") if line)
        return lines

    def _files(self) -> list[Path]:
        """Return the files of the wanted days, the oldest day first."""
        found = []
        for path in self._directory.iterdir():
            named = _NAME.fullmatch(path.name)
            if named and named[2] >= self._first:
                found.append((named[2], int(named[1]), path))
        return [path for _, _, path in sorted(found)]
