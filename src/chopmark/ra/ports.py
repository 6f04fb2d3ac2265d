"""What the RA needs from the store: orders, certificates, credentials and stored answers; a method is a transaction."""

from dataclasses import dataclass
from datetime import datetime, timedelta
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
from chopmark.limits.rate_limits import RateLimit
from chopmark.messaging.ports import OutboxJob
from chopmark.ra.imported import Former
from chopmark.ra.model import Order


@dataclass(frozen=True, slots=True)
class SubscriberCertificate:
    """A certificate that a customer has or had; `state` is the RA's own, which may be ahead of the CA's.

    An imported certificate of a former issuer has `former`. Its `serial` is its fingerprint (`ra.imported`), it has no
    order, and our CA knows nothing of it.
    """

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
    former: Former | None = None

    @property
    def number(self) -> str:
        """The serial number that stands in the certificate."""
        return self.serial if self.former is None else self.former.serial


@dataclass(frozen=True, slots=True)
class Bound:
    """What binding a key writes into an order: the key, the evidence that it is the customer's, and the login."""

    spki_sha256: str
    csr: bytes
    proof: bytes | None
    old_serial: Serial | None
    evidence: KeyEvidence
    acting: ActingLogin
    credential: bytes | None = None
    """The hash of a program's one-time credential, which binding uses up; None where none was used."""


@dataclass(frozen=True, slots=True)
class Credential:
    """The one-time credential of an order, as stored: its SHA-256, until when it may bind a key, and which it bound.

    `login` is the login in which the customer asked for it.
    """

    order: OrderId
    token_hash: bytes
    expires_at: datetime
    login: LoginId
    spki_sha256: str | None = None


@dataclass(frozen=True, slots=True)
class AlternativeOutcome:
    """What `fulfil` writes when the order cannot get its certificate: `works` and `record` if it ended meanwhile.

    `held` is the work if a contact has stopped the order, so that its new certificate is put on hold.
    """

    works: tuple[OutboxJob, ...]
    record: AuditRecord
    held: tuple[OutboxJob, ...]


class Orders(Protocol):
    """Stores orders; each transition is one statement that changes the order only if it is still in the old state."""

    async def open(self, order: Order, works: tuple[OutboxJob, ...], record: AuditRecord) -> Order:
        """Store a new order and queue `works`; if the customer has a live one of its profile, only return that one."""
        ...

    async def get(self, order: OrderId) -> Order | None:
        """Return an order by id."""
        ...

    async def live(self, customer: CustomerId) -> list[Order]:
        """Return the customer's live orders, newest first."""
        ...

    async def renonce(self, order: OrderId, nonce: bytes, expires_at: datetime, record: AuditRecord) -> bool:
        """Give a live order a fresh nonce, which makes the old one void; False when the order is not live."""
        ...

    async def bind(
        self,
        order: Order,
        bound: Bound,
        nonce: bytes | None,
        now: datetime,
        works: tuple[OutboxJob, ...],
        record: AuditRecord,
    ) -> Refusal | None:
        """Bind a key to an order, use the nonce up, and queue `works`.

        The order has no key yet, or one that the same login holds; codes and approvals of that become void. Refused
        when the key is blocked or another customer's (I7), when another login holds the order's key, or when the order
        is in another state meanwhile.
        """
        ...

    async def possess(
        self, order: Order, nonce: bytes | None, acting: ActingLogin, now: datetime, record: AuditRecord
    ) -> bool:
        """Store that this login holds the order's key, and use the nonce up; approvals given before become void.

        `nonce` is None when the customer typed the key words. Return False when the order has changed meanwhile.
        """
        ...

    async def check(
        self, order: OrderId, login: LoginId, now: datetime, fresh_since: datetime, record: AuditRecord
    ) -> bool:
        """Mark an order as checked by birth date and give the charged mismatch back.

        Return False unless this login has given the right code since `fresh_since`.
        """
        ...

    async def submit(
        self, order: Order, consent: str, acting: ActingLogin, fresh_since: datetime, now: datetime, record: AuditRecord
    ) -> tuple[StoredRecord, ...]:
        """Submit an order that is still as it was read and that this login has approved since `fresh_since`.

        Return the order's records, this one included: what the CA decides by. Return none, with nothing submitted,
        otherwise and for an order that is submitted already.
        """
        ...

    async def pend(self, order: OrderId, record: AuditRecord) -> bool:
        """Mark a submitted order as pending at its CA."""
        ...

    async def fulfil(
        self,
        order: Order,
        certificate: SubscriberCertificate,
        works: tuple[OutboxJob, ...],
        record: AuditRecord,
        otherwise: AlternativeOutcome,
        *,
        swap: bool = False,
    ) -> OrderState | None:
        """Give a submitted or pending order its certificate; with `swap` the old certificate is superseded at once.

        If the certificate that it renews was revoked meanwhile, the order is refused and the new one is revoked (F22).
        If a contact has stopped the order, the new certificate is put on hold and the old one stays as it is; return
        LOCKED. Otherwise return the order's new state; None when it was neither submitted nor pending any more.
        """
        ...

    async def activate(
        self,
        order: Order,
        nonce: bytes | None,
        installed: Installed,
        now: datetime,
        works: tuple[OutboxJob, ...],
        record: AuditRecord,
        kept: timedelta = timedelta(0),
    ) -> Refusal | None:
        """Make the order's certificate active, supersede the earlier one, and use the nonce up.

        `nonce` is None when a TLS connection was the proof. An imported certificate that is superseded is to be revoked
        by its own CA when the time `kept` has passed. Refused when the order is not issued any more.
        """
        ...

    async def arrive(
        self, order: Order, nonce: bytes | None, now: datetime, works: tuple[OutboxJob, ...], record: AuditRecord
    ) -> Refusal | None:
        """Store that the new key has signed after the customer only said that it arrived, and use the nonce up.

        An imported certificate that it superseded may be revoked by its own CA from now on.
        """
        ...

    async def revoke(
        self,
        order: Order,
        acting: ActingLogin,
        limits: tuple[RateLimit, ...],
        fresh_since: datetime,
        now: datetime,
        works: tuple[OutboxJob, ...],
        record: AuditRecord,
    ) -> Refusal | None:
        """Revoke the certificate of a revocation order that this login has approved since `fresh_since`.

        Refused when one of the rate limits is used up or the order has changed meanwhile.
        """
        ...

    async def end(
        self, order: OrderId, state: str, ended: str, works: tuple[OutboxJob, ...], record: AuditRecord
    ) -> bool:
        """Move a live order to cancelled, locked, refused or expired, and revoke its certificate if that is not proved.

        Return False, with nothing changed, if the order got a certificate meanwhile that `works` does not revoke.
        """
        ...

    async def dispute(
        self,
        order: Order,
        channel: Channel,
        limit: RateLimit,
        now: datetime,
        works: tuple[OutboxJob, ...],
        record: AuditRecord,
    ) -> Refusal | None:
        """End an order that is not submitted, stop the contact, and make every open code sent to it void.

        Refused when the rate limit is used up, when the customer's other contact is stopped already, and when there is
        no such contact.
        """
        ...

    async def note(self, record: AuditRecord) -> None:
        """Write a record without another change, such as the record of a refusal."""
        ...

    async def stuck(self, states: tuple[str, ...], before: datetime, limit: int) -> list[Order]:
        """Return orders that have been in one of the states since before `before`, oldest first."""
        ...


