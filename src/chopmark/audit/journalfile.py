"""The files of the journal: one for each node and day, in a directory outside the database.

A file is called `journal-NODE-YYYYMMDD.jsonl`. Several hosts may share the directory: each appends only to the files of
its own node, so that no two hosts write to the same file, and reads the files of all nodes.
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
        self.node = node

    def append(self, lines: Sequence[str], day: date) -> None:
        """Append lines to this node's file of the day; they are on the disk when this returns. Raises OSError."""
        append_durably(self.directory / f"journal-{self.node}-{day:%Y%m%d}.jsonl", lines)

    def probe(self) -> None:
        """Write and delete a file, to check that the directory is writable; raises OSError when it is not."""
        path = self.directory / f".probe-{self.node}-{os.getpid()}"
        try:
            path.write_bytes(b"probe")
        finally:
            path.unlink(missing_ok=True)

    def tail(self, since: datetime | None) -> "Tail":
        """Return a reader that begins with the files of the day before `since` (aware), or with the first for None."""
        first = "" if since is None else f"{since.astimezone(UTC) - timedelta(days=1):%Y%m%d}"
        return Tail(self.directory, first)


class Tail:
    """Reads the journal lines of all nodes, each line once; a later call returns what was added since.

    `first` is the first day whose files are read, YYYYMMDD; empty for all days.
    """

    def __init__(self, directory: Path, first: str) -> None:
        self._directory = directory
        self._first = first
        self._read: dict[Path, int] = {}

    def more(self) -> list[str]:
        """Return the complete lines that were not returned before, one file after the other; raises OSError.

        A line without a line end is still being written, or a crash left it incomplete; it is returned once it has a
        line end. A file that has become shorter is read again from its beginning.
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
