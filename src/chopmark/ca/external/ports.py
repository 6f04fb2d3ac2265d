"""What asking another CA needs: a client that speaks its protocol, and requests that outlive a restart.

An answer is a value: received, waiting, denied, not reached, silent. *Not reached* made nothing for certain; after
*silent* nobody here knows whether a certificate exists (decision 14).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from enum import StrEnum
from typing import Protocol, TypeAlias

from chopmark.audit.record import AuditRecord
from chopmark.ca.approval import ApprovalTerms
from chopmark.core.types import IssuerId, OrderId, Serial
from chopmark.messaging.ports import Work
from chopmark.pki.profile import Profile
from chopmark.pki.received import Anchors, Naming


class RequestState(StrEnum):
    """Where a request to another CA stands; one request an order is neither given up, denied nor quarantined."""

    SENT = "sent"  # it was or is being sent; its fate is unknown until an answer is stored
    WAITING = "waiting"  # the CA has it and answers later
    RECEIVED = "received"  # the certificate fits and is stored; the CA has not heard that it was accepted
    ISSUED = "issued"
    REVOKED = "revoked"
    GIVEN_UP = "given_up"  # no certificate of it is used, whatever the CA made of it
    DENIED = "denied"
    QUARANTINED = "quarantined"  # what came does not fit the order; it is kept, and never shown


OVER = frozenset({RequestState.GIVEN_UP, RequestState.DENIED, RequestState.QUARANTINED})


@dataclass(frozen=True, slots=True)
class Request:
    """One attempt to have another CA certify an order's key. Moments are aware UTC.

    `transaction` are 16 random bytes; `ticket` is what the protocol needs to go on with it; `doubts` counts the
    attempts so far whose fate stayed unknown; `version` rises with each change.
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
        """Return the request as the CA has it, to be asked about again at `next_at`."""
        return replace(self, state=RequestState.WAITING, ticket=ticket, next_at=next_at)

    def given_up(self, code: str, next_at: datetime, *, doubt: bool) -> "Request":
        """Return the request given up; another may be made at `next_at`."""
        doubts = self.doubts + doubt
        return replace(self, state=RequestState.GIVEN_UP, code=code, next_at=next_at, doubts=doubts)

    def denied(self, code: str) -> "Request":
        """Return the request as the CA refused it."""
        return replace(self, state=RequestState.DENIED, code=code, next_at=None)

    def quarantined(self, code: str, serial: Serial | None, der: bytes) -> "Request":
        """Return the request with what came put aside."""
        return replace(self, state=RequestState.QUARANTINED, code=code, serial=serial, der=der, chain=(), next_at=None)


@dataclass(frozen=True, slots=True)
class ExternalRequest:
    """What a client turns into its protocol's request.

    `subject` are (short name, value) pairs in the profile's order; `profile` is the name that the CA knows it by;
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
    """A certificate came; `offered` are others that came with it, in no order; `ticket` is for its confirmation."""

    der: bytes
    offered: tuple[bytes, ...]
    ticket: bytes = b""


@dataclass(frozen=True, slots=True)
class Waiting:
    """The CA has the request; `ticket` replaces the one before."""

    retry_after_s: int
    ticket: bytes = b""


@dataclass(frozen=True, slots=True)
class Denied:
    """The CA says no for good; `code` is a stable word."""

    code: str


@dataclass(frozen=True, slots=True)
class NotReached:
    """Nothing was made: there was no connection, or the CA said so; `retry_after_s` is when it asks to come again."""

    code: str
    retry_after_s: int | None = None


@dataclass(frozen=True, slots=True)
class Silent:
    """No usable answer to what may have been heard."""

    code: str


@dataclass(frozen=True, slots=True)
class Over:
    """The CA does not go on with this request, and nothing of it counts; another may be made."""

    code: str


Answer: TypeAlias = Received | Waiting | Denied | NotReached | Silent | Over


class Ending(StrEnum):
    """What became of a revocation at the CA."""

    DONE = "done"
    BY_HAND = "by_hand"  # the protocol has no revocation: a person has to ask the CA
    LATER = "later"


class Client(Protocol):
    """Speaks one protocol to one CA. Nothing is raised for what the network or the CA does."""

    @property
    def confirms(self) -> bool:
        """Whether a certificate counts only when the CA has heard that it was accepted (RFC 9810 s.5.3.18)."""
        ...

    @property
    def sends_csr(self) -> bool:
        """Whether the CA reads the customer's own request, with whatever else it says."""
        ...

    @property
    def csr_names(self) -> bool:
        """Whether the CA takes the subject from the customer's request."""
        ...

    async def request(self, asked: ExternalRequest) -> Answer:
        """Ask for a certificate."""
        ...

    async def poll(self, asked: ExternalRequest, ticket: bytes) -> Answer:
        """Ask again about a request that the CA has."""
        ...

    async def accept(self, asked: ExternalRequest, received: Received) -> Ending:
        """Tell the CA that the certificate was accepted; LATER when it is not known whether it heard."""
        ...

    async def reject(self, asked: ExternalRequest, received: Received) -> None:
        """Tell the CA that the certificate does not fit, where the protocol can."""
        ...

    async def revoke(self, certificate_der: bytes, reason: str) -> Ending:
        """Have a certificate revoked; one that is revoked already is DONE."""
        ...


class Stored(StrEnum):
    """What became of a change."""

    YES = "yes"
    MOVED = "moved"  # somebody else changed the request first
    KNOWN = "known"  # the serial number came before, for another order or another attempt


class Requests(Protocol):
    """Keeps requests to other CAs. Each method is one transaction, with its record."""

    async def newest(self, order: OrderId) -> Request | None:
        """Return the order's newest attempt."""
        ...

    async def by_serial(self, serial: Serial) -> Request | None:
        """Return the request that a certificate came of; of several the one that counts."""
        ...

    async def begin(self, request: Request, record: AuditRecord) -> bool:
        """Store an attempt before it is sent; False when the order has one that is not over."""
        ...

    async def change(
        self, before: Request, after: Request, record: AuditRecord | None = None, works: tuple[Work, ...] = ()
    ) -> Stored:
        """Put `after` in the place of `before`, with its work."""
        ...

    async def attention(self) -> Mapping[Serial, str]:
        """Return what a person has to look at: serials to be revoked at the CA by hand, and quarantined ones."""
        ...


@dataclass(frozen=True, slots=True)
class ExternalCaExpectations:
    """What stored certificates are held to: the CA connected now (None for none) and every version of each profile.

    `terms` are for the records of their orders.
    """

    issuer: IssuerId | None
    anchors: Anchors | None
    naming: Naming
    profiles: Mapping[str, Sequence[Profile]]
    constants: Mapping[str, str]
    terms: ApprovalTerms
