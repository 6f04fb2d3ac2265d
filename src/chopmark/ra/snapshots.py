"""What a step of an order reads: the customer and the order with all that belongs to them, at one moment."""

import hashlib
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Protocol

from chopmark.audit.record import Tip
from chopmark.core.types import CertificateState, CustomerId, LoginId, OrderId, Serial
from chopmark.identity.ports import AccountRow, ContactRow, CustomerRow, Session
from chopmark.ra.model import Order
from chopmark.ra.ports import SubscriberCertificate
from chopmark.stepup.challenge import Challenge, ChallengeState


@dataclass(frozen=True, slots=True)
class CustomerSnapshot:
    """What is on record of a customer; certificates and live orders come newest first."""

    customer: CustomerRow | None
    accounts: tuple[AccountRow, ...]
    contacts: tuple[ContactRow, ...]
    certificates: tuple[SubscriberCertificate, ...]
    live: tuple[Order, ...]

    def opened(self, order: Order) -> "OrderSnapshot":
        """Return the snapshot of an order that was just opened."""
        return OrderSnapshot(order, self.customer, self.accounts, self.contacts, self.certificates, None, 0, ())


@dataclass(frozen=True, slots=True)
class OrderSnapshot:
    """An order with what its steps read; `sent` is its newest code, `codes` how many were sent.

    `tips` are those of the audit streams to which a step adds records: the order's and the customer's. `last_login` is
    the customer's newest login; None when no session of theirs is stored any more.
    """

    order: Order
    customer: CustomerRow | None
    accounts: tuple[AccountRow, ...]
    contacts: tuple[ContactRow, ...]
    certificates: tuple[SubscriberCertificate, ...]
    sent: Challenge | None
    codes: int
    tips: tuple[Tip, ...]
    last_login: LoginId | None = None
    undelivered: bool = False
    """No gateway accepted the message with the newest code, and it is not tried again."""
    waiting: bool = False
    """The message with the newest code still waits for a gateway to accept it."""

    def certificate(self, serial: Serial | None) -> SubscriberCertificate | None:
        """Return the customer's certificate with this serial, or None."""
        return next((held for held in self.certificates if held.serial == serial), None)

    def now_as(self, order: Order) -> "OrderSnapshot":
        """Return the snapshot with the order as it stands after a step."""
        return replace(self, order=order)

    def bound(self, order: Order) -> "OrderSnapshot":
        """Return the snapshot after a new key was bound; a code that was sent for an earlier key is void."""
        sent = self.sent
        if sent is not None and sent.state is ChallengeState.LIVE:
            sent = replace(sent, state=ChallengeState.DEAD)
        return replace(self, order=order, sent=sent)

    def with_code(self, sent: Challenge) -> "OrderSnapshot":
        """Return the snapshot after another code was sent."""
        return replace(self, sent=sent, codes=self.codes + 1, undelivered=False, waiting=True)

    def coded(self, order: Order, sent: Challenge) -> "OrderSnapshot":
        """Return the snapshot after the right code, which is used up."""
        return replace(self, order=order, sent=replace(sent, state=ChallengeState.CONSUMED))

    def issued(self, order: Order, certificate: SubscriberCertificate) -> "OrderSnapshot":
        """Return the snapshot with the order's new certificate."""
        return replace(self, order=order, certificates=(certificate, *self.certificates))

    def activated(self, order: Order, now: datetime) -> "OrderSnapshot":
        """Return the snapshot after the order's certificate was proved and has superseded the earlier ones."""
        return replace(self, order=order, certificates=tuple(_after(order, held, now) for held in self.certificates))


def _after(order: Order, held: SubscriberCertificate, now: datetime) -> SubscriberCertificate:
    if held.serial == order.serial:
        return replace(held, state=CertificateState.ACTIVE, activated_at=now)
    if held.profile != order.profile or held.state not in {CertificateState.ACTIVE, CertificateState.HELD}:
        return held
    return replace(
        held, state=CertificateState.SUPERSEDED, ended_at=now, reason="superseded", superseded_by=order.serial
    )


@dataclass(frozen=True, slots=True)
class Repeat:
    """A change that a client may send twice: its Idempotency-Key, method and path, and the SHA-256 of its body."""

    name: str
    of: str
    body_sha256: bytes

    @property
    def digest(self) -> bytes:
        """Return the SHA-256 of key, method, path and body; it is equal for repetitions of the same request."""
        return hashlib.sha256(f"{self.name}\n{self.of}\n".encode() + self.body_sha256).digest()

    def scope(self, customer: CustomerId) -> str:
        """Return the scope in which the Idempotency-Key is unique: this customer's requests of this method and path."""
        return f"{customer}:{self.of}"


@dataclass(frozen=True, slots=True)
class SessionSnapshot:
    """A session and the snapshot that its request works on.

    `begun` is True when the request is the first with its Idempotency-Key, which is now in use.
    """

    session: Session
    snapshot: OrderSnapshot | CustomerSnapshot | None
    begun: bool


class Snapshots(Protocol):
    """Reads snapshots; each is read at one moment of the database."""

    async def customer(self, customer: CustomerId) -> CustomerSnapshot:
        """Return what is on record of a customer; empty for an unknown one."""
        ...

    async def enter(
        self, session: bytes, order: OrderId | None, repeat: Repeat | None, now: datetime, idle_since: datetime
    ) -> SessionSnapshot | None:
        """Return the live session with this token hash, and the snapshot of `order`, or of the customer without one.

        In the same transaction the Idempotency-Key of `repeat` is marked as used. Return None when there is no such
        session. The snapshot is None when the order is not the customer's or the Idempotency-Key was used before.
        """
        ...

    async def order(self, customer: CustomerId, order: OrderId) -> OrderSnapshot | None:
        """Return the snapshot of an order of this customer; None when they have no such order."""
        ...


def present_of(
    certificates: tuple[SubscriberCertificate, ...], profile: str, now: datetime
) -> SubscriberCertificate | None:
    """Return the certificate that decides what the customer may do: the active or held one, else the newest proved.

    One that was imported counts only as long as no certificate of ours is active or on hold and has not ended by now;
    of several imported ones the one that ends last.
    """
    held = [h for h in certificates if h.profile == profile and h.activated_at]
    active = [h for h in held if h.state in {CertificateState.ACTIVE, CertificateState.HELD}]
    ours = [h for h in active if h.former is None and now <= h.not_after]
    return next(iter(ours or sorted(active, key=lambda h: h.not_after, reverse=True) or held), None)
