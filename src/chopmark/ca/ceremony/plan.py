"""The plan that a ceremony stores before it makes its first key, and the journal of its steps; neither is secret."""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Literal

import msgspec

from chopmark.ca.ceremony.folder import Folder
from chopmark.ca.ceremony.founding import Founding, Serials
from chopmark.ca.ports import Names
from chopmark.core.types import IssuerId
from chopmark.keys.ports import KeyAlgorithm
from chopmark.keys.shares import Lock
from chopmark.pki.publication import Publication

PLAN, JOURNAL = "plan.json", "journal.json"


class RootKey(StrEnum):
    """Where the root's key is."""

    NEW = "new"  # made in this ceremony
    KEPT = "kept"  # a file from an earlier one
    ELSEWHERE = "elsewhere"  # on another machine: a request goes out, a certificate comes in


@dataclass(frozen=True, slots=True)
class CeremonyPlan:
    """Everything that decides a ceremony's result; it is written first and never changed.

    `number` counts the CAs that follow one another, from 1. `serials` are hexadecimal. `lock` is the first line of the
    key files. `start` is aware UTC, whole seconds.
    """

    software: str
    number: int
    issuer: str
    root: str
    names: Names
    publication: str
    algorithm: KeyAlgorithm
    home: Literal["file", "pkcs11"]
    root_key: RootKey
    start: datetime
    serials: tuple[str, str, str]
    root_list_number: int
    lock: str
    operators: tuple[str, str]
    witnesses: tuple[str, ...]

    @property
    def founding(self) -> Founding:
        """The part of the plan that decides the certificates."""
        serials = Serials(*(int(serial, 16) for serial in self.serials))
        issuer, root = IssuerId(self.issuer), IssuerId(self.root)
        return Founding(issuer, root, self.names, Publication(self.publication), self.start, serials)

    @property
    def key_lock(self) -> Lock:
        """How the operators' shares open this ceremony's key files; raises ValueError for a damaged plan."""
        lock = Lock.of(f"{self.lock}\n".encode())
        if lock is None:
            raise ValueError("the plan names no lock")
        return lock


@dataclass(frozen=True, slots=True)
class Entry:
    """One line of the journal: when, and what was done."""

    at: datetime
    did: str


def load(folder: Folder) -> CeremonyPlan | None:
    """Return the folder's plan, or None when it has none. Raises ValueError for a damaged plan."""
    raw = folder.get(PLAN)
    return None if raw is None else msgspec.json.decode(raw, type=CeremonyPlan)


def store(folder: Folder, plan: CeremonyPlan) -> None:
    """Write the plan to the folder."""
    folder.put(PLAN, msgspec.json.format(msgspec.json.encode(plan)))


def journal(folder: Folder) -> list[Entry]:
    """Return what was done so far, oldest first."""
    raw = folder.get(JOURNAL)
    return [] if raw is None else msgspec.json.decode(raw, type=list[Entry])


def note(folder: Folder, at: datetime, did: str) -> None:
    """Add a line to the journal, unless it has the same words already."""
    entries = journal(folder)
    if did not in (entry.did for entry in entries):
        folder.put(JOURNAL, msgspec.json.format(msgspec.json.encode([*entries, Entry(at, did)])))
