"""What delivery needs from others: gateways that carry a message, and the rows of work waiting to be done."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Protocol, TypeVar, runtime_checkable

from chopmark.core.types import ChallengeId, Channel, CustomerId, Operation, OrderId, Secret


class Purpose(StrEnum):
    """What a message is about; the text always says it (TW-13)."""

    CODE_RENEWAL = "code_renewal"
    CODE_APPLICATION = "code_application"
    CODE_REVOCATION = "code_revocation"
    ACTIVATED = "activated"
    SUPERSEDED = "superseded"
    REVOKED = "revoked"
    CONTACT_DISPUTED = "contact_disputed"
    HOLD = "hold"
    MANY_FAILURES = "many_failures"
    HOLD_RELEASED = "hold_released"
    CONTACT_CHANGED = "contact_changed"
    ORDER_OPENED = "order_opened"
    KEY_BOUND = "key_bound"
    RECORD_CHANGED = "record_changed"
    CERTIFICATE_HELD = "certificate_held"
    CERTIFICATE_RELEASED = "certificate_released"
    PASSWORD_PRINTED = "password_printed"
    SLIP_PRINTED = "slip_printed"
    REPLACING = "replacing"
    ORDER_STOPPED = "order_stopped"
    CERTIFICATE_STOPPED = "certificate_stopped"
    REMINDER = "reminder"

    @property
    def is_code(self) -> bool:
        """Whether the message carries a one-time code."""
        return self in _CODES.values()

    @property
    def is_notice(self) -> bool:
        """Whether the message says that something happened."""
        return not self.is_code and self is not Purpose.REMINDER


_CODES: Mapping[Operation, Purpose] = {
    Operation.ENROL: Purpose.CODE_APPLICATION,
    Operation.REPLACE: Purpose.CODE_APPLICATION,
    Operation.REKEY: Purpose.CODE_RENEWAL,
    Operation.REVOKE: Purpose.CODE_REVOCATION,
}


def code_purpose(operation: Operation) -> Purpose:
    """Return what the message with the code of such an order is about."""
    return _CODES[operation]


@dataclass(frozen=True, slots=True)
class Attachment:
    """A file that goes with a mail; `content_type` is the header's value, `name` plain ASCII."""

    name: str
    content_type: str
    content: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class Message:
    """One message to one destination; a retry or another gateway gets this very value again.

    `message_id` is the work row's id and tells a provider that two sends are one. `at` is when the
    code or event came to be, aware UTC; after `ttl_s` seconds from it the message is worthless.
    The destination is E.164 or an e-mail address; `subject` is shown for e-mail only and holds no
    secret; `code` is the code that `text` spells, for a gateway that must treat it apart; an `attachment` goes
    with mail only.
    """

    message_id: str
    channel: Channel
    destination: Secret
    subject: str
    text: Secret
    purpose: Purpose
    at: datetime
    ttl_s: int
    customer: CustomerId
    challenge: ChallengeId | None = None
    code: Secret | None = None
    attachment: Attachment | None = None
    handed_at: datetime | None = None
    """When this attempt began; None: as the message came to be."""

    @property
    def left_s(self) -> int:
        """Whole seconds that are left of the message's life, at least one."""
        used = timedelta(0) if self.handed_at is None else self.handed_at - self.at
        return max(1, self.ttl_s - int(used.total_seconds()))


@dataclass(frozen=True, slots=True)
class Receipt:
    """A gateway took the message over; that says nothing about the handset. `provider_id` is its own number."""

    gateway: str
    provider_id: str | None
    accepted_at: datetime | None = None


class FaultReason(StrEnum):
    """Why a gateway did not take a message."""

    UNREACHABLE = "unreachable"
    TIMEOUT = "timeout"
    DROPPED = "dropped"
    TLS = "tls"
    AUTHENTICATION = "authentication"  # it does not know our account, or its password has ended
    NOT_ALLOWED = "not_allowed"  # it does not accept our network address, or our account may not do this
    CREDIT = "credit"  # our account there has no money left
    BUSY = "busy"  # the gateway asks to come later
    SENDER = "sender"  # it does not accept our sender address or name
    CONTENT = "content"  # it does not accept this text
    DESTINATION = "destination"  # the number or address does not exist or is malformed
    BARRED = "barred"  # the number takes no messages of this kind: barred by the customer, black-listed
    DEFERRED = "deferred"  # it takes nothing for this recipient now: a full mailbox, greylisting
    PROTOCOL = "protocol"  # it speaks another protocol, or lacks a part that we insist on (STARTTLS)
    FATE_UNKNOWN = "fate_unknown"  # it may have taken the message: its answer was lost
    BUDGET = "budget"  # our own limit of messages or money is used up
    BREAKERS_OPEN = "breakers_open"  # every gateway failed lately and rests
    TOO_LATE = "too_late"  # the message's life is over
    NO_GATEWAY = "no_gateway"  # none is configured for the channel


OF_RECIPIENT = frozenset(
    {FaultReason.DESTINATION, FaultReason.BARRED, FaultReason.DEFERRED, FaultReason.CONTENT, FaultReason.BUDGET}
)
"""What says nothing about the gateway, and nothing about anybody else's message."""


