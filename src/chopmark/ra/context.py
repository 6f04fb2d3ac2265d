"""What all RA verbs share: loading an order for its owner, the clock, the store, outbox rows and notices."""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from chopmark.audit.journal import Deed, Line
from chopmark.audit.log import AuditLog
from chopmark.core.clock import Clock, Entropy, new_id
from chopmark.core.refusal import Kind, Refusal, Refused
from chopmark.core.types import (
    ActingLogin,
    CertificateState,
    Channel,
    CustomerId,
    FactorClass,
    IssuerId,
    LoginId,
    Operation,
    OrderId,
    Reason,
    Serial,
    text,
)
from chopmark.identity.people import People
from chopmark.identity.ports import ContactRow
from chopmark.limits.rate_limits import RateLimits
from chopmark.messaging.ports import OTHER_VERSION, OutboxJob, OutboxJobKind
from chopmark.ra.former_issuers import NO_FORMER_ISSUERS, FormerIssuers
from chopmark.ra.imported import ImportedCertificates, is_fingerprint
from chopmark.ra.model import Order, Step
from chopmark.ra.policy import CertificateFacts, ContactFacts, Policy
from chopmark.ra.ports import Lines, Orders, Submissions, SubscriberCertificate, SubscriberCertificates
from chopmark.ra.snapshots import CustomerSnapshot, OrderSnapshot, Snapshots


@dataclass(frozen=True, slots=True)
class Caller:
    """Who asks: the customer of a session, with the factor classes of that login; never taken from a request body.

    `interface` is the interface that the request came by. `login` is the id of one sign-in or launch. `opened` is the
    snapshot that was read together with the session, so that the first step need not read it again.
    """

    customer: CustomerId
    factors: frozenset[FactorClass]
    interface: str
    login: LoginId
    language: str = "zh-TW"
    opened: OrderSnapshot | CustomerSnapshot | None = None


