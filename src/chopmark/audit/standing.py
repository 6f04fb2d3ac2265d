"""Is the ledger the one that wrote the heads file? A restored older copy is not, nor a standby that lost seconds.

`standing` is pure; `look` reads what it needs.
"""

import asyncio
from dataclasses import dataclass
from typing import Protocol, TypeAlias

from chopmark.audit.head import Head, encode_head, head_hash
from chopmark.audit.tree import Frontier


@dataclass(frozen=True, slots=True)
class Whole:
    """The ledger holds what the heads file says; at most it is ahead, by what a crash kept from the file."""


@dataclass(frozen=True, slots=True)
class Behind:
    """The ledger, of `kept_size` leaves under a head, does not hold `lost_head`, the last of the heads file."""

    kept_size: int
    lost_head: Head


Standing: TypeAlias = Whole | Behind


def standing(latest: Head | None, at_filed_size: str | None, filed: Head | None) -> Standing:
    """Return how the ledger stands to the heads file.

    `latest` is the ledger's newest head, `filed` the file's last one, `at_filed_size` the line of the ledger's head
    that counts as many records as `filed`. A successor that a crash kept from the file continues it as well.
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
        """Return the line of the head that counts so many records, or None."""
        ...


class Filed(Protocol):
    """Reads the heads file; blocking, called in a thread."""

    def last(self) -> Head | None:
        """Return the newest head of the file, or None; raises OSError."""
        ...


@dataclass(frozen=True, slots=True)
class Look:
    """What was seen: the ledger's newest head with its frontier, the file's last head, and how they stand."""

    latest: tuple[Head, Frontier] | None
    filed: Head | None
    standing: Standing


async def look(ledger: Heads, file: Filed) -> Look:
    """Read the heads file, then the ledger: what is in the file was in the ledger before.

    Raises ValueError when the ledger's newest head cannot be read, and OSError when the file cannot.
    """
    filed = await asyncio.to_thread(file.last)
    latest = await ledger.latest_head()
    head = None if latest is None else latest[0]
    if filed is None or filed == head:
        return Look(latest, filed, Whole())
    return Look(latest, filed, standing(head, await ledger.head_line(filed.size), filed))
