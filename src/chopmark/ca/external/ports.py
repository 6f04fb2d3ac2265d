"""What an external CA needs here: a client that speaks its protocol, and requests that are stored.

An answer is a value: received, waiting, denied, not reached, silent, over. After *not reached* it is certain that the
CA has made nothing; after *silent* nobody here knows whether a certificate exists (decision 14).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from enum import StrEnum
from typing import Protocol, TypeAlias

from chopmark.audit.record import AuditRecord
from chopmark.ca.approval import ApprovalTerms
from chopmark.core.types import IssuerId, OrderId, Serial
from chopmark.messaging.ports import OutboxJob
from chopmark.pki.profile import Profile
from chopmark.pki.received import Anchors, Naming


class RequestState(StrEnum):
    """The state of a request; of an order's requests at most one is neither given up, denied nor quarantined."""

    SENT = "sent"  # it is being sent or was sent; nobody knows what became of it until an answer is stored
    WAITING = "waiting"  # the CA has it and answers later
    RECEIVED = "received"  # the certificate fits and is stored; the CA was not told yet that it is accepted
    ISSUED = "issued"
    REVOKED = "revoked"
    GIVEN_UP = "given_up"  # its certificate is not used, even if the CA has made one
    DENIED = "denied"
    QUARANTINED = "quarantined"  # a certificate came that does not fit the order; it is stored and never shown


@dataclass(frozen=True, slots=True)
class Request:
    """One attempt to have an external CA certify an order's key; all times are aware UTC.

    `transaction` are 16 random bytes. `ticket` is what the client's protocol needs for the next message. `doubts` is
    how many attempts of the order so far ended without anybody knowing whether a certificate exists. `version` rises
    with each change. `by_hand`: a person has to ask the CA for the revocation.
    """

    order: OrderId
    attempt: int
    issuer: IssuerId
    transaction: bytes = field(repr=False)
    profile: str
    spki_sha256: str
    state: RequestState
    sent_at: datetime
    doubts: int = 0
    version: int = 1
    next_at: datetime | None = None
    ticket: bytes = b""
    serial: Serial | None = None
    der: bytes | None = None
    chain: tuple[bytes, ...] = ()
    not_before: datetime | None = None
    not_after: datetime | None = None
    code: str | None = None
    reason: str | None = None
    revoked_at: datetime | None = None
    by_hand: bool = False

    def waiting(self, ticket: bytes, next_at: datetime) -> "Request":
        """Return the request as waiting: the CA has it and is asked again at `next_at`."""
        return replace(self, state=RequestState.WAITING, ticket=ticket, next_at=next_at)

    def given_up(self, code: str, next_at: datetime, *, doubt: bool) -> "Request":
        """Return the request as given up; another one may be made at `next_at`.

        `doubt`: nobody knows whether the CA has made a certificate.
        """
        doubts = self.doubts + doubt
        return replace(self, state=RequestState.GIVEN_UP, code=code, next_at=next_at, doubts=doubts)

    def denied(self, code: str) -> "Request":
        """Return the request as denied: the CA has refused it for good."""
        return replace(self, state=RequestState.DENIED, code=code, next_at=None)

    def quarantined(self, code: str, serial: Serial | None, der: bytes) -> "Request":
        """Return the request as quarantined, with the certificate that came and does not fit."""
        return replace(self, state=RequestState.QUARANTINED, code=code, serial=serial, der=der, chain=(), next_at=None)


@dataclass(frozen=True, slots=True)
class ExternalRequest:
    """What a client turns into its protocol's request.

    `subject` are (short name, value) pairs in the profile's order. `profile` is the CA's name for the profile.
    `replaces` is the certificate that the new one renews, DER.
    """

    transaction: bytes = field(repr=False)
    csr_der: bytes
    spki_der: bytes
    subject: tuple[tuple[str, str], ...]
    profile: str
    replaces: bytes | None


@dataclass(frozen=True, slots=True)
class Received:
    """A certificate came; `offered` are further ones in any order, `ticket` is what its confirmation needs."""

    der: bytes
    offered: tuple[bytes, ...]
    ticket: bytes = b""


