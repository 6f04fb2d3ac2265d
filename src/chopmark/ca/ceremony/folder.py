"""A ceremony's directory: a file there is complete and on the disk, also after a loss of power at any moment."""

import fcntl
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from chopmark.audit.durable import fsync_directory, private_folder, write_durably


class FolderInUse(Exception):
    """Another process works in the same directory."""


class Folder:
    """Files of one directory, readable by its owner only."""

    def __init__(self, path: Path) -> None:
        self.path = path

    @contextmanager
    def taken(self) -> Iterator[None]:
        """Create the directory if it is missing, and lock it. Raises FolderInUse when another process has the lock."""
        private_folder(self.path)
        with (self.path / ".lock").open("w") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError as error:
                raise FolderInUse(f"another process works in {self.path}") from error
            for part in self.path.glob(".*.part"):
                part.unlink()
            yield

    def get(self, name: str) -> bytes | None:
        """Return a file's content; None when there is no such file."""
        with suppress(FileNotFoundError):
            return (self.path / name).read_bytes()
        return None

    def put(self, name: str, content: bytes) -> None:
        """Write a file so that it has all of this content or, after a loss of power, all of its former content."""
        write_durably(self.path / name, content)

    def drop(self, name: str) -> None:
        """Remove a file, if it is there."""
        (self.path / name).unlink(missing_ok=True)
        fsync_directory(self.path)