@dataclass(frozen=True, slots=True)
class RaContext:
    """What a verb works with: store, directory, rate limits, audit log, policy, clock and randomness."""

    orders: Orders
    certificates: SubscriberCertificates
    people: People
    rate_limits: RateLimits
    audit_log: AuditLog
    policy: Policy
    portal: str
    clock: Clock
    entropy: Entropy
    snapshots: Snapshots
    submissions: Submissions
    journal: Lines
    former: FormerIssuers = NO_FORMER_ISSUERS
    imported: ImportedCertificates | None = None
    """None where nothing could be imported, as in tests of single verbs."""

    async def proved(self, certificate: SubscriberCertificate) -> None:
        """Write to the journal that a certificate was proved, before it counts as active; raises Refused if that fails.

        The line names no CA, because it is the RA that knows of the proof.
        """
        deed = Line(
            Deed.PROVED, self.now(), IssuerId(""), certificate.serial, certificate.order, 0, certificate.not_after
        )
        await self.journal.write(deed)

    def now(self) -> datetime:
        """Return the present moment."""
        return self.clock.now()

    async def order(self, caller: Caller, order: OrderId) -> Order:
        """Return the caller's order as it counts now; raise Refused (NOT_FOUND) for another customer's."""
        found = await self.orders.get(order)
        if found is None or found.customer != caller.customer:
            raise Refused(NO_ORDER)
        return found.at(self.now(), self.policy).within(caller.login)

    def acting(self, caller: Caller, order: Order) -> ActingLogin:
        """Return the caller's login with the factors of all logins that took a step of this order, this one included.

        Raises Refused (FORBIDDEN) for a login without the trading password, which each step of a customer needs
        (TW-01). If it is unknown which factors the order's earlier logins used, the union stays unknown (empty).
        """
        self.require_password(caller)
        known = order.login_factors
        return ActingLogin(caller.login, known, known | caller.factors if known else known)

    def contact_facts(self, contacts: Iterable[ContactRow]) -> dict[Channel, ContactFacts]:
        """Return what policy needs to know of a customer's contacts."""
        return {
            row.channel: ContactFacts(
                row.channel,
                row.version,
                row.verified_at,
                row.cool_until,
                row.disputed_at is not None,
                self.people.country(row) not in {"", *self.policy.countries},
            )
            for row in contacts
        }

    def require_password(self, caller: Caller) -> None:
        """Raise Refused (FORBIDDEN) when the login does not contain the trading password (TW-01)."""
        if FactorClass.PASSWORD not in caller.factors:
            said = text("Please sign in with your trading password first.")
            raise Refused(Refusal(Kind.FORBIDDEN, said, code="password_needed"))

    async def snapshot(self, caller: Caller, order: OrderId) -> OrderSnapshot:
        """Return the snapshot of the caller's order as it counts now, without reading it again if the caller has it.

        Raises Refused (NOT_FOUND) for another customer's order.
        """
        if isinstance(caller.opened, OrderSnapshot) and caller.opened.order.id == order:
            return self._counted(caller, caller.opened)
        return await self.reread(caller, order)

    async def reread(self, caller: Caller, order: OrderId) -> OrderSnapshot:
        """Return the same as `snapshot`, but always read from the store at this moment."""
        found = await self.snapshots.order(caller.customer, order)
        if found is None:
            raise Refused(NO_ORDER)
        return self._counted(caller, found)

    def _counted(self, caller: Caller, found: OrderSnapshot) -> OrderSnapshot:
        for tip in found.tips:
            self.audit_log.know(tip)
        return found.now_as(found.order.at(self.now(), self.policy).within(caller.login))

    async def customer_snapshot(self, caller: Caller) -> CustomerSnapshot:
        """Return what is on record of the caller, without reading it again if the caller has it."""
        if isinstance(caller.opened, CustomerSnapshot):
            return caller.opened
        return await self.snapshots.customer(caller.customer)

    async def at_step(self, caller: Caller, order: OrderId, step: Step) -> OrderSnapshot:
        """Return the snapshot of the caller's order if `step` is its next step; raise Refused otherwise."""
        found = await self.snapshot(caller, order)
        refused = found.order.require(step)
        if refused is not None:
            raise Refused(refused)
        return found

    async def notice(
        self, customer: CustomerId, template: str, told: Channel | None, **facts: str
    ) -> tuple[OutboxJob, ...]:
        """Read the customer's contacts and return the outbox row of a notice to one of them, as `notice_to` does."""
        return self.notice_to(customer, await self.people.contact_rows(customer), template, told, **facts)

    def notice_to(
        self,
        customer: CustomerId,
        contacts: Iterable[ContactRow],
        template: str,
        told: Channel | None,
        **facts: str,
    ) -> tuple[OutboxJob, ...]:
        """Return the outbox row of a notice: to the channel other than `told`, or to the only one there is (OTP-13).

        `told` is the channel that knows already, None for neither. A channel that has a gateway is preferred. If the
        notice cannot be delivered, the worker sends it to the other contact, whose version the row names for that.
        Return no row for a customer without contacts.
        """
        wanted = [told.other, told] if told is not None else [Channel.EMAIL, Channel.MOBILE]
        versions = {row.channel: row.version for row in contacts}
        there = sorted((one for one in wanted if one in versions), key=lambda one: one not in self.policy.channels)
        if not there:
            return ()
        channel, *others = there
        named: dict[str, str | int] = {"template": template, **facts}
        if others:
            named[OTHER_VERSION] = versions[others[0]]
        return (self.work(OutboxJobKind.NOTICE, customer, named, channel, versions[channel]),)

    def work(
        self,
        kind: OutboxJobKind,
        customer: CustomerId | None,
        facts: Mapping[str, str | int],
        channel: Channel | None = None,
        contact_version: int | None = None,
        order: OrderId | None = None,
    ) -> OutboxJob:
        """Return an outbox row that a worker may claim from now on."""
        return OutboxJob(
            id=new_id(self.entropy),
            kind=kind,
            customer=customer,
            order=order,
            challenge=None,
            channel=channel,
            contact_version=contact_version,
            facts=dict(facts),
            attempts=0,
            not_before=self.now(),
            expires_at=None,
        )

    def hold_work(self, serial: Serial, customer: CustomerId, order: OrderId) -> OutboxJob:
        """Return the outbox row that makes the CA hold or release a certificate, as our own record says."""
        return self.work(OutboxJobKind.HOLD, customer, {"serial": serial}, order=order)

    def hold_old(self, order: Order) -> tuple[OutboxJob, ...]:
        """Return the outbox row that makes the CA hold the old certificate if the order says it is lost or compromised.

        It is queued in the transaction that accepts the right code or slip. Nothing is returned for other orders, and
        for an imported certificate, of which our CA knows nothing.
        """
        lost = order.operation is Operation.REPLACE and order.reason in {Reason.LOST, Reason.COMPROMISED}
        if not lost or order.old_serial is None or is_fingerprint(order.old_serial):
            return ()
        return (self.hold_work(order.old_serial, order.customer, order.id),)

    def revoke_old(
        self,
        old: SubscriberCertificate | None,
        reason: str,
        customer: CustomerId,
        order: OrderId,
        after: timedelta = timedelta(0),
    ) -> tuple[OutboxJob, ...]:
        """Return the outbox row that has our CA revoke the certificate that a new one replaces, as `revoke_work` does.

        Nothing for no certificate, and for an imported one: its own CA is asked by what the store notes with it
        (`ra.imported`, `revoke_after`).
        """
        if old is None or old.former is not None:
            return ()
        return (self.revoke_work(old.serial, reason, customer, order, after),)

    def revoke_work(
        self,
        serial: Serial,
        reason: str,
        customer: CustomerId,
        order: OrderId,
        after: timedelta = timedelta(0),
    ) -> OutboxJob:
        """Return the outbox row that has the CA revoke a certificate, at once or when the time `after` has passed.

        The row itself becomes due after half an hour at most, because the store takes a longer wait for the mistake of
        a clock that ran ahead. The worker reads the real moment from the fact `after` (milliseconds since 1970) and
        puts the row off until then.
        """
        facts: dict[str, str | int] = {"serial": serial, "reason": reason}
        if after:
            facts["after"] = int((self.now() + after).timestamp() * 1000)
        made = self.work(OutboxJobKind.REVOKE, customer, facts, order=order)
        return replace(made, not_before=made.not_before + min(after, timedelta(minutes=30)))


