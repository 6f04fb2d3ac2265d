"""The verifier's check of the tables of certificates, contacts, failures and locks against the records.

Every change of these rows writes its record in the same transaction, so that at any moment the newest record about a
thing and its row agree. A row that allows more than the records do was edited: an ended certificate is active again, a
cool-down is too short, a lock is gone that nobody released, or failures are missing. A row that allows less is not
reported by this check.
"""

import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

from chopmark.audit.checks import Part, Seen
from chopmark.audit.events import Event
from chopmark.audit.findings import Code, Finding
from chopmark.audit.ports import CertificateRow, ContactRow, FailureRow, HoldingRow, TableRow
from chopmark.audit.record import parse_stamp
from chopmark.core.counted import counted

MARGIN = timedelta(seconds=60)
"""Allowed difference of times, because a record's time is read a moment after the time of its change."""


@dataclass(frozen=True, slots=True)
class FailureLimit:
    """How many failures lock a factor: within one window, and in total."""

    in_window: int
    window: timedelta
    ever: int


@dataclass(frozen=True, slots=True)
class Rules:
    """The numbers of the policy, which no record contains; those of earlier releases were the same or stricter.

    `code` is the factor under which wrong codes are counted, `birth_date` the factor of wrong birth dates. An earlier
    release counted the codes of each channel apart; `factors` names the factor for each channel.
    `cooldown` is how long no code is sent to a changed contact, `slip_life` how long an approval slip is valid.
    """

    limits: Mapping[str, FailureLimit]
    code: str
    factors: Mapping[str, str]
    birth_date: str
    cooldown: timedelta
    slip_life: timedelta


AHEAD = timedelta(seconds=60)
"""If a window begins more than this after now, a clock was ahead when it was opened; the window is moved to now."""


@dataclass(slots=True)
class _Order:
    """What the records say of an order that is not finished yet."""

    customer: str
    holds: str | None
    """The certificate that the right code puts on hold, because it was lost or its key was compromised."""
    serial: str | None = None


@dataclass(slots=True)
class _Count:
    """The failures of one customer with one factor that the records show; the row must count at least as many."""

    start: datetime
    last: datetime | None = None
    in_window: int = 0
    ever: int = 0
    held: bool = False
    sure: bool = True
    """Whether the window is known.

    After a failure at the very end of a window, the records do not tell in which window the row counted it. The window
    is known again at the first failure after all possible windows are over.
    """

    def charge(self, at: datetime, window: timedelta) -> None:
        """Count a failure as the store does: a new window begins when the last one is over."""
        over = at - (self.start + window)
        if self.last is None or at - self.last > window + MARGIN:
            self.sure, self.start, self.in_window = True, at, 1
        elif abs(over) <= MARGIN:
            self.sure, self.start, self.in_window = False, at, 1
        elif over > timedelta(0):
            self.start, self.in_window = at, 1
        else:
            self.in_window += 1
            self.start = at if self.start > at + AHEAD else self.start
        self.ever, self.last = self.ever + 1, at

    def lock(self, limit: FailureLimit) -> None:
        """Lock the factor if it has reached its limit of failures."""
        used_up = self.sure and self.in_window >= limit.in_window
        self.held = self.held or used_up or self.ever >= limit.ever


_RANKS = {"held": 1, "issued": 2, "active": 3}
"""The RA's states of a certificate, ordered by how much they allow; in every other state it has ended."""
_CA_STATES = {
    Event.CA_CERTIFICATE_RESERVED: "reserved",
    Event.CA_CERTIFICATE_RECEIVED: "received",
    Event.CA_CERTIFICATE_ISSUED: "issued",
    Event.CA_CERTIFICATE_RELEASED: "issued",
    Event.CA_CERTIFICATE_HELD: "held",
    Event.CA_CERTIFICATE_ORPHANED: "orphaned",
    Event.CA_CERTIFICATE_REVOKED: "revoked",
}
_CA_ENDED = frozenset({"orphaned", "revoked"})
_OVER = frozenset({Event.RA_ORDER_CANCELLED, Event.RA_ORDER_EXPIRED, Event.RA_ORDER_REFUSED, Event.RA_ORDER_DONE})
_BEGINS_COOLING = frozenset({"added", "changed"})
"""The changes of a contact that begin its cool-down; the contacts of a new customer have no cool-down."""


