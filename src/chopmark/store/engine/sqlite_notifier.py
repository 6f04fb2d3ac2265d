"""The notifier of SQLite: wake-ups between processes by a folder of empty files that the kernel watches (inotify).

Beside the database NAME is the folder .NAME-wake, with a file for each channel. Who announces a channel opens its file
for writing and closes it, and writes nothing. The kernel tells every process that watches the folder, after some 0.1
ms. So nobody has to know who listens, a killed process leaves nothing behind, and the folder may be copied or deleted:
the next announcement makes it again.

Where the folder cannot be made or watched, `listen` returns False, and waiters look twice a second.
"""

import asyncio
import contextlib
import ctypes
import os
import struct
from collections.abc import Collection, Iterable
from pathlib import Path

from chopmark.store.engine.port import LocalNotifier

_NONBLOCK_CLOEXEC = os.O_NONBLOCK | os.O_CLOEXEC
_CLOSE_WRITE = 0x8
_FOLDER_GONE = 0x400 | 0x800 | 0x8000 | 0x2000  # DELETE_SELF, MOVE_SELF, IGNORED, UNMOUNT
_OVERFLOW = 0x4000
_WANTED = _CLOSE_WRITE | 0x400 | 0x800 | 0x1000000  # with ONLYDIR
_EVENT = struct.Struct("iIII")
"""The head of a struct inotify_event: watch, mask, cookie, and how many bytes the name behind it has, NULs included."""
_AT_ONCE = 65536


class FileNotifier:
    """Tells other processes which channels were notified here, and hears theirs. Make it inside the event loop."""

    def __init__(self, database: str, local: LocalNotifier) -> None:
        self._folder = beside(database)
        self._local = local
        self._loop = asyncio.get_running_loop()
        self._watch: int | None = None

    def listen(self) -> bool:
        """From now on, notify here what other processes announce. Return False if that is not possible just now."""
        if self._watch is not None:
            return True
        try:
            self._folder.mkdir(0o700, exist_ok=True)
            self._watch = _watching(self._folder)
        except OSError:
            return False
        self._loop.add_reader(self._watch, self._hear)
        self._local.notify_all()  # something may have been announced before we listened
        return True

    def announce(self, channels: Collection[str]) -> None:
        """Tell the other processes. Where that fails they find the work when they look for it next.

        The caller wakes the waiters of this process in the same turn of the loop. What the kernel tells us of our own
        announcement is read here in this turn, too, so that nobody is woken by it once more.
        """
        for channel in channels:
            with contextlib.suppress(OSError):
                try:
                    self._touch(channel)
                except FileNotFoundError:
                    self._folder.mkdir(0o700, exist_ok=True)
                    self._touch(channel)
        if channels:
            self._hear()

    def close(self) -> None:
        """Stop listening."""
        if self._watch is not None:
            self._loop.remove_reader(self._watch)
            os.close(self._watch)
            self._watch = None

    def _touch(self, channel: str) -> None:
        os.close(os.open(self._folder / channel, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o600))

    def _hear(self) -> None:
        channels: set[str] = set()
        lost = False
        for mask, name in _events(self._read()):
            if mask & _FOLDER_GONE:
                self.close()  # the next wait watches the folder anew
            lost = lost or bool(mask & (_FOLDER_GONE | _OVERFLOW))
            if mask & _CLOSE_WRITE:
                channels.add(name)
        self._local.notify(channels)
        if lost:
            self._local.notify_all()

    def _read(self) -> bytes:
        with contextlib.suppress(BlockingIOError):
            return b"" if self._watch is None else os.read(self._watch, _AT_ONCE)
        return b""


def beside(database: str) -> Path:
    """Return the folder of a database's wake-ups. Its name begins with a dot: `NAME*` are the database's own files."""
    path = Path(database)
    return path.with_name(f".{path.name}-wake")


def _watching(folder: Path) -> int:
    """Return a descriptor from which the folder's events can be read. Raises OSError where there is no such thing."""
    libc = ctypes.CDLL(None, use_errno=True)
    if not hasattr(libc, "inotify_init1"):
        raise OSError("this system has no inotify")
    watch = int(libc.inotify_init1(_NONBLOCK_CLOEXEC))
    if watch < 0:
        raise OSError(ctypes.get_errno(), "inotify_init1")
    if int(libc.inotify_add_watch(watch, os.fsencode(folder), _WANTED)) < 0:
        code = ctypes.get_errno()
        os.close(watch)
        raise OSError(code, "inotify_add_watch")
    return watch


def _events(read: bytes) -> Iterable[tuple[int, str]]:
    """Yield the mask and the name of each event."""
    at = 0
    while at < len(read):
        _, mask, _, length = _EVENT.unpack_from(read, at)
        at += _EVENT.size
        yield mask, os.fsdecode(read[at : at + length].rstrip(b"\0"))
        at += length
