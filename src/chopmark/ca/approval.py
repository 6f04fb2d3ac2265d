"""Before a CA signs, the order's audit records must prove that its customer approved this key, in one login.

Somebody who can write to the database can change an order's row, but not its records: these are sealed with a key that
is outside the database. So the CA reads no row. It receives the records as a value, checks every seal and every link
from the first record on, and takes customer, account, profile and key from them. This does not protect against somebody
who has the sealing key, which is on the server.
"""

import hashlib
import hmac
from collections.abc import Iterator, Mapping, Sequence, Set
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Protocol

import structlog

from chopmark.audit.events import Event
from chopmark.audit.log import AuditLog, RecordBuilder
from chopmark.audit.record import (
    GENESIS,
    AuditKeys,
    AuditRecord,
    StoredRecord,
    order_stream,
    system_stream,
)
from chopmark.audit.tree import hash_leaf
from chopmark.ca.ports import IssuanceRequest
from chopmark.core.clock import Clock
from chopmark.core.refusal import Kind, Refusal
from chopmark.core.types import Channel, KeyEvidence, Operation, OrderId, text
from chopmark.limits.rate_limits import RateLimit, RateLimits
from chopmark.pki import csr
from chopmark.pki.x509 import serial_of

MARGIN = timedelta(seconds=30)
"""Tolerance for times: a record is stamped a little later than the moment that its transaction has checked.

When the transaction is repeated, the record is stamped later still.
"""
_ALARMS = RateLimit("ca:distrusted:1h", 60, timedelta(hours=1))
"""How many alarms are recorded in the audit; further ones are in the log only, so that nobody can fill it (I41)."""

log = structlog.get_logger()


class Distrust(StrEnum):
    """Why an order's records do not prove what is asked for; stable words for programs."""

    NO_RECORDS = "no_records"
    MALFORMED = "record_malformed"
    BROKEN_CHAIN = "record_out_of_chain"
    SEAL = "record_seal"
    NOT_SUBMITTED = "not_submitted"
    SUBMITTED_TWICE = "submitted_twice"
    WENT_ON = "went_on"  # the order was ended before it was submitted, or something followed that ends it
    OLD_FORM = "old_form"  # written by a release whose record of the submission names neither customer nor key
    OPENED_OTHERWISE = "opened_otherwise"
    KEY_NOT_BOUND = "key_not_bound"
    OLD_KEY_UNNAMED = "old_key_unnamed"
    NO_CODE = "no_code"
    NO_SLIP = "no_slip"
    SLIP_NOT_DUE = "slip_not_due"  # an approval slip was used although a code could be sent to a contact
    NO_BIRTH_DATE = "no_birth_date"
    OTHER_LOGIN = "other_login"
    TOO_LATE = "too_late"
    TOO_SOON = "too_soon"  # the order must wait after its first code, and there was none, or it is too recent
    OTHER_KEY = "other_key"
    OTHER_CUSTOMER = "other_customer"
    OTHER_ACCOUNT = "other_account"
    OTHER_PROFILE = "other_profile"
    OTHER_RENEWED = "other_renewed"


@dataclass(frozen=True, slots=True)
class Approval:
    """What the customer has approved, by the order's records; `profile` is None in old records, which name none."""

    order: OrderId
    operation: str
    customer: str
    account: str
    profile: str | None
    spki_sha256: str
    old_serial: str | None


@dataclass(frozen=True, slots=True)
class ApprovalTerms:
    """What records are checked by: the audit keys that are known, and two times of the policy.

    All steps of an approval must be within `approval_life`. When an order must wait, its two codes must be at least
    `replace_delay` apart.
    """

    keys: AuditKeys
    approval_life: timedelta
    replace_delay: timedelta


@dataclass(frozen=True, slots=True)
class _Told:
    """One record whose seal is right; its event may be one that this release does not know."""

    event: str
    facts: Mapping[str, object]
    at: datetime

    def word(self, name: str) -> str | None:
        """Return a fact that is text."""
        value = self.facts.get(name)
        return value if isinstance(value, str) else None