class StateCheck(Part):
    """Derives from the records the most that the tables may allow, and compares the rows with it.

    Its memory grows with certificates and customers, not with records: it keeps the state of every certificate, and an
    entry for each unfinished order, each contact that was ever changed, and each customer and factor with failures.
    """

    def __init__(self, rules: Rules) -> None:
        self._rules = rules
        self._orders: dict[str, _Order] = {}
        self._at_ca: dict[str, str] = {}
        self._made: set[str] = set()
        self._held_by_ra: dict[str, str] = {}
        self._contacts: dict[tuple[str, str], tuple[int, str, datetime]] = {}
        self._failures: dict[tuple[str, str], _Count] = {}
        self._cooling: dict[str, datetime] = {}
        self._imported: datetime | None = None
        self._read: Mapping[str, Callable[[Seen, Mapping[str, object]], None]] = {
            **dict.fromkeys((event.value for event in _CA_STATES), self._certificate),
            **dict.fromkeys((event.value for event in _OVER), self._over),
            Event.RA_ORDER_OPENED.value: self._opened,
            Event.RA_ORDER_ISSUED.value: self._issued,
            Event.RA_CERTIFICATE_ACTIVATED.value: self._activated,
            Event.RA_CERTIFICATE_HELD.value: self._held,
            Event.RA_CERTIFICATE_RELEASED.value: self._released,
            Event.STAFF_CERTIFICATE_REVOKED.value: self._ended,
            Event.RA_CODE_CHARGED.value: self._code_charged,
            Event.RA_CODE_RIGHT.value: self._code_right,
            Event.RA_CODE_WRONG.value: self._code_wrong,
            Event.RA_SLIP_CHARGED.value: self._code_charged,
            Event.RA_SLIP_RIGHT.value: self._code_right,
            Event.RA_SLIP_WRONG.value: self._code_wrong,
            Event.RA_BIRTH_DATE_WRONG.value: self._birth_date_wrong,
            Event.RA_BIRTH_DATE_RIGHT.value: self._birth_date_right,
            Event.STAFF_HOLD_RELEASED.value: self._lifted,
            Event.STAFF_CONTACT_CHANGED.value: self._contact,
            Event.STAFF_COOLDOWN_STARTED.value: self._cooldown,
            Event.STAFF_CUSTOMERS_IMPORTED.value: self._import,
        }

    def record(self, seen: Seen, /) -> Iterable[Finding]:
        """Remember what a record says of a thing that also has a row in a table."""
        read = self._read.get(seen.record.event)
        if read is not None:
            read(seen, json.loads(seen.record.facts))
        return ()

    # certificates ---------------------------------------------------------------------------------------------------

    def _certificate(self, seen: Seen, facts: Mapping[str, object]) -> None:
        if ":" in seen.record.stream:
            return  # the certificate of a responder or time-stamp authority, which has no row in the CA's table
        serial, state = _word(facts, "serial"), _CA_STATES[Event(seen.record.event)]
        if state in {"reserved", "received", "issued"}:
            self._made.add(serial)
        if self._at_ca.get(serial) not in _CA_ENDED:
            self._at_ca[serial] = state
        if state in _CA_ENDED:
            self._held_by_ra[serial] = "ended"

    def _opened(self, seen: Seen, facts: Mapping[str, object]) -> None:
        lost = facts.get("operation") == "replace" and facts.get("reason") in {"lost", "compromised"}
        old = _word(facts, "old_serial")
        self._orders[seen.record.stream] = _Order(_word(facts, "customer"), old if lost else None)

    def _issued(self, seen: Seen, facts: Mapping[str, object]) -> None:
        serial = _word(facts, "serial")
        self._held_by_ra.setdefault(serial, "issued")
        if seen.record.stream in self._orders:
            self._orders[seen.record.stream].serial = serial

    def _activated(self, seen: Seen, facts: Mapping[str, object]) -> None:
        serial = _word(facts, "serial")
        if self._held_by_ra.get(serial) == "issued":
            self._held_by_ra[serial] = "active"
        self._end(_word(facts, "old_serial"))
        self._orders.pop(seen.record.stream, None)

    def _over(self, seen: Seen, facts: Mapping[str, object]) -> None:
        self._ended(seen, facts)
        order = self._orders.pop(seen.record.stream, None)
        if order is not None and order.serial is not None:
            self._end(order.serial)

    def _ended(self, _seen: Seen, facts: Mapping[str, object]) -> None:
        self._end(_word(facts, "serial"))

    def _end(self, serial: str) -> None:
        if serial:
            self._held_by_ra[serial] = "ended"

    def _held(self, _seen: Seen, facts: Mapping[str, object]) -> None:
        self._hold(_word(facts, "serial"))

    def _hold(self, serial: str) -> None:
        if self._held_by_ra.get(serial) == "active":
            self._held_by_ra[serial] = "held"

    def _released(self, _seen: Seen, facts: Mapping[str, object]) -> None:
        serial = _word(facts, "serial")
        if self._held_by_ra.get(serial) == "held":
            self._held_by_ra[serial] = "active"

    # failures and locks ---------------------------------------------------------------------------------------------

    def _count(self, seen: Seen, factor: str) -> tuple[_Count, FailureLimit, datetime] | None:
        order, limit = self._orders.get(seen.record.stream), self._rules.limits.get(factor)
        if order is None or limit is None:
            return None
        at = parse_stamp(seen.record.at)
        return self._failures.setdefault((order.customer, factor), _Count(at)), limit, at

    def _of_code(self, seen: Seen, facts: Mapping[str, object]) -> tuple[_Count, FailureLimit, datetime] | None:
        """Return the count that a record about a code belongs to, with its limit and the record's time.

        A record that names the login counts for all channels together (decision 27); an older one for its channel.
        """
        by_channel = self._rules.factors.get(_word(facts, "channel"), "")
        return self._count(seen, self._rules.code if "login" in facts else by_channel)

    def _code_charged(self, seen: Seen, facts: Mapping[str, object]) -> None:
        if (found := self._of_code(seen, facts)) is not None:
            count, limit, at = found
            count.charge(at, limit.window)

    def _code_right(self, seen: Seen, facts: Mapping[str, object]) -> None:
        if (found := self._of_code(seen, facts)) is not None and not found[0].held:
            count = found[0]
            count.in_window, count.ever = max(0, count.in_window - 1), max(0, count.ever - 1)
        order = self._orders.get(seen.record.stream)
        if order is not None and order.holds is not None:
            self._hold(order.holds)

    def _code_wrong(self, seen: Seen, facts: Mapping[str, object]) -> None:
        if (found := self._of_code(seen, facts)) is not None:
            found[0].lock(found[1])

    def _birth_date_wrong(self, seen: Seen, _facts: Mapping[str, object]) -> None:
        if (found := self._count(seen, self._rules.birth_date)) is not None:
            count, limit, at = found
            count.charge(at, limit.window)
            count.lock(limit)

    def _birth_date_right(self, seen: Seen, _facts: Mapping[str, object]) -> None:
        found = self._count(seen, self._rules.birth_date)
        if found is not None and not found[0].held:
            found[0].in_window = 0

    def _lifted(self, _seen: Seen, facts: Mapping[str, object]) -> None:
        customer = _word(facts, "customer")
        for factor in self._rules.limits:
            count = self._failures.get((customer, factor))
            if count is not None:
                count.in_window, count.ever, count.held = 0, 0, False

    # contacts -------------------------------------------------------------------------------------------------------

    def _contact(self, seen: Seen, facts: Mapping[str, object]) -> None:
        version = facts.get("contact_version")
        key = _word(facts, "customer"), _word(facts, "channel")
        self._contacts[key] = (
            version if isinstance(version, int) else 0,
            _word(facts, "state"),
            parse_stamp(seen.record.at),
        )

    def _cooldown(self, seen: Seen, facts: Mapping[str, object]) -> None:
        self._cooling[_word(facts, "customer")] = parse_stamp(seen.record.at)

    def _import(self, seen: Seen, _facts: Mapping[str, object]) -> None:
        at = parse_stamp(seen.record.at)
        self._imported = at if self._imported is None else max(at, self._imported)

    # the tables -----------------------------------------------------------------------------------------------------

    def row(self, row: TableRow, /) -> Iterator[Finding]:
        """Compare a row with the most that the records allow it to say."""
        match row:
            case CertificateRow():
                yield from self._certificate_row(row)
            case HoldingRow():
                yield from self._holding_row(row)
            case ContactRow():
                yield from self._contact_row(row)
            case FailureRow():
                yield from self._failure_row(row)

    def _certificate_row(self, row: CertificateRow) -> Iterator[Finding]:
        self._made.discard(row.serial)
        told = self._at_ca.get(row.serial)
        if row.foreign:
            wrong = told == "revoked" and row.state in {"issued", "received"}
        else:
            wrong = told != row.state
        if wrong:
            sentence = f"The certificate's row says {row.state}, and its records say {told or 'nothing of it'}."
            yield Finding(Code.CERTIFICATE_STATE_WRONG, f"certificate {row.serial}", sentence)

    def _holding_row(self, row: HoldingRow) -> Iterator[Finding]:
        told = self._held_by_ra.get(row.serial, "nothing of it")
        if _RANKS.get(row.state, 0) > _RANKS.get(told, 0):
            sentence = f"The customer's certificate is {row.state} by its row, and its records say {told}."
            yield Finding(Code.HOLDING_STATE_WRONG, f"certificate {row.serial}", sentence)

    def _contact_row(self, row: ContactRow) -> Iterator[Finding]:
        place = f"{row.channel} of customer {row.customer}"
        told = self._contacts.pop((row.customer, row.channel), None)
        cooling = self._cooling.get(row.customer)
        if cooling is not None and row.cool_until < cooling + self._rules.cooldown - MARGIN:
            sentence = "The contact's cool-down ends earlier than the one that the customer's record began."
            yield Finding(Code.COOLDOWN_RESET, place, sentence)
        if self._imported is None or row.verified_at > self._imported:
            sentence = "The contact was verified later than any sheet of customers was taken in."
            yield Finding(Code.CONTACT_STATE_WRONG, place, sentence)
        if told is None:
            if row.version != 1:
                sentence = f"The contact is version {row.version}, and no record says that it was changed."
                yield Finding(Code.CONTACT_STATE_WRONG, place, sentence)
            return
        version, state, at = told
        if state == "removed" or row.version != version:
            sentence = f"The contact is version {row.version}; its last record is of version {version}, {state}."
            yield Finding(Code.CONTACT_STATE_WRONG, place, sentence)
        elif state in _BEGINS_COOLING and row.cool_until < at + self._rules.cooldown - MARGIN:
            sentence = "The contact's cool-down ends earlier than its last change allows."
            yield Finding(Code.COOLDOWN_RESET, place, sentence)

    def _failure_row(self, row: FailureRow) -> Iterator[Finding]:
        told = self._failures.pop((row.customer, row.factor), None)
        if told is not None:
            yield from self._failures_of(row, told)

    def _failures_of(self, row: FailureRow, told: _Count) -> Iterator[Finding]:
        place = f"{row.factor} of customer {row.customer}"
        if told.held and not row.held:
            sentence = "The factor is locked by its records, and no record says that two persons released it."
            yield Finding(Code.LOCK_LIFTED, place, sentence)
        # A right birth date is charged without a record and may open the window, so its start is not compared.
        dated = told.sure and told.in_window > 0 and row.factor != self._rules.birth_date
        moved = dated and abs(row.window_start - told.start) > MARGIN
        forgotten = told.sure and row.in_window < told.in_window
        if row.ever < told.ever or moved or forgotten:
            sentence = (
                f"The records show {counted(told.ever, 'failure')}, {told.in_window} of them in the last window; "
            )
            sentence += f"the row counts {row.ever} and {row.in_window}."
            yield Finding(Code.FAILURES_LOWERED, place, sentence)

    def finish(self) -> Iterator[Finding]:
        """Report what the records know and no table has a row for."""
        for serial in sorted(self._made):
            sentence = f"The records say {self._at_ca[serial]}, and no table has the certificate."
            yield Finding(Code.CERTIFICATE_ROW_MISSING, f"certificate {serial}", sentence)
        for (customer, channel), (version, state, _) in sorted(self._contacts.items()):
            if state != "removed":
                sentence = f"The records have version {version} of the contact, and the table has none."
                yield Finding(Code.CONTACT_STATE_WRONG, f"{channel} of customer {customer}", sentence)
        for (customer, factor), told in sorted(self._failures.items(), key=lambda one: one[0]):
            yield from self._failures_of(FailureRow(customer, factor, told.start, 0, 0, held=False), told)


def _word(facts: Mapping[str, object], name: str) -> str:
    """Return the fact of this name if it is text, else an empty string."""
    value = facts.get(name)
    return value if isinstance(value, str) else ""
