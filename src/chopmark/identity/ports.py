"""What identity needs stored: customers, contacts, accounts, passwords, sessions, launch tickets, clients."""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Protocol

from chopmark.audit.record import AuditRecord, Tip
from chopmark.core.refusal import Refusal
from chopmark.core.types import AccountKind, AccountNumber, Channel, CustomerId, FactorClass, LoginId
from chopmark.identity.scope import EVERYTHING, Scope
from chopmark.limits.rate_limits import RateLimit
from chopmark.messaging.ports import OutboxJob

UNKNOWN = "launch.unknown"
"""The code of the refusal for a ticket that was never made."""


@dataclass(frozen=True, slots=True)
class CustomerRow:
    """A customer as stored; personal data is sealed."""

    id: CustomerId
    person_kind: str
    person_id_sealed: bytes
    name_sealed: bytes
    birth_date_sealed: bytes | None
    version: int


@dataclass(frozen=True, slots=True)
class ContactRow:
    """A contact as stored; `version` rises with every change, and a code is valid for one version only."""

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
    """Where a password comes from; one from a printed slip expires after a month, a demo one never (TW-03)."""

    INITIAL = "initial"
    CHOSEN = "chosen"
    DEMO = "demo"


@dataclass(frozen=True, slots=True)
class PasswordRow:
    """A stored password verifier; `phc` is an Argon2id PHC string."""

    customer: CustomerId
    phc: str
    kind: PasswordKind
    expires_at: datetime | None


@dataclass(frozen=True, slots=True)
class Claim:
    """What somebody has typed as their name at sign-in, in the forms in which a customer is looked up.

    They are the keyed hash of a person id, a customer number, and the person id as typed without hyphens. `hashed` is
    counted when no customer has this name. It is the same for all spellings of one name.
    """

    person_hash: str
    number: str
    bare: str
    hashed: str


@dataclass(frozen=True, slots=True)
class Claimant:
    """The customer that a typed name means, with the verifier and when it was set; both None without a password."""

    customer: CustomerId
    password: PasswordRow | None
    bound_at: datetime | None


@dataclass(frozen=True, slots=True)
class Binding:
    """When a customer's password was set (None without one), and whether wrong ones have closed a way to sign in."""

    bound_at: datetime | None
    closed: bool


@dataclass(frozen=True, slots=True)
class Session:
    """A signed-in browser: who, with which factor classes, since when; only a hash of its id is stored.

    `login` stays the same when the session gets a new id. `interface` is what that opened it, such as portal.
    """

    id_hash: bytes
    login: LoginId
    customer: CustomerId
    factors: frozenset[FactorClass]
    account: AccountNumber | None
    interface: str
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
    """A launch ticket: for one use within 60 seconds, by one customer for one account."""

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
    """The one request that may be repeated with the old session id, in case the answer with the new id was lost.

    `repeat` is a digest of its Idempotency-Key, method, path and body.
    """

    repeat: bytes
    until: datetime


class Records(Protocol):
    """Reads the directory of customers, and stores passwords."""

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
        """Return the customer that a typed name means.

        It is one and the same statement for every name, so that its time does not tell whether a customer exists (I18).
        """
        ...

    async def binding(self, customer: CustomerId) -> Binding:
        """Return when the customer's password was set, and whether a way to sign in is closed."""
        ...

    async def set_password(
        self, row: PasswordRow, now: datetime, works: tuple[OutboxJob, ...], record: AuditRecord
    ) -> None:
        """Replace the customer's verifier, end all their sessions, open all ways to sign in, and queue the works."""
        ...

    async def note_within(self, record: AuditRecord, limits: tuple[RateLimit, ...], now: datetime) -> bool:
        """Write a record of a refusal, unless one of its rate limits is used up; False then."""
        ...


class Sessions(Protocol):
    """Keeps sessions, for all nodes together."""

    async def open(self, session: Session, replaces: bytes | None, record: AuditRecord) -> None:
        """Store a new session and end the one that it replaces."""
        ...

    async def seen(self, id_hash: bytes, now: datetime, idle_since: datetime) -> Session | None:
        """Return the live session and store that it was used; None when it is unknown, idle too long or over."""
        ...

    async def close(self, id_hash: bytes, record: AuditRecord) -> bool:
        """End a session; False when there is none."""
        ...

    async def owner(self, id_hash: bytes) -> CustomerId | None:
        """Return whose session it is, also when it is too old; None when it was ended."""
        ...

    async def rotate(
        self, id_hash: bytes, new_hash: bytes, lost: LostAnswer | None, record: AuditRecord
    ) -> Binding | None:
        """Give a session a new id; the old one is invalid on all nodes at once, except for the request `lost`.

        Return the customer's binding, or None when there is no such session.
        """
        ...

    async def before(self, old_hash: bytes, repeat: bytes, now: datetime) -> Session | None:
        """Return the session that had this id before, if the request `repeat` may still be repeated with it."""
        ...

    async def rotate_again(
        self, old_hash: bytes, repeat: bytes, new_hash: bytes, now: datetime, record: AuditRecord
    ) -> bool:
        """Give the session of `before` another new id; True the first time only."""
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
        """Create a client or replace its secrets; one that was disabled is enabled again."""
        ...

    async def put_scope(self, client_id: str, scope: Scope, record: AuditRecord) -> bool:
        """Set what a client may ask for; False when there is no such client."""
        ...

    async def disable(self, client_id: str, now: datetime, record: AuditRecord) -> bool:
        """Disable a client and end its tickets; False when there is no such enabled client."""
        ...

    async def end_previous(self, client_id: str, now: datetime, record: AuditRecord) -> bool:
        """End a client's previous secret and its tickets; False when there is no such secret."""
        ...

    async def asked(self, client_id: str, customer: CustomerId) -> tuple[Client | None, Tip]:
        """Return a client by id, and the tip of the audit stream of the customer that it asks for."""
        ...

    async def create(self, launch: Launch, limits: tuple[RateLimit, ...], record: AuditRecord) -> Refusal | None:
        """Store a ticket; refused for a disabled client, an account of another customer, or too many tickets."""
        ...

    async def use(
        self, ticket_hash: bytes, visitor_hash: bytes, now: datetime, record: AuditRecord
    ) -> Launch | Refusal:
        """Redeem a ticket for one visitor, once, by one statement; refused when its client was disabled."""
        ...

    async def taken(self, ticket_hash: bytes, visitor_hash: bytes, now: datetime) -> Launch | None:
        """Return a ticket that this visitor has redeemed and that `confirm` would accept now; None for any other."""
        ...

    async def confirm(
        self, ticket_hash: bytes, visitor_hash: bytes, now: datetime, record: AuditRecord
    ) -> Launch | Refusal:
        """Mark a redeemed ticket as confirmed, once, by the same visitor; then a session may be opened."""
        ...