_ENDS = frozenset(
    {
        Event.RA_ORDER_CANCELLED,
        Event.RA_ORDER_EXPIRED,
        Event.RA_ORDER_STOPPED,
        Event.RA_ORDER_REFUSED,
        Event.RA_ORDER_ISSUED,
        Event.RA_ORDER_DONE,
        Event.RA_CONTACT_DISPUTED,
        Event.RA_CERTIFICATE_ACTIVATED,
    }
)
"""Events that end an order; none of them may stand before its submission."""
_CARRIES_NONE = frozenset({"none", "stopped", "not_sent", "not_alone"})
"""What the order's first record says of a contact that no code can be sent to; then an approval slip replaces the code.

A contact that was changed (`changed`) is no reason for a slip when the order is opened: the customer waits until codes
are sent to it again. When such a change comes later, it does not make the slip invalid.
"""
_MAY_FOLLOW = frozenset(
    {
        Event.RA_ORDER_PENDING,
        Event.RA_ORDER_STOPPED,  # the certificate is issued and put on hold, at the RA and at the CA
        Event.POST_MESSAGE_SENT,
        Event.POST_MESSAGE_FAILED,
        Event.RA_CODE_WRONG,
        Event.RA_CODE_DEAD,
        Event.RA_CHALLENGE_REFUSED,
        Event.RA_SLIP_WRONG,
        Event.RA_SLIP_DEAD,
        Event.RA_BIRTH_DATE_WRONG,
        Event.RA_KEY_REFUSED,
        Event.RA_PROOF_REFUSED,
    }
)
"""Events that may follow the submission, besides the CA's own, because they change nothing about the approval.

The CA answers later, a gateway reports late, or another tab of the customer is refused.
"""


def judge(
    order: OrderId, records: Sequence[StoredRecord], terms: ApprovalTerms, *, past: bool = False
) -> Approval | Distrust:
    """Return what the customer has approved according to the order's records, or the first thing that is wrong.

    `past` is for orders that were finished earlier: any event may follow the submission, and a submission that an
    earlier release recorded is checked by what it names.
    """
    # 1. Every seal is right, and the records are linked without a gap from version 1 on.
    told = _read(order, records, terms.keys)
    if isinstance(told, Distrust):
        return told
    # 2. The order was submitted once, had not been ended before, and only the CA's steps and harmless ones followed.
    at = [place for place, one in enumerate(told) if one.event == Event.RA_ORDER_SUBMITTED]
    if len(at) != 1:
        return Distrust.SUBMITTED_TWICE if at else Distrust.NOT_SUBMITTED
    before, submitted, after = told[: at[0]], told[at[0]], told[at[0] + 1 :]
    if any(one.event in _ENDS for one in before) or not (past or all(map(_may_follow, after))):
        return Distrust.WENT_ON
    return _approval(order, before, submitted, terms, past=past)


def _read(order: OrderId, records: Sequence[StoredRecord], keys: AuditKeys) -> list[_Told] | Distrust:
    """Return the records' contents once every seal, version and link was checked; otherwise the first fault."""
    if not records:
        return Distrust.NO_RECORDS
    told: list[_Told] = []
    previous = GENESIS
    for version, record in enumerate(records, 1):
        try:
            opened = record.opened()
        except ValueError:
            return Distrust.MALFORMED
        if (record.stream, record.version, record.previous) != (order_stream(order), version, previous):
            return Distrust.BROKEN_CHAIN
        key = keys.get(record.kid)
        if key is None or not hmac.compare_digest(key.mac(opened.canonical), record.mac):
            return Distrust.SEAL
        previous = hash_leaf(opened.canonical + record.mac)
        told.append(_Told(record.event, opened.facts, opened.at))
    return told


def _may_follow(one: _Told) -> bool:
    return one.event.startswith("ca:") or one.event in _MAY_FOLLOW


def _approval(
    order: OrderId, before: Sequence[_Told], submitted: _Told, terms: ApprovalTerms, *, past: bool
) -> Approval | Distrust:
    """Return the approval that the submission and the steps before it agree on; otherwise what is wrong."""
    old_form = submitted.word("spki_sha256") is None
    if old_form and not past:
        return Distrust.OLD_FORM
    # 3. The order was opened for the same customer, account and operation as it was submitted for.
    if not before or before[0].event != Event.RA_ORDER_OPENED:
        return Distrust.OPENED_OTHERWISE
    opened, at = before[0], _last(before, Event.RA_KEY_BOUND)
    said = opened if old_form else submitted
    same = ("customer", "account", "operation", "old_serial")
    if any(said.word(name) != opened.word(name) for name in same):
        return Distrust.OPENED_OTHERWISE
    customer, account, operation = (said.word(name) or "" for name in same[:3])
    if not customer or not account or operation == Operation.REVOKE or not operation:
        return Distrust.OPENED_OTHERWISE
    # 4. The submitted key was bound to the order; for a renewal by the old key, its certificate is named.
    bound = {} if at is None else before[at].facts
    spki, renewed = bound.get("spki_sha256"), said.word("old_serial")
    if not isinstance(spki, str) or not (old_form or spki == submitted.word("spki_sha256")):
        return Distrust.KEY_NOT_BOUND
    if operation == Operation.REKEY and (renewed is None or bound.get("old_serial") != renewed):
        return Distrust.OLD_KEY_UNNAMED
    # 5. After that the customer approved it.
    steps = before[(at or 0) + 1 :]
    wrong = next(_unapproved(opened, before[at or 0], steps, submitted, terms, old_form=old_form), None)
    if wrong is not None:
        return wrong
    return Approval(order, operation, customer, account, submitted.word("profile"), spki, renewed)


