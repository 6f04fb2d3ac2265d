"""What taking customers in needs kept: the directory as it stands, one batch of changes, a mark per file."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum
from typing import NamedTuple, Protocol

from chopmark.audit.record import AuditRecord, StreamId, Tip
from chopmark.core.refusal import Refusal
from chopmark.core.types import AccountNumber, Channel, CustomerId
from chopmark.identity.ports import AccountRow, ContactRow, CustomerRow
from chopmark.messaging.ports import Work

KEPT = timedelta(days=30)
"""So long a contact that was changed or removed is kept, sealed, for notices to it."""


class Allowed(StrEnum):
    """What keeps a sheet out unless whoever imports it names it."""

    ID = "id"
    BIRTH_DATE = "birth-date"
    BLANKED = "blanked"
    MANY = "many"


class Trait(StrEnum):
    """What belongs to one person and may have been under another customer number."""

    PERSON = "person"
    CONTACT = "contact"
    ACCOUNT = "account"


class Borne(NamedTuple):
    """An id or a contact (by keyed hash), or an account, that a customer number has or had; there are many of these."""

    kind: Trait
    value: str


@dataclass(frozen=True, slots=True)
class Rules:
    """The firm's rules for a sheet.

    `cooldown`: so long a changed contact carries no code. `channels`: those that have a gateway. More than
    `percent` of the sheet's known customers, and more than `floor` of them, may not change contacts unnamed.
    """

    cooldown: timedelta
    channels: frozenset[Channel] = frozenset(Channel)
    percent: int = 5
    floor: int = 5


class StandingMoved(Exception):
    """Somebody else changed one of these customers meanwhile; nothing was written, read them again."""


@dataclass(frozen=True, slots=True)
class DirectoryState:
    """How a customer stands in the directory; accounts in the firm's order."""

    row: CustomerRow
    person_id_hash: str
    contacts: Mapping[Channel, ContactRow]
    accounts: tuple[AccountRow, ...]


@dataclass(frozen=True, slots=True)
class SealedCustomer:
    """A customer as it is to be stored."""

    row: CustomerRow
    person_id_hash: str


@dataclass(frozen=True, slots=True)
class Confirmed:
    """A contact that stays as it is and was verified again."""

    customer: CustomerId
    channel: Channel
    verified_at: datetime


@dataclass(frozen=True, slots=True)
class Mark:
    """How far a file is: its lines `start` to `end` (counted from 0, `end` excluded) are in this batch."""

    file_sha256: str
    start: int
    end: int


@dataclass(frozen=True, slots=True)
class Changes:
    """What one batch writes, and what has to stand in the directory for that.

    `known` has every customer of the batch that was there, `fresh` those that were not.
    """

    known: Mapping[CustomerId, DirectoryState]
    created: Sequence[SealedCustomer] = ()
    changed: Sequence[SealedCustomer] = ()
    contacts: Sequence[ContactRow] = ()
    confirmed: Sequence[Confirmed] = ()
    removed: Sequence[tuple[CustomerId, Channel]] = ()
    accounts: Mapping[CustomerId, tuple[AccountRow, ...]] = field(default_factory=dict)
    works: Sequence[Work] = ()
    replaced: Sequence[tuple[CustomerId, Channel]] = ()
    """Contacts that are kept as former ones, before anything else is written."""
    cooled: Mapping[CustomerId, datetime] = field(default_factory=dict)
    """Until when no contact of these customers carries a code."""
    voided: Sequence[CustomerId] = ()
    """Whose open codes and approvals no longer count: they were about other data."""
    borne: Sequence[tuple[CustomerId, Borne]] = ()
    run: str = ""
    """The import that all of this belongs to."""


@dataclass(frozen=True, slots=True)
class Owners:
    """Whom ids and contacts (by keyed hash) and accounts belong to; what nobody has is not in it.

    Of the customers who share a contact a few are named.
    """

    persons: Mapping[str, CustomerId]
    accounts: Mapping[AccountNumber, CustomerId]
    contacts: Mapping[str, tuple[CustomerId, ...]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Past:
    """Who had what before this import, and where those customers can be told: at present contacts and late ones."""

    bearers: Mapping[Borne, frozenset[CustomerId]]
    contacts: Mapping[CustomerId, tuple[ContactRow, ...]]

    def others(self, borne: Borne, customer: CustomerId) -> list[CustomerId]:
        """Return the other customer numbers that have or had this."""
        return sorted(self.bearers.get(borne, frozenset()) - {customer})


class Registry(Protocol):
    """Keeps the directory of customers. Each method is one transaction."""

    async def owners(
        self, person_id_hashes: Sequence[str], accounts: Sequence[AccountNumber], destinations: Sequence[str]
    ) -> Owners:
        """Return whom these ids, accounts and contacts belong to."""
        ...

    async def past(self, borne: Sequence[Borne], customers: Sequence[CustomerId], run: str, since: datetime) -> Past:
        """Return who had these, this import apart, and the contacts of those and of `customers`.

        Contacts that ended before `since` are not in it.
        """
        ...

    async def numbers(self, after: CustomerId | None, most: int) -> list[CustomerId]:
        """Return customer numbers in order, `most` of them, those behind `after`."""
        ...

    async def standing(self, customers: Sequence[CustomerId]) -> dict[CustomerId, DirectoryState]:
        """Return those of the customers that are in the directory."""
        ...

    async def tips(self, chains: Sequence[StreamId]) -> dict[StreamId, Tip]:
        """Return the tip of each chain; version 0 where it has no record yet."""
        ...

    async def begin(self, file_sha256: str, now: datetime) -> int:
        """Return how many lines of this file are in; a file that was finished begins anew at 0."""
        ...

    async def write(
        self, changes: Changes, records: Sequence[AuditRecord], now: datetime, mark: Mark | None
    ) -> Refusal | None:
        """Write a batch, its records and the file's mark, all or nothing; refused where another import has the file.

        Raises:
            StandingMoved: a customer, or a number in it, is not as `changes.known` says any more.
            StaleChain: a chain has grown.
        """
        ...

    async def finish(self, file_sha256: str, report: str, now: datetime) -> None:
        """Mark a file as taken in; `report` is JSON without personal data."""
        ...
