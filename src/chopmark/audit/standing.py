"""Compares the ledger with the heads file, to find out whether the database is older than the file.

It is older after a restore of an older copy, or when a standby took over without the last seconds. `standing` compares,
without I/O; `look` reads the signed tree heads and calls it.
"""

import asyncio
from dataclasses import dataclass
from typing import Protocol, TypeAlias

from chopmark.audit.head import Head, encode_head, head_hash
from chopmark.audit.tree import Frontier


@dataclass(frozen=True, slots=True)
class Whole:
    """The ledger has the last head of the heads file; it may have newer ones that a crash kept out of the file."""


@dataclass(frozen=True, slots=True)
class Behind:
    """The ledger lacks `lost_head`, the last head of the heads file; its own newest head has `kept_size` records."""

    kept_size: int
    lost_head: Head


Standing: TypeAlias = Whole | Behind


def standing(latest: Head | None, at_filed_size: str | None, filed: Head | None) -> Standing:
    """Return whether the ledger has everything that the heads file has.

    `latest` is the ledger's newest head, `filed` the last one of the file, `at_filed_size` the line of the ledger's
    head of the same size as `filed`. The ledger is whole, too, if `latest` is a successor that names `filed` and that a
    crash kept out of the file.
    """
    if filed is None or at_filed_size == encode_head(filed):
        return Whole()
    if latest is not None and latest.draft.lost is not None and latest.draft.previous == head_hash(filed):
        return Whole()
    return Behind(0 if latest is None else latest.size, filed)


class Heads(Protocol):
    """Reads the ledger's heads."""

    async def latest_head(self) -> tuple[Head, Frontier] | None:
        """Return the head of the greatest size with its frontier, or None; ValueError when one cannot be read."""
        ...

    async def head_line(self, size: int) -> str | None:
        """Return the line of the head of this size, or None."""
        ...


class Filed(Protocol):
    """Reads the heads file; calls block, so they are made in a thread."""

    def last(self) -> Head | None:
        """Return the newest head of the file, or None; raises OSError."""
        ...


@dataclass(frozen=True, slots=True)
class Look:
    """What was read: the ledger's newest head with its frontier, the file's last head, and the result."""

    latest: tuple[Head, Frontier] | None
    filed: Head | None
    standing: Standing


async def look(repository: Heads, file: Filed) -> Look:
    """Read the heads file and then the ledger, and compare them.

    The order matters: a head is written to the ledger before it is written to the file. Raises ValueError when the
    ledger's newest head cannot be read, and OSError when the file cannot be read.
    """
    filed = await asyncio.to_thread(file.last)
    latest = await repository.latest_head()
    head = None if latest is None else latest[0]
    if filed is None or filed == head:
        return Look(latest, filed, Whole())
    return Look(latest, filed, standing(head, await repository.head_line(filed.size), filed))