def _unapproved(
    opened: _Told, bound: _Told, steps: Sequence[_Told], submitted: _Told, terms: ApprovalTerms, *, old_form: bool
) -> Iterator[Distrust]:
    """Yield what is missing between the binding of the key (record `bound`) and the submission."""
    # 1. A code was right, or an approval slip when the order was opened for one. The submission names the same one.
    checks = (opened.word("checks") or "").split("+")
    by_slip = "slip" in checks
    at = _last(steps, Event.RA_SLIP_RIGHT if by_slip else Event.RA_CODE_RIGHT)
    named = "slip" if by_slip else "challenge"
    given = submitted.word(named)
    if at is None or not ((old_form and not by_slip) or (given and steps[at].word(named) == given)):
        yield Distrust.NO_SLIP if by_slip else Distrust.NO_CODE
        return
    # 2. A slip counts only when no code could be sent to any contact, neither at the opening nor when it was used.
    if by_slip and not (_none_carries(opened, _CARRIES_NONE) and _none_carries(steps[at], _CARRIES_NONE | {"changed"})):
        yield Distrust.SLIP_NOT_DUE
        return
    # 3. When the order needs the codes of both channels, the other one was right, too.
    approved, later, first = [steps[at], submitted], steps[at + 1 :], at
    if "both_codes" in checks:
        other = _other_code(steps[:at], steps[at])
        if other is None:
            yield Distrust.NO_CODE
            return
        approved.append(steps[other])
        first = other
    # 4. When the order must wait, an earlier code was right at least `replace_delay` before.
    if "delay" in checks and not _announced(steps[:at], steps[at].at - terms.replace_delay + MARGIN):
        yield Distrust.TOO_SOON
        return
    # 5. The birth date was right, when the order asks for it.
    checked = _last(later, Event.RA_BIRTH_DATE_RIGHT)
    if checked is not None:
        approved.append(later[checked])
    elif "birth_date" in checks or not ("checks" in opened.facts or old_form):
        # An order that an earlier release has opened does not name its checks; then the birth date is required.
        yield Distrust.NO_BIRTH_DATE
    # 6. One login did all of this, holds the key, and took no longer than `approval_life`.
    one_login = len({one.word("login") for one in approved}) == 1
    if not old_form and not (one_login and _held(bound, steps, first, submitted)):
        yield Distrust.OTHER_LOGIN
    times = [one.at for one in approved]
    if max(times) - min(times) > terms.approval_life + MARGIN:
        yield Distrust.TOO_LATE


def _held(bound: _Told, steps: Sequence[_Told], code: int, submitted: _Told) -> bool:
    """Tell whether the approving login holds the key: the rule of `ra.model.Order.held_by`, applied to the records.

    It does when the key was bound by the old certificate's key or a TLS certificate, when this login has bound it, or
    when this login was the last one to prove possession of it. `code` is the place of the first code: a proof of
    possession after it makes that code invalid.
    """
    proved = _last(steps, Event.RA_KEY_PROVED)
    if proved is not None and proved > code:
        return False
    if bound.word("evidence") in {KeyEvidence.OLD_KEY, KeyEvidence.TLS}:
        return True
    login = submitted.word("login")
    if login is None:
        return False
    if bound.word("evidence") == KeyEvidence.LOGIN and bound.word("login") == login:
        return True
    return proved is not None and (steps[proved].word("login"), steps[proved].word("spki_sha256")) == (
        login,
        bound.word("spki_sha256"),
    )


def _other_code(before: Sequence[_Told], code: _Told) -> int | None:
    """Return the place of the last right code of another channel than that of `code`."""
    channel = code.word("channel")
    places = reversed(range(len(before)))
    right = (place for place in places if before[place].event == Event.RA_CODE_RIGHT)
    return next((place for place in right if before[place].word("channel") not in {None, channel}), None)


def _none_carries(one: _Told, words: Set[str]) -> bool:
    """Tell whether a record describes the contact of every channel by one of `words`."""
    said = dict(part.split(":", 1) for part in (one.word("contacts") or "").split("+") if ":" in part)
    return said.keys() == set(Channel) and set(said.values()) <= words


