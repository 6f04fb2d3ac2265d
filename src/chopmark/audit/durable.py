"""Files and folders that a loss of power does not take: they are on the disk when the call returns."""

import os
from pathlib import Path


def write_durably(path: Path, content: bytes, mode: int = 0o600) -> None:
    """Put a file in place that has all of this content or, after a loss of power, what stood there before.

    At no moment may anybody read it whom `mode` does not allow. Another file is written and synced, renamed, and then
    its folder synced. Raises OSError: then the file is as before, or, if only the folder could not be synced, new.
    """
    folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    part = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        part.unlink(missing_ok=True)
        new = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, mode)
        try:
            with open(new, "wb") as out:  # noqa: PTH123 - of a descriptor
                out.write(content)
                out.flush()
                os.fsync(new)
            part.replace(path)
        finally:
            part.unlink(missing_ok=True)
        os.fsync(folder)
    finally:
        os.close(folder)


def private_folder(path: Path) -> None:
    """Make a folder that only its owner can enter, if it is missing; missing ones above it get the usual rights.

    All of them are on the disk when this returns. Raises OSError.
    """
    new = [folder for folder in (path, *path.parents) if not folder.exists()]
    path.mkdir(parents=True, exist_ok=True, mode=0o700)
    for folder in reversed(new):
        fsync_directory(folder.parent)


def fsync_directory(directory: Path) -> None:
    """Sync a directory, so that the names of new files in it survive a crash."""
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
