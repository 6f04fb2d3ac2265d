"""What the RA needs kept: orders, holdings and idempotent answers. Each method is one transaction."""

from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from chopmark.audit.journal import Line
from chopmark.audit.record import AuditRecord, StoredRecord
from chopmark.core.refusal import Refusal
from chopmark.core.types import (
    AccountNumber,
    ActingLogin,
    CertificateState,
    Channel,
    CustomerId,
    Installed,
    KeyEvidence,
    KeyHome,
    LoginId,
    OrderId,
    OrderState,
    Serial,
)
from chopmark.limits.budgets import RateLimit
from chopmark.messaging.ports import Work
from chopmark.ra.model import Order


@dataclass(frozen=True, slots=True)
class SubscriberCertificate:
    """A certificate that a customer holds or held; `state` is ours, not the CA's."""

    serial: Serial
    customer: CustomerId
    profile: str
    order: OrderId
    account: AccountNumber
    key_home: KeyHome
    spki_sha256: str
    state: CertificateState
    der: bytes
    chain: tuple[bytes, ...]
    not_before: datetime
    not_after: datetime
    issued_at: datetime
    activated_at: datetime | None = None
    ended_at: datetime | None = None
    reason: str | None = None
    superseded_by: Serial | None = None


@dataclass(frozen=True, slots=True)
class Bound:
    """What binding a key writes into an order: the key, what stood for the customer, and the login that did it."""

    spki_sha256: str
    csr: bytes
    proof: bytes | None
    old_serial: Serial | None
    evidence: KeyEvidence
    acting: ActingLogin
    credential: bytes | None = None
    """The hash of a program's credential, which binding uses up."""


@dataclass(frozen=True, slots=True)
class Credential:
    """The one-time credential of an order, as stored: its SHA-256, until when it may bind a key, and which it bound.

    `login` is the login that gave it out.
    """

    order: OrderId
    token_hash: bytes
    expires_at: datetime
    login: LoginId
    spki_sha256: str | None = None


@dataclass(frozen=True, slots=True)
class AlternativeOutcome:
    """The work and the record for the other ending of a transition; `held` is the work where it comes on hold."""

    works: tuple[Work, ...]
    record: AuditRecord
    held: tuple[Work, ...]


class Orders(Protocol):
    """Keeps orders; a transition is one conditional statement on the state it starts from."""

    async def open(self, order: Order, works: tuple[Work, ...], record: AuditRecord) -> Order:
        """Store a new order and queue `works`, or return the customer's live one of the same profile unchanged."""
        ...

    async def get(self, order: OrderId) -> Order | None:
        """Return an order by id."""
        ...

    async def live(self, customer: CustomerId) -> list[Order]:
        """Return the customer's orders that still want something, newest first."""
        ...

    async def renonce(self, order: OrderId, nonce: bytes, expires_at: datetime, record: AuditRecord) -> bool:
        """Give a live order a fresh nonce; the old one is dead."""
        ...

    async def bind(
        self,
        order: Order,
        bound: Bound,
        nonce: bytes | None,
        now: datetime,
        works: tuple[Work, ...],
        record: AuditRecord,
    ) -> Refusal | None:
        """Bind a key to an order without one, or in place of one that the same login holds, using up the nonce.

        Codes and approvals of an earlier key die; `works` are queued. Refused when the key is blocked or another
        customer's (I7), when another login holds the order's key, or when the order has moved on.
        """
        ...

    async def possess(
        self, order: Order, nonce: bytes | None, acting: ActingLogin, now: datetime, record: AuditRecord
    ) -> bool:
        """Note that this login holds the order's key, using up the nonce; approvals given before are void.

        False when the order has moved on. Without a nonce where the key words were typed.
        """
        ...

    async def check(
        self, order: OrderId, login: LoginId, now: datetime, fresh_since: datetime, record: AuditRecord
    ) -> bool:
        """Mark an order that this login has coded lately as checked (birth date); give the charged mismatch back."""
        ...

    async def submit(
        self, order: Order, consent: str, acting: ActingLogin, fresh_since: datetime, now: datetime, record: AuditRecord
    ) -> bool:
        """Move an order as it was read, which this login has approved since `fresh_since`, to submitted; once."""
        ...

    async def pend(self, order: OrderId, record: AuditRecord) -> bool:
        """Mark a submitted order as waiting for its CA."""
        ...

    async def fulfil(
        self,
        order: Order,
        holding: SubscriberCertificate,
        works: tuple[Work, ...],
        record: AuditRecord,
        otherwise: AlternativeOutcome,
        *,
        swap: bool = False,
    ) -> OrderState | None:
        """Give a submitted or pending order its certificate; once. With `swap` the old one is superseded by it at once.

        When the certificate that it renews was revoked meanwhile, the order is refused and the new one revoked (F22).
        When a contact has stopped the order, the certificate comes on hold and the old one is left alone: HELD.
        Return what the order has become; None when it has moved on.
        """
        ...

    async def activate(
        self,
        order: Order,
        nonce: bytes | None,
        installed: Installed,
        now: datetime,
        works: tuple[Work, ...],
        record: AuditRecord,
    ) -> Refusal | None:
        """Make the order's certificate the active one and supersede the earlier, using up the nonce; once.

        Without a nonce where TLS was the proof.
        """
        ...

    async def arrive(
        self, order: Order, nonce: bytes | None, works: tuple[Work, ...], record: AuditRecord
    ) -> Refusal | None:
        """Note that a certificate which was only said to be there has been opened, using up the nonce; once."""
        ...

    async def revoke(
        self,
        order: Order,
        acting: ActingLogin,
        limits: tuple[RateLimit, ...],
        fresh_since: datetime,
        now: datetime,
        works: tuple[Work, ...],
        record: AuditRecord,
    ) -> Refusal | None:
        """End a holding by its coded revocation order; refused when a quota is used up."""
        ...

    async def end(self, order: OrderId, state: str, ended: str, works: tuple[Work, ...], record: AuditRecord) -> bool:
        """Move a live order to cancelled, held, refused or expired, and its unproven certificate to revoked.

        False, and nothing changed, when it got a certificate meanwhile that `works` does not have revoked.
        """
        ...

    async def dispute(
        self,
        order: Order,
        channel: Channel,
        limit: RateLimit,
        now: datetime,
        works: tuple[Work, ...],
        record: AuditRecord,
    ) -> Refusal | None:
        """End an order that is not submitted, stop the contact, and every code on its way to it.

        Refused when the rate limit is spent, when the customer's other contact is stopped already, and where there is
        no such contact.
        """
        ...

    async def note(self, record: AuditRecord) -> None:
        """Write a record that goes with no other change: a refusal within an order."""
        ...

    async def stuck(self, states: tuple[str, ...], before: datetime, limit: int) -> list[Order]:
        """Return orders that have been in one of the states since before `before`, oldest first."""
        ...


