"""Power cuts of a recorded run: what a disk may hold when the power goes after any operation."""

import struct
import subprocess
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import Literal

from tests.machine import program

SECTOR = 512
HEADER = struct.Struct("=cIqq")
SOURCE = Path(__file__).with_name("recorder.c")
How = Literal["lost", "kept", "some", "torn"]
"""What becomes of the writes that no sync has followed: none, all, or some of them, whole or by the sector."""


def compiled(folder: Path) -> Path:
    """Compile what records."""
    library = folder / "recorder.so"
    flags = ["-O2", "-Wall", "-Wextra", "-Werror", "-shared", "-fPIC"]
    subprocess.run([program("gcc"), *flags, "-o", library, SOURCE, "-ldl"], check=True)
    return library


@dataclass(frozen=True, slots=True)
class Operation:
    """One write, truncation, rename, new folder or sync; `end` is where its record ends in the recording."""

    kind: str
    name: str
    offset: int
    data: bytes
    end: int
    path: str = ""


def recorded(recording: Path) -> list[Operation]:
    """Return what was recorded, in its order; `name` is the file's without its folder."""
    content, found, at = recording.read_bytes(), [], 0
    while at < len(content):
        kind, named, offset, length = HEADER.unpack_from(content, at)
        at += HEADER.size
        path = content[at : at + named].decode()
        at += named
        data = content[at : at + length] if kind in b"WR" else b""
        at += len(data)
        found.append(Operation(kind.decode(), Path(path).name, offset, data, at, path))
    return found


def _apply(file: bytearray, operation: Operation) -> None:
    if operation.kind == "T":
        file[operation.offset :] = bytes(max(0, operation.offset - len(file)))
        return
    end = operation.offset + len(operation.data)
    file.extend(bytes(max(0, end - len(file))))
    file[operation.offset : end] = operation.data


def _survivors(pending: list[Operation], how: How, random: Random) -> list[Operation]:
    if how == "lost":
        return []
    if how == "kept":
        return pending
    if how == "some":
        return [one for one in pending if random.random() < 0.5]
    return [
        Operation(one.kind, one.name, one.offset + start, one.data[start : start + SECTOR], one.end)
        for one in pending
        for start in range(0, max(1, len(one.data)), SECTOR)
        if random.random() < 0.5
    ]


def cut(before: Mapping[str, bytes], operations: list[Operation], how: How, random: Random) -> dict[str, bytes]:
    """Return the files after a power cut that follows the operations; `before` is what the disk held at first.

    A sync makes durable what was written to its own file before it, and nothing else.
    """
    durable = {name: bytearray(content) for name, content in before.items()}
    pending: dict[str, list[Operation]] = {}
    for operation in operations:
        if operation.kind != "S":
            pending.setdefault(operation.name, []).append(operation)
            continue
        for one in pending.pop(operation.name, []):
            _apply(durable.setdefault(one.name, bytearray()), one)
    for name, unsynced in pending.items():
        for one in _survivors(unsynced, how, random):
            _apply(durable.setdefault(name, bytearray()), one)
    return {name: bytes(content) for name, content in durable.items()}


@dataclass
class Held:
    """A file or folder: what was written to it, and what of that is on the disk; for a folder the names in it."""

    written: bytearray = field(default_factory=bytearray)
    content: bytes = b""
    names: dict[str, "Held"] = field(default_factory=dict)


def left(operations: list[Operation], top: Path) -> dict[str, bytes]:
    """Return the files below a folder after a power cut at which everything is lost that no sync has followed.

    A sync of a file makes its content durable, and only one of its folder its name there: new, renamed or moved away.
    """
    seen: dict[str, Held] = {str(top): Held()}
    for one in operations:
        if one.kind == "R":
            seen[one.data.decode()] = seen.pop(one.path)
        elif one.kind in "MWT":
            held = seen.setdefault(one.path, Held())
            if one.kind != "M":
                _apply(held.written, one)
        elif one.path in seen:
            held = seen[one.path]
            held.content = bytes(held.written)
            held.names = {Path(path).name: it for path, it in seen.items() if str(Path(path).parent) == one.path}
    return dict(_below(seen[str(top)], top))


def _below(folder: Held, at: Path) -> Iterator[tuple[str, bytes]]:
    for name, held in folder.names.items():
        if held.names:
            yield from _below(held, at / name)
        else:
            yield str(at / name), held.content
