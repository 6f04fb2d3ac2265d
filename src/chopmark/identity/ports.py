"""What identity needs kept: customers, contacts, accounts, passwords, sessions, launch tickets, clients."""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Protocol

from chopmark.audit.record import AuditRecord, Tip
from chopmark.core.refusal import Refusal
from chopmark.core.types import AccountKind, AccountNumber, Channel, CustomerId, FactorClass, LoginId
from chopmark.identity.scope import EVERYTHING, Scope
from chopmark.limits.budgets import RateLimit
from chopmark.messaging.ports import Work

UNKNOWN = "launch.unknown"
"""The code of the refusal of a ticket that was never made."""


@dataclass(frozen=True, slots=True)
class CustomerRow:
    """A customer as stored: what is personal is sealed."""

    id: CustomerId
    person_kind: str
    person_id_sealed: bytes
    name_sealed: bytes
    birth_date_sealed: bytes | None
    version: int


@dataclass(frozen=True, slots=True)
class ContactRow:
    """A contact as stored. `version` rises with every change and is part of what a code is bound to."""

    customer: CustomerId
    channel: Channel
    version: int
    value_sealed: bytes
    destination_hash: str
    verified_at: datetime
    cool_until: datetime
    disputed_at: datetime | None


@dataclass(frozen=True, slots=True)
class AccountRow:
    """A trading account of a customer."""

    number: AccountNumber
    kind: AccountKind


class PasswordKind(StrEnum):
    """Where a password comes from: a printed slip lapses after a month, a demo one never (TW-03)."""

    INITIAL = "initial"
    CHOSEN = "chosen"
    DEMO = "demo"


@dataclass(frozen=True, slots=True)
class PasswordRow:
    """A stored verifier; `phc` is an Argon2id string."""

    customer: CustomerId
    phc: str
    kind: PasswordKind
    expires_at: datetime | None


@dataclass(frozen=True, slots=True)
class Claim:
    """Whom a typed name may mean: a person id by its keyed hash, a customer number as typed, and without hyphens.

    `hashed` stands for the name where nobody is called so: equal for all spellings that would mean one customer.
    """

    person_hash: str
    number: str
    bare: str
    hashed: str


@dataclass(frozen=True, slots=True)
class Claimant:
    """A customer whom a typed name means, with the verifier and when it was set; None for one without a password."""

    customer: CustomerId
    password: PasswordRow | None
    bound_at: datetime | None


@dataclass(frozen=True, slots=True)
class Binding:
    """When a customer's password was set, None without one, and whether wrong ones have closed a way in since."""

    bound_at: datetime | None
    closed: bool


@dataclass(frozen=True, slots=True)
class Session:
    """A signed-in browser: who, with which factor classes, since when. Its id is kept as a hash only.

    `login` stays the same when the session gets a new id.
    """

    id_hash: bytes
    login: LoginId
    customer: CustomerId
    factors: frozenset[FactorClass]
    account: AccountNumber | None
    door: str
    created_at: datetime
    seen_at: datetime
    ends_at: datetime


@dataclass(frozen=True, slots=True)
class Client:
    """A program of the firm that may ask for launch tickets."""

    id: str
    name: str
    secret_hash: bytes
    previous_hash: bytes | None
    previous_until: datetime | None
    disabled_at: datetime | None
    scope: Scope = EVERYTHING


@dataclass(frozen=True, slots=True)
class Launch:
    """A launch ticket: single use, 60 seconds, for one customer and account."""

    ticket_hash: bytes
    client: str
    customer: CustomerId
    account: AccountNumber
    factors: frozenset[FactorClass]
    wanted: str | None
    created_at: datetime
    expires_at: datetime


@dataclass(frozen=True, slots=True)
class LostAnswer:
    """The one request that may be made again with the session id that it has replaced, because its answer was lost.

    `repeat` is a digest of its Idempotency-Key, method, path and body.
    """

    repeat: bytes
    until: datetime


