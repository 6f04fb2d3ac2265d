"""What an import of certificates needs of the store: the directory, what is there already, and staged rows."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from chopmark.audit.record import AuditRecord
from chopmark.core.refusal import Refusal
from chopmark.core.types import AccountNumber, CustomerId
from chopmark.ra.imported import Fingerprint, ImportedCertificate


@dataclass(frozen=True, slots=True)
class Asked:
    """What a batch names: keyed hashes of person ids, customer and account numbers, fingerprints and keys."""

    persons: Collection[str]
    customers: Collection[str]
    accounts: Collection[str]
    fingerprints: Collection[Fingerprint]
    keys: Collection[str]


@dataclass(frozen=True, slots=True)
class Known:
    """What is on record of a batch.

    `persons` and `accounts` say whose they are, `customers` which numbers exist. `there` are certificates of finished
    imports. `keys` says whose a key is by whatever is on record of it, `blocked` which keys nobody may use. `certified`
    are customers with an active certificate of ours.
    """

    persons: Mapping[str, CustomerId]
    accounts: Mapping[AccountNumber, CustomerId]
    customers: frozenset[CustomerId]
    there: frozenset[Fingerprint]
    keys: Mapping[str, frozenset[CustomerId]]
    blocked: frozenset[str]
    certified: frozenset[CustomerId]


@dataclass(frozen=True, slots=True)
class Begun:
    """A run of an import: its id, and how many certificates of its input an earlier, killed process has dealt with."""

    run: str
    done: int


class ImportRegistry(Protocol):
    """Stores what is imported. A row does not count before `finish`; each method is a transaction."""

    async def known(self, asked: Asked, now: datetime) -> Known:
        """Return what is on record of these; certificates of ours that have ended by `now` do not count."""
        ...

    async def begin(self, run: str, input_sha256: str, staff: str, now: datetime) -> Begun:
        """Return the unfinished run of this input, or begin `run`. Other unfinished runs are given up."""
        ...

    async def sweep(self, most: int) -> int:
        """Delete at most so many rows of runs that were given up; return how many."""
        ...

    async def stage(
        self, run: str, start: int, end: int, rows: Sequence[ImportedCertificate], now: datetime
    ) -> Refusal | None:
        """Store rows and move the run's mark from `start` to `end`; refused when another process has moved it."""
        ...

    async def leave_out(self, run: str, keys: Sequence[str]) -> None:
        """Delete the run's rows with these keys: two customers have them."""
        ...

    async def shared_keys(self, run: str, most: int) -> list[str]:
        """Return at most so many keys that two customers have by the run's own rows."""
        ...

    async def finish(self, run: str, done: int, report: str, now: datetime, record: AuditRecord) -> bool:
        """Make all rows of the run count, with the record; False when the run is not this process's any more."""
        ...

    async def give_up(self, run: str) -> None:
        """Give an unfinished run up; its rows never count."""
        ...