class Verdict(StrEnum):
    """What is to be done with a message that a gateway did not take, or perhaps took."""

    LATER = "later"
    """Not taken. Another gateway may take it now, the same one later."""
    OTHER = "other"
    """Not taken, and this gateway will not take this message; another one may."""
    ALARM = "alarm"
    """Not taken. As LATER, and nothing gets better here until an operator acts: wrong account, no credit."""
    FINAL = "final"
    """Not taken, and no gateway can: the customer has to be told."""
    UNKNOWN = "unknown"
    """Perhaps taken. Never again by this gateway; another one carries the same code."""


class GatewayFault(Exception):
    """A gateway did not take a message, or its answer was lost. Carries codes only: no address, no text, no words.

    `detail` is the gateway's own code for it, letters and digits, for the operator.
    """

    def __init__(
        self,
        reason: FaultReason,
        verdict: Verdict,
        *,
        because: FaultReason | None = None,
        detail: str = "",
        perhaps: bool = False,
    ) -> None:
        super().__init__(f"{reason.value}, {verdict.value}")
        self.reason = reason
        self.verdict = verdict
        self.named = because or reason
        """What goes on record: where a gateway only rests, why it does."""
        self.perhaps = perhaps
        """Whether the gateway may have the message although it may be handed over again (`Gateway.repeats`)."""
        self.detail = detail if detail.isascii() and detail.replace("-", "").replace("_", "").isalnum() else ""

    @property
    def retryable(self) -> bool:
        """Whether the same message may be tried again later."""
        return self.verdict in {Verdict.LATER, Verdict.ALARM}


class Gateway(Protocol):
    """Carries messages of one channel."""

    @property
    def channel(self) -> Channel:
        """The channel it serves."""
        ...

    @property
    def name(self) -> str:
        """Its name in receipts, logs and settings; unique within the installation."""
        ...

    @property
    def repeats(self) -> bool:
        """Whether a message may be handed over twice when the first answer was lost.

        True where the protocol asks for that (RFC 5321 s.4.5.4.1: a mail whose answer was lost is sent again, with
        the same Message-ID), False where the customer would get, and the firm would pay for, a second message.
        """
        ...

    async def send(self, message: Message) -> Receipt:
        """Hand the message over, once; raises GatewayFault, and nothing else, when it was not taken for certain.

        What is raised for a lost answer has the verdict UNKNOWN, unless the gateway `repeats`.
        """
        ...

    async def close(self) -> None:
        """End what it keeps open between messages."""
        ...


@runtime_checkable
class CodesOnce(Protocol):
    """A gateway that `repeats`, though not codes: a notice may come twice, a code's fate is on record."""

    @property
    def codes_once(self) -> bool:
        """True."""
        ...


class OutboxJobKind(StrEnum):
    """What a row of the outbox asks for; each is done by an idempotent function in `jobs`."""

    CODE = "code"
    NOTICE = "notice"
    RESUME = "resume"
    REVOKE = "revoke"
    HOLD = "hold"
    PUBLISH = "publish"


OTHER_VERSION = "other_version"
"""The fact of a notice that names the version of the other channel's contact, which gets it where this one cannot."""


@dataclass(frozen=True, slots=True)
class OutboxJob:
    """One row of the outbox: what is to be done and for whom, never a code, a destination or another secret.

    `attempts` counts the claims, this one included. Times are aware UTC; None as `expires_at` never expires.
    """

    id: str
    kind: OutboxJobKind
    customer: CustomerId | None
    order: OrderId | None
    challenge: ChallengeId | None
    channel: Channel | None
    contact_version: int | None
    facts: Mapping[str, str | int | bool | None]
    attempts: int
    not_before: datetime
    expires_at: datetime | None


LeafT_contra = TypeVar("LeafT_contra", contravariant=True)


class Outbox(Protocol[LeafT_contra]):
    """The rows of the outbox. A claim is a lease: whoever lets it run out has lost the row.

    `LeafT_contra` is the audit record, which this package does not know.
    """

    async def claim(
        self, kinds: Sequence[OutboxJobKind], limit: int, holder: str, now: datetime, lease_s: int
    ) -> list[OutboxJob]:
        """Lease up to `limit` due rows of these kinds to `holder`, oldest first; no two holders share one."""
        ...

    async def done(
        self,
        work: OutboxJob,
        holder: str,
        now: datetime,
        outcome: str,
        record: LeafT_contra | None,
        instead: tuple[OutboxJob, ...] = (),
    ) -> bool:
        """Close the row, append the record and queue what is done instead, in one transaction.

        False, and nothing written, without the lease.
        """
        ...

    async def done_all(self, works: Sequence[OutboxJob], holder: str, now: datetime, outcome: str) -> int:
        """Close rows that have no record of their own; return how many: those whose lease is lost stay as they are."""
        ...

    async def retry(self, work: OutboxJob, holder: str, at: datetime, reason: str) -> bool:
        """Give the row back, due again at `at`; False without the lease."""
        ...