def facts_of(certificate: SubscriberCertificate | None) -> CertificateFacts | None:
    """Return what policy needs to know of a certificate; None for no certificate."""
    if certificate is None:
        return None
    usable = certificate.state in {CertificateState.ACTIVE, CertificateState.EXPIRED}
    held = certificate.state is CertificateState.HELD
    return CertificateFacts(certificate.serial, certificate.not_before, certificate.not_after, usable, held)


def assert_staff(name: str, field: str) -> None:
    """Raise Refused (MALFORMED) unless `name` is a staff id; `field` is the name of its field in the request."""
    if not _STAFF.fullmatch(name):
        said = text("A staff id has 1 to 64 letters, digits, dots, hyphens or underscores.")
        raise Refused(Refusal(Kind.MALFORMED, said, field=field, code=field))


def assert_two(by: str, approved_by: str) -> None:
    """Raise Refused unless these are the staff ids of two different people (I32); upper and lower case are the same."""
    assert_staff(by, "by")
    assert_staff(approved_by, "approved_by")
    if by.casefold() == approved_by.casefold():
        said = text("This is done by one person and approved by another.")
        raise Refused(Refusal(Kind.FORBIDDEN, said, field="approved_by"))


_STAFF = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
NO_ORDER = Refusal(Kind.NOT_FOUND, text("There is no such order. Please start again from the overview."), code="order")
NOT_YOURS = Refusal(Kind.NOT_FOUND, text("This is not one of your accounts."), field="account", code="account")
NO_ACCOUNT = Refusal(
    Kind.NOT_FOUND, text("You have no trading account here yet. Please call us."), field="account", code="no_account"
)
