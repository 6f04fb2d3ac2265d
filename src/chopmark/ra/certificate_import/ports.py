"""What an import of certificates needs from the store: the directory, earlier imports, and staged rows."""

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
    """What to look up for a batch: keyed hashes of person ids, customer and account numbers, fingerprints and keys."""

    persons: Collection[str]
    customers: Collection[str]
    accounts: Collection[str]
    fingerprints: Collection[Fingerprint]
    keys: Collection[str]


@dataclass(frozen=True, slots=True)
class Known:
    """What the database knows about a batch.

    `persons` and `accounts` map to their customers; `customers` are the numbers that exist. `there` are certificates
    that finished imports brought. `keys` maps a key to all customers who are known to have it; nobody may use the keys
    in `blocked`. `certified` are the customers with an active certificate of ours.
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
    """A run of an import: its id, and how many certificates of the input a process that was killed had dealt with."""

    run: str
    done: int


class ImportRegistry(Protocol):
    """Stores what is imported. Rows take effect only with `finish`. Each method is one transaction."""

    async def known(self, asked: Asked, now: datetime) -> Known:
        """Return what the database knows about these; certificates of ours that have ended by `now` do not count."""
        ...

    async def begin(self, run: str, input_sha256: str, staff: str, now: datetime) -> Begun:
        """Return the unfinished run of this input, or begin `run`. All other unfinished runs are given up."""
        ...

    async def sweep(self, most: int) -> int:
        """Delete at most `most` rows of runs that were given up; return how many were deleted."""
        ...

    async def stage(
        self, run: str, start: int, end: int, rows: Sequence[ImportedCertificate], now: datetime
    ) -> Refusal | None:
        """Store rows and move the run's mark from `start` to `end`. Raises Refused if another process has moved it."""
        ...

    async def leave_out(self, run: str, keys: Sequence[str]) -> None:
        """Delete the run's rows with these keys, because two customers have the same key."""
        ...

    async def shared_keys(self, run: str, most: int) -> list[str]:
        """Return at most `most` keys that occur in rows of two customers within this run."""
        ...

    async def finish(self, run: str, done: int, report: str, now: datetime, record: AuditRecord) -> bool:
        """Make all rows of the run take effect, and append the record. False if another process took the run over."""
        ...

    async def give_up(self, run: str) -> None:
        """Give up an unfinished run, so that its rows never take effect."""
        ...