def _announced(before: Sequence[_Told], latest: datetime) -> bool:
    """Tell whether a code was right by `latest`, in any login."""
    return any(one.event == Event.RA_CODE_RIGHT and one.at <= latest for one in before)


def _last(told: Sequence[_Told], event: Event) -> int | None:
    """Return the place of the last record of this event."""
    return next((place for place in reversed(range(len(told))) if told[place].event == event), None)


def differs(approval: Approval, issuance: IssuanceRequest) -> Distrust | None:
    """Return what in an issuance request was not approved, or None.

    Names and person ids cannot be compared, because no record has them. They are sealed for the customer's own row and
    cannot be opened in another place.
    """
    if hashlib.sha256(issuance.spki_der).hexdigest() != approval.spki_sha256:
        return Distrust.OTHER_KEY
    if issuance.csr_der and csr.spki_of(issuance.csr_der) != issuance.spki_der:
        return Distrust.OTHER_KEY
    if issuance.subject.get("customer", approval.customer) != approval.customer:
        return Distrust.OTHER_CUSTOMER
    if issuance.subject.get("account", approval.account) != approval.account:
        return Distrust.OTHER_ACCOUNT
    if issuance.profile != approval.profile:
        return Distrust.OTHER_PROFILE
    if issuance.replaces is not None and (
        approval.old_serial is None or _serial(issuance.replaces) != approval.old_serial
    ):
        return Distrust.OTHER_RENEWED
    return None


def _serial(certificate_der: bytes) -> str | None:
    try:
        return serial_of(certificate_der)
    except ValueError:
        return None


@dataclass(frozen=True, slots=True)
class Claimed:
    """What the database rows say about a certificate's order."""

    order: OrderId
    customer: str
    account: str
    profile: str
    spki_sha256: str


def unapproved(records: Sequence[StoredRecord], terms: ApprovalTerms, claimed: Claimed) -> Iterator[str]:
    """Yield what in a stored certificate its order's records do not prove, as `approval.` and a word of `Distrust`.

    Records of an earlier release name customer, account and key, but no profile; then the profile is not compared.
    """
    approval = judge(claimed.order, records, terms, past=True)
    if isinstance(approval, Distrust):
        yield f"approval.{approval}"
        return
    holds = {
        Distrust.OTHER_KEY: approval.spki_sha256 == claimed.spki_sha256,
        Distrust.OTHER_CUSTOMER: approval.customer == claimed.customer,
        Distrust.OTHER_ACCOUNT: approval.account == claimed.account,
        Distrust.OTHER_PROFILE: approval.profile in {None, claimed.profile},
    }
    yield from (f"approval.{wrong}" for wrong, held in holds.items() if not held)


class Notes(Protocol):
    """Writes audit records without any other change."""

    async def note(self, record: AuditRecord) -> None:
        """Write a record."""
        ...


class Approvals:
    """Checks each issuance request before a CA handles it, and raises an alarm when the customer did not approve it."""

    def __init__(
        self, terms: ApprovalTerms, notes: Notes, rate_limits: RateLimits, audit_log: AuditLog, clock: Clock
    ) -> None:
        self.terms = terms
        self._notes = notes
        self._rate_limits = rate_limits
        self._audit_log = audit_log
        self._clock = clock

    async def granted(self, issuance: IssuanceRequest) -> IssuanceRequest | Refusal:
        """Return the request with customer, account and profile taken from the records, or a refusal and an alarm."""
        approval = judge(issuance.order, issuance.records, self.terms)
        wrong = approval if isinstance(approval, Distrust) else differs(approval, issuance)
        if isinstance(approval, Distrust) or wrong is not None:
            await self._alarm(issuance.order, wrong or Distrust.NO_RECORDS)
            return DISTRUSTED
        recorded = {"customer": approval.customer, "account": approval.account}
        return replace(issuance, profile=approval.profile or "", subject={**issuance.subject, **recorded})

    async def _alarm(self, order: OrderId, wrong: Distrust) -> None:
        """Write an error to the log, and an audit record as long as the rate limit for alarms allows it."""
        log.error("order distrusted", order=order, code=wrong.value)
        if await self._rate_limits.take((_ALARMS,), self._clock.now()) is not None:
            return

        async def attempt(builder: RecordBuilder) -> None:
            await self._notes.note(builder.record(Event.CA_ORDER_DISTRUSTED, order=order, code=wrong.value))

        await self._audit_log.write(system_stream("approvals"), attempt)


DISTRUSTED = Refusal(
    Kind.FORBIDDEN,
    text("Our records do not show that you have approved this order. Nothing was issued. Please call us."),
    code="distrusted",
)