@dataclass(frozen=True, slots=True)
class Submitted:
    """An order that is with the CA, and its audit records as stored; `order` is None if its row cannot be read."""

    order: Order | None
    records: tuple[StoredRecord, ...]


class Lines(Protocol):
    """Writes the journal, a file outside the database."""

    async def write(self, line: Line) -> None:
        """Write a line and return when it is on the disk; raises Refused (UNAVAILABLE) if that fails."""
        ...


class Submissions(Protocol):
    """Reads orders that are with the CA, together with their audit records: the CA believes only the records."""

    async def submitted(self, order: OrderId) -> Submitted | None:
        """Return a submitted or pending order with its records, read at one moment; None if it is neither any more."""
        ...

    async def stuck(self, before: datetime, after: OrderId, limit: int) -> list[OrderId]:
        """Return ids of orders that are with the CA since before `before`, in order, beginning after the id `after`.

        Only ids are read, so that a row that cannot be read does not keep other orders from being resumed.
        """
        ...

    async def refuse(self, order: OrderId, ended: str, record: AuditRecord) -> bool:
        """End an order that is with the CA, even if its row cannot be read; False if it is not with the CA any more."""
        ...


class Credentials(Protocol):
    """Stores the one-time credentials of programs; binding a key uses a credential up (`Orders.bind`)."""

    async def put(self, credential: Credential, now: datetime, record: AuditRecord) -> bool:
        """Store the credential of an order in place of an earlier one.

        Return False if the order was submitted, or another login holds its key.
        """
        ...

    async def get(self, order: OrderId) -> Credential | None:
        """Return the order's credential."""
        ...


class SubscriberCertificates(Protocol):
    """Reads the certificates of customers."""

    async def all(self, customer: CustomerId) -> list[SubscriberCertificate]:
        """Return the customer's certificates, newest first."""
        ...

    async def get(self, serial: Serial) -> SubscriberCertificate | None:
        """Return one certificate by serial; an imported one by its fingerprint."""
        ...


@dataclass(frozen=True, slots=True)
class Answer:
    """A stored answer: HTTP status and JSON text."""

    status: int
    body: str


class Idempotency(Protocol):
    """Stores the answers to requests that carry an Idempotency-Key (I42)."""

    async def begin(self, scope: str, name: str, body_sha256: bytes, now: datetime) -> Answer | Refusal | None:
        """Return None for a first request, the stored answer for a repetition, or a Refusal if the body differs."""
        ...

    def finish(self, scope: str, name: str, answer: Answer) -> None:
        """Store the answer in the background, so that the client need not wait for that."""
        ...

    async def stored(self) -> None:
        """Wait until every answer given to `finish` is stored or has failed to be stored."""
        ...

    async def forget(self, scope: str, name: str) -> None:
        """Forget a request that failed without an answer, so that it may be sent again."""
        ...