@dataclass(frozen=True, slots=True)
class Waiting:
    """The CA has the request and is asked again after `retry_after_s`; a `ticket` replaces the one before."""

    retry_after_s: int
    ticket: bytes = b""


@dataclass(frozen=True, slots=True)
class Denied:
    """The CA has refused the request for good; `code` is a stable word."""

    code: str


@dataclass(frozen=True, slots=True)
class NotReached:
    """Nothing was made: there was no connection, or the CA said so.

    `retry_after_s` is the time after which the CA wants to be asked again; None when it did not say.
    """

    code: str
    retry_after_s: int | None = None


@dataclass(frozen=True, slots=True)
class Silent:
    """There was no usable answer, and the CA may have received the request."""

    code: str


@dataclass(frozen=True, slots=True)
class Over:
    """The CA has ended this request without a certificate that counts; another request may be made."""

    code: str


Answer: TypeAlias = Received | Waiting | Denied | NotReached | Silent | Over


class Ending(StrEnum):
    """What became of a revocation, or of a confirmation, at the CA."""

    DONE = "done"
    BY_HAND = "by_hand"  # the protocol has no revocation: a person has to ask the CA
    LATER = "later"  # there was no usable answer; it has to be sent again


class Client(Protocol):
    """Speaks one protocol to one CA; failures of the network or the CA are return values and are never raised."""

    @property
    def confirms(self) -> bool:
        """Whether a certificate counts only after the CA was told that it is accepted (RFC 9810 s.5.3.18)."""
        ...

    @property
    def sends_csr(self) -> bool:
        """Whether the CA gets the customer's own request (CSR), so that it reads everything in it."""
        ...

    @property
    def csr_names(self) -> bool:
        """Whether the CA takes the subject from the customer's request (CSR)."""
        ...

    async def request(self, asked: ExternalRequest) -> Answer:
        """Ask for a certificate."""
        ...

    async def poll(self, asked: ExternalRequest, ticket: bytes) -> Answer:
        """Ask again about a request that the CA has."""
        ...

    async def accept(self, asked: ExternalRequest, received: Received) -> Ending:
        """Tell the CA that the certificate is accepted; LATER when nobody knows whether the CA was told."""
        ...

    async def reject(self, asked: ExternalRequest, received: Received) -> None:
        """Tell the CA that the certificate does not fit; do nothing when the protocol has no message for it."""
        ...

    async def revoke(self, certificate_der: bytes, reason: str) -> Ending:
        """Have a certificate revoked; DONE also when it was revoked already."""
        ...


class Stored(StrEnum):
    """Whether a change was stored."""

    YES = "yes"
    MOVED = "moved"  # somebody else changed the request first
    KNOWN = "known"  # another order or another attempt has the same serial number


class Requests(Protocol):
    """Keeps requests to external CAs; each method is one transaction, its audit record included."""

    async def newest(self, order: OrderId) -> Request | None:
        """Return the order's newest attempt."""
        ...

    async def by_serial(self, serial: Serial) -> Request | None:
        """Return the request for which a certificate came; of several, the one that counts."""
        ...

    async def begin(self, request: Request, record: AuditRecord) -> bool:
        """Store an attempt before it is sent; False when the order has one that still counts.

        All count but those that were given up, denied or quarantined.
        """
        ...

    async def change(
        self, before: Request, after: Request, record: AuditRecord | None = None, works: tuple[OutboxJob, ...] = ()
    ) -> Stored:
        """Replace `before` by `after` and queue `works`; MOVED, and no change, when it is not `before` any more."""
        ...

    async def attention(self) -> Mapping[Serial, str]:
        """Return what a person has to look at: serials to be revoked at the CA by hand, and quarantined ones."""
        ...


@dataclass(frozen=True, slots=True)
class ExternalCaExpectations:
    """What stored certificates are checked by: the CA connected now (None for none), every version of each profile.

    `terms` say what the audit records of their orders must show.
    """

    issuer: IssuerId | None
    anchors: Anchors | None
    naming: Naming
    profiles: Mapping[str, Sequence[Profile]]
    constants: Mapping[str, str]
    terms: ApprovalTerms