@dataclass(frozen=True, slots=True)
class Submitted:
    """An order that is with the CA, and its audit records as stored; `order` is None for a row that makes no sense."""

    order: Order | None
    records: tuple[StoredRecord, ...]


class Lines(Protocol):
    """Writes the journal, which is outside the database."""

    async def write(self, line: Line) -> None:
        """Write a line; it is on the disk when this returns. Raises Refused (UNAVAILABLE)."""
        ...


class Submissions(Protocol):
    """Reads orders that are with the CA, for whom no row is worth more than the records that bear it out."""

    async def submitted(self, order: OrderId) -> Submitted | None:
        """Return a submitted or pending order with its records, as of one moment; None when it is neither any more."""
        ...

    async def stuck(self, before: datetime, after: OrderId, limit: int) -> list[OrderId]:
        """Return orders that are with the CA since before `before`, by id, beginning behind `after`.

        Ids only: one row that cannot be read keeps no other order waiting.
        """
        ...

    async def refuse(self, order: OrderId, ended: str, record: AuditRecord) -> bool:
        """End an order that is with the CA, whatever else its row says; False when it is not any more."""
        ...


class Credentials(Protocol):
    """Keeps the one-time credentials of programs; binding a key uses one up (`Orders.bind`)."""

    async def put(self, credential: Credential, now: datetime, record: AuditRecord) -> bool:
        """Store the credential of an order that was not submitted, in place of an earlier one."""
        ...

    async def get(self, order: OrderId) -> Credential | None:
        """Return the order's credential."""
        ...


class SubscriberCertificates(Protocol):
    """Reads what customers hold."""

    async def all(self, customer: CustomerId) -> list[SubscriberCertificate]:
        """Return the customer's certificates, newest first."""
        ...

    async def get(self, serial: Serial) -> SubscriberCertificate | None:
        """Return one certificate by serial."""
        ...


@dataclass(frozen=True, slots=True)
class Answer:
    """A stored answer: HTTP status and JSON text."""

    status: int
    body: str


class Idempotency(Protocol):
    """Keeps the answers to requests that carry an Idempotency-Key (I42)."""

    async def begin(self, scope: str, name: str, body_sha256: bytes, now: datetime) -> Answer | Refusal | None:
        """Return None for a first request, the stored answer for a repeat, or a Refusal for another body."""
        ...

    def finish(self, scope: str, name: str, answer: Answer) -> None:
        """Have the answer stored soon, so that nobody waits for it."""
        ...

    async def stored(self) -> None:
        """Return when every answer that was given is stored, or cannot be."""
        ...

    async def forget(self, scope: str, name: str) -> None:
        """Drop a request that failed without an answer, so that it may be tried again."""
        ...
