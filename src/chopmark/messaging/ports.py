"""What delivery needs: gateways that send messages, and the rows of the outbox."""

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
    """Return the purpose of the message with the code, for an order of this operation."""
    return _CODES[operation]


@dataclass(frozen=True, slots=True)
class Attachment:
    """A file attached to a mail; `content_type` is the value of the header, `name` plain ASCII."""

    name: str
    content_type: str
    content: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class Message:
    """One message to one destination. For a retry and for the next gateway the same value is used.

    `message_id` is the id of the row of the outbox, by which a provider can recognise a message that is sent again.
    `at` is when the code was made or the event happened, aware UTC; `ttl_s` seconds later the message expires. The
    destination is E.164 or an e-mail address. `subject` is for e-mail only and contains no secret. `code` is the code
    within `text`, for a gateway that must handle it separately. `attachment` is for e-mail only.
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
    """When this attempt began; None: at the same time as `at`."""

    @property
    def left_s(self) -> int:
        """Whole seconds until the message expires, at least one."""
        used = timedelta(0) if self.handed_at is None else self.handed_at - self.at
        return max(1, self.ttl_s - int(used.total_seconds()))


@dataclass(frozen=True, slots=True)
class Receipt:
    """A gateway took the message; whether it reached the phone is not known.

    `provider_id` is the gateway's own id for it.
    """

    gateway: str
    provider_id: str | None
    accepted_at: datetime | None = None


class FaultReason(StrEnum):
    """Why a gateway did not take a message."""

    UNREACHABLE = "unreachable"
    TIMEOUT = "timeout"
    DROPPED = "dropped"
    TLS = "tls"
    AUTHENTICATION = "authentication"  # it does not accept our account, or the password has expired
    NOT_ALLOWED = "not_allowed"  # it does not accept our network address, or our account may not do this
    CREDIT = "credit"  # our account there has no money left
    BUSY = "busy"  # the gateway asks us to try later
    SENDER = "sender"  # it does not accept our sender address or name
    CONTENT = "content"  # it does not accept this text
    DESTINATION = "destination"  # the number or address does not exist or is malformed
    BARRED = "barred"  # the number takes no messages of this kind: barred by the customer, on a block list
    DEFERRED = "deferred"  # it takes no mail for this recipient now: a full mailbox, greylisting
    PROTOCOL = "protocol"  # it uses another protocol, or lacks a part that we require (STARTTLS)
    FATE_UNKNOWN = "fate_unknown"  # it may have taken the message: its answer was lost
    BUDGET = "budget"  # our own limit of messages or money is reached
    BREAKERS_OPEN = "breakers_open"  # all gateways failed lately, so none is used now
    TOO_LATE = "too_late"  # the message has expired
    NO_GATEWAY = "no_gateway"  # none is configured for the channel


OF_RECIPIENT = frozenset(
    {FaultReason.DESTINATION, FaultReason.BARRED, FaultReason.DEFERRED, FaultReason.CONTENT, FaultReason.BUDGET}
)
"""The reasons that are no faults of the gateway: they concern one recipient, one text, or our own limits."""


class Verdict(StrEnum):
    """What to do with a message that a gateway did not take, or may have taken."""

    LATER = "later"
    """Not taken. Another gateway may take it now, and the same one later."""
    OTHER = "other"
    """Not taken, and this gateway will never take this message. Another one may."""
    ALARM = "alarm"
    """Not taken. Like LATER, but an operator has to act before this gateway works again: wrong account, no credit."""
    FINAL = "final"
    """Not taken, and no other gateway can take it. The customer has to be told."""
    UNKNOWN = "unknown"
    """Perhaps taken. It is never handed to this gateway again; the next gateway gets the same message and code."""


class GatewayFault(Exception):
    """A gateway did not take a message, or its answer was lost. Contains only codes: no address and no text.

    `detail` is the gateway's own code for the fault (letters and digits), for the operator.
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
        """The reason to store: if the breaker of the gateway was open, the reason why."""
        self.perhaps = perhaps
        """Whether the gateway may have taken the message, although it may be handed over again (`Gateway.repeats`)."""
        self.detail = detail if detail.isascii() and detail.replace("-", "").replace("_", "").isalnum() else ""

    @property
    def retryable(self) -> bool:
        """Whether the same message may be tried again later."""
        return self.verdict in {Verdict.LATER, Verdict.ALARM}


class Gateway(Protocol):
    """Sends messages of one channel."""

    @property
    def channel(self) -> Channel:
        """The channel whose messages it sends."""
        ...

    @property
    def name(self) -> str:
        """Its name in receipts, logs and settings; unique within the installation."""
        ...

    @property
    def repeats(self) -> bool:
        """Whether a message may be handed over again if the first answer was lost.

        True if the protocol demands it (RFC 5321 s.4.5.4.1: a mail whose answer was lost is sent again, with the same
        Message-ID). False if the customer would get a second message, and the firm would pay for it.
        """
        ...

    async def send(self, message: Message) -> Receipt:
        """Hand the message over once. Raises GatewayFault, and nothing else, unless it is certain that it was taken.

        If the answer was lost, the fault has the verdict UNKNOWN, unless the gateway `repeats`.
        """
        ...

    async def close(self) -> None:
        """Close the connections that it keeps open between messages."""
        ...


@runtime_checkable
class CodesOnce(Protocol):
    """A gateway that `repeats` notices but not codes: a notice may arrive twice; attempts to send a code are stored."""

    @property
    def codes_once(self) -> bool:
        """True."""
        ...


class OutboxJobKind(StrEnum):
    """The kinds of jobs in the outbox. An idempotent function in `jobs` does each of them."""

    CODE = "code"
    NOTICE = "notice"
    RESUME = "resume"
    REVOKE = "revoke"
    HOLD = "hold"
    PUBLISH = "publish"


OTHER_VERSION = "other_version"
"""The fact of a notice with the version of the contact of the other channel, which gets it if this contact cannot."""


@dataclass(frozen=True, slots=True)
class OutboxJob:
    """One row of the outbox: what to do and for whom. It never contains a code, a destination or another secret.

    `attempts` counts the leases, this one included. Times are aware UTC. If `expires_at` is None, it never expires.
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
    """The rows of the outbox. A process leases rows; when its lease has expired, it must not change them any more.

    `LeafT_contra` stands for the audit record, a type that this package must not import.
    """

    async def claim(
        self, kinds: Sequence[OutboxJobKind], limit: int, holder: str, now: datetime, lease_s: int
    ) -> list[OutboxJob]:
        """Lease up to `limit` due rows of these kinds to `holder`, oldest first. No two holders get the same row."""
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
        """Close the row, append the record and queue the jobs that replace it, in one transaction.

        Return False, with nothing written, if the lease was lost.
        """
        ...

    async def done_all(self, works: Sequence[OutboxJob], holder: str, now: datetime, outcome: str) -> int:
        """Close rows that have no audit record, and return how many. Rows whose lease was lost stay as they are."""
        ...

    async def retry(self, work: OutboxJob, holder: str, at: datetime, reason: str) -> bool:
        """Release the row, due again at `at`. Return False if the lease was lost."""
        ...
