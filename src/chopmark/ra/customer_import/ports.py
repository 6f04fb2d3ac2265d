"""What the customer import needs from the store: the present directory, writing a batch, and how far each file is."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum
from typing import NamedTuple, Protocol

from chopmark.audit.record import AuditRecord, StreamId, Tip
from chopmark.core.refusal import Refusal
from chopmark.core.types import AccountNumber, Channel, CustomerId
from chopmark.identity.ports import AccountRow, ContactRow, CustomerRow
from chopmark.messaging.ports import OutboxJob
from chopmark.tw.mobile import TAIWAN

KEPT = timedelta(days=30)
"""How long a contact that was changed or removed is kept, sealed, so that notices can still be sent to it."""


class Allowed(StrEnum):
    """Kinds of change for which a sheet is refused unless the importer allows them by name."""

    ID = "id"
    BIRTH_DATE = "birth-date"
    BLANKED = "blanked"
    MANY = "many"


class Trait(StrEnum):
    """The kinds of data that belong to one person and may have been under another customer number before."""

    PERSON = "person"
    CONTACT = "contact"
    ACCOUNT = "account"


class Borne(NamedTuple):
    """An id or a contact (by keyed hash), or an account, that a customer number has or had.

    It is a NamedTuple because an import makes very many of them.
    """

    kind: Trait
    value: str


@dataclass(frozen=True, slots=True)
class Rules:
    """The firm's rules for a sheet.

    `cooldown`: how long a changed contact carries no code. `channels`: those that have a gateway. A sheet that changes
    the contacts of more than `percent` per cent of its known customers, and of more than `floor` of them, is refused
    unless the importer allows MANY.
    """

    cooldown: timedelta
    channels: frozenset[Channel] = frozenset(Channel)
    percent: int = 5
    floor: int = 5
    countries: tuple[str, ...] = (TAIWAN,)
    """Calling codes of the countries whose mobile numbers are taken."""


class StandingMoved(Exception):
    """Somebody else changed one of these customers meanwhile: nothing was written, and the caller reads them again."""


@dataclass(frozen=True, slots=True)
class DirectoryState:
    """What the directory has of a customer; accounts are in the firm's order."""

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
    """A contact that is unchanged and was verified again by the firm."""

    customer: CustomerId
    channel: Channel
    verified_at: datetime


@dataclass(frozen=True, slots=True)
class Mark:
    """How far the import of a file is: this batch has its lines `start` to `end` (from 0, `end` excluded)."""

    file_sha256: str
    start: int
    end: int


@dataclass(frozen=True, slots=True)
class Changes:
    """What one batch writes, and the state of the directory on which that is based.

    `known` has every customer of the batch that was in the directory, `created` those that were not.
    """

    known: Mapping[CustomerId, DirectoryState]
    created: Sequence[SealedCustomer] = ()
    changed: Sequence[SealedCustomer] = ()
    contacts: Sequence[ContactRow] = ()
    confirmed: Sequence[Confirmed] = ()
    removed: Sequence[tuple[CustomerId, Channel]] = ()
    accounts: Mapping[CustomerId, tuple[AccountRow, ...]] = field(default_factory=dict)
    works: Sequence[OutboxJob] = ()
    replaced: Sequence[tuple[CustomerId, Channel]] = ()
    """Contacts that are copied to the former contacts before anything else is written."""
    cooled: Mapping[CustomerId, datetime] = field(default_factory=dict)
    """Until when no contact of these customers carries a code."""
    voided: Sequence[CustomerId] = ()
    """Customers whose open codes and approvals become void, because they were given for other data."""
    borne: Sequence[tuple[CustomerId, Borne]] = ()
    run: str = ""
    """The id of the import that this batch belongs to."""


@dataclass(frozen=True, slots=True)
class Owners:
    """Which customers ids, contacts (both by keyed hash) and accounts belong to; what nobody has is left out.

    If several customers share a contact, only a few of them are listed.
    """

    persons: Mapping[str, CustomerId]
    accounts: Mapping[AccountNumber, CustomerId]
    contacts: Mapping[str, tuple[CustomerId, ...]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Past:
    """Who had which id, contact or account before this import, and the present and former contacts to tell them at."""

    bearers: Mapping[Borne, frozenset[CustomerId]]
    contacts: Mapping[CustomerId, tuple[ContactRow, ...]]

    def others(self, borne: Borne, customer: CustomerId) -> list[CustomerId]:
        """Return the other customer numbers that have or had this id, contact or account."""
        return sorted(self.bearers.get(borne, frozenset()) - {customer})


class Registry(Protocol):
    """Keeps the directory of customers. Each method is one transaction."""

    async def owners(
        self, person_id_hashes: Sequence[str], accounts: Sequence[AccountNumber], destinations: Sequence[str]
    ) -> Owners:
        """Return whom these ids, accounts and contacts belong to."""
        ...

    async def past(self, borne: Sequence[Borne], customers: Sequence[CustomerId], run: str, since: datetime) -> Past:
        """Return who has or had these, and the contacts of those customers and of `customers`.

        What the import `run` itself has written does not count. Contacts that ended before `since` are left out.
        """
        ...

    async def numbers(self, after: CustomerId | None, most: int) -> list[CustomerId]:
        """Return at most `most` customer numbers in order, beginning after `after`, or with the first for None."""
        ...

    async def standing(self, customers: Sequence[CustomerId]) -> dict[CustomerId, DirectoryState]:
        """Return what the directory has of these customers; customers that it does not have are left out."""
        ...

    async def tips(self, chains: Sequence[StreamId]) -> dict[StreamId, Tip]:
        """Return the tip of each audit stream; version 0 where a stream has no record yet."""
        ...

    async def begin(self, file_sha256: str, now: datetime) -> int:
        """Return how many lines of this file were imported already; 0 for a new file and for one that was finished."""
        ...

    async def write(
        self, changes: Changes, records: Sequence[AuditRecord], now: datetime, mark: Mark | None
    ) -> Refusal | None:
        """Write a batch, its records and the file's mark, or nothing; refused if another import works on the file.

        Raises:
            StandingMoved: a customer, or one of their numbers, is no longer as `changes.known` says.
            StaleStream: an audit stream has grown meanwhile.
        """
        ...

    async def finish(self, file_sha256: str, report: str, now: datetime) -> None:
        """Mark a file as completely imported; `report` is JSON without personal data."""
        ...