class Records(Protocol):
    """Reads the directory."""

    async def customer(self, customer: CustomerId) -> CustomerRow | None:
        """Return a customer by number."""
        ...

    async def customer_by_person(self, person_id_hash: str) -> CustomerRow | None:
        """Return the customer whose person id has this keyed hash."""
        ...

    async def contacts(self, customer: CustomerId) -> list[ContactRow]:
        """Return the customer's contacts, at most one a channel."""
        ...

    async def accounts(self, customer: CustomerId) -> list[AccountRow]:
        """Return the customer's accounts in the firm's order."""
        ...

    async def password(self, customer: CustomerId) -> PasswordRow | None:
        """Return the password verifier."""
        ...

    async def claimant(self, claim: Claim) -> Claimant | None:
        """Return the customer whom a typed name means, by one statement, the same for everybody (I18)."""
        ...

    async def binding(self, customer: CustomerId) -> Binding:
        """Return when the customer's password was set, and whether a way in is closed."""
        ...

    async def set_password(self, row: PasswordRow, now: datetime, works: tuple[Work, ...], record: AuditRecord) -> None:
        """Replace the customer's password verifier, end all sessions, open all entries, and queue the works."""
        ...

    async def note_within(self, record: AuditRecord, limits: tuple[RateLimit, ...], now: datetime) -> bool:
        """Write a record that goes with no other change, a refusal at the door, as long as its rate limits last."""
        ...


class Sessions(Protocol):
    """Keeps sessions; shared by all nodes."""

    async def open(self, session: Session, replaces: bytes | None, record: AuditRecord) -> None:
        """Store a new session and end the one that it replaces."""
        ...

    async def seen(self, id_hash: bytes, now: datetime, idle_since: datetime) -> Session | None:
        """Return the live session and note that it was used; None when unknown, idle too long or over."""
        ...

    async def close(self, id_hash: bytes, record: AuditRecord) -> bool:
        """End a session; False when there is none."""
        ...

    async def owner(self, id_hash: bytes) -> CustomerId | None:
        """Return whose session it is, live or not; None when it has ended."""
        ...

    async def rotate(self, id_hash: bytes, new_hash: bytes, lost: LostAnswer | None, record: AuditRecord) -> bool:
        """Give a session a new id; the old id is dead at once on all nodes, but for `lost`."""
        ...

    async def before(self, old_hash: bytes, repeat: bytes, now: datetime) -> Session | None:
        """Return the session whose id before was this one, if exactly this request may be repeated with it still."""
        ...

    async def rotate_again(
        self, old_hash: bytes, repeat: bytes, new_hash: bytes, now: datetime, record: AuditRecord
    ) -> bool:
        """Give that session a new id once more; once."""
        ...


class Launches(Protocol):
    """Keeps launch tickets and the clients that ask for them."""

    async def client(self, client_id: str) -> Client | None:
        """Return a client by id."""
        ...

    async def clients(self) -> list[Client]:
        """Return all clients, by id."""
        ...

    async def put_client(self, client: Client, now: datetime, record: AuditRecord) -> None:
        """Create a client or replace its secrets; one that was disabled counts again."""
        ...

    async def put_scope(self, client_id: str, scope: Scope, record: AuditRecord) -> bool:
        """Set what a client may ask for; False when there is no such client."""
        ...

    async def disable(self, client_id: str, now: datetime, record: AuditRecord) -> bool:
        """End a client and its tickets; False when there is no such client in force."""
        ...

    async def end_previous(self, client_id: str, now: datetime, record: AuditRecord) -> bool:
        """End a client's previous secret and its tickets; False when there is no such secret."""
        ...

    async def asked(self, client_id: str, customer: CustomerId) -> tuple[Client | None, Tip]:
        """Return a client by id, and the tip of the chain of the customer for whom it asks."""
        ...

    async def create(self, launch: Launch, limits: tuple[RateLimit, ...], record: AuditRecord) -> Refusal | None:
        """Store a ticket; refused when the client is not in force, the account is not the customer's, or too fast."""
        ...

    async def use(
        self, ticket_hash: bytes, visitor_hash: bytes, now: datetime, record: AuditRecord
    ) -> Launch | Refusal:
        """Take a ticket once, for one visitor, in one statement; a dead client's tickets are dead."""
        ...

    async def confirm(
        self, ticket_hash: bytes, visitor_hash: bytes, now: datetime, record: AuditRecord
    ) -> Launch | Refusal:
        """Turn a taken ticket into consent to open a session, once, by the same visitor."""
        ...
