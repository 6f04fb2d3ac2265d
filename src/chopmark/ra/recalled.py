"""Rebuilding an order from its sealed audit records, as it was when it was submitted."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from chopmark.audit.events import Event
from chopmark.audit.record import StoredRecord, parse_stamp
from chopmark.core.types import (
    AccountNumber,
    Channel,
    CustomerId,
    FactorClass,
    KeyEvidence,
    KeyHome,
    LoginId,
    Operation,
    OrderId,
    OrderState,
    Reason,
    Serial,
)
from chopmark.ra.model import Order

DAY = timedelta(days=1)


class Unreadable(Exception):
    """The records do not say enough about an order to rebuild it."""


@dataclass(frozen=True, slots=True)
class _Told:
    at: datetime
    facts: Mapping[str, object]

    def word(self, name: str) -> str:
        value = self.facts.get(name)
        if not isinstance(value, str):
            raise Unreadable(name)
        return value

    def word_or_none(self, name: str) -> str | None:
        return None if self.facts.get(name) is None else self.word(name)


def recalled(records: Sequence[StoredRecord], csr: bytes) -> Order:
    """Return the submitted order that these records describe; of several records of one event the last counts.

    `csr` is its certificate request, DER. Raises Unreadable. The records are not verified here, because the CA does
    that before it issues.
    """
    last: dict[str, _Told] = {}
    for one in records:
        try:
            last[one.event] = _Told(parse_stamp(one.at), json.loads(one.facts))
        except (ValueError, TypeError) as error:
            raise Unreadable(one.leaf_id) from error
    try:
        opened, bound, submitted = (
            last[event] for event in (Event.RA_ORDER_OPENED, Event.RA_KEY_BOUND, Event.RA_ORDER_SUBMITTED)
        )
        return _order(last, opened, bound, submitted, OrderId(records[0].stream), csr)
    except (KeyError, ValueError) as error:
        raise Unreadable(str(error)) from error


def _order(
    last: Mapping[str, _Told], opened: _Told, bound: _Told, submitted: _Told, order: OrderId, csr: bytes
) -> Order:
    reason, old = opened.word_or_none("reason"), submitted.word_or_none("old_serial")
    channel, birth_date = submitted.word_or_none("channel"), last.get(Event.RA_BIRTH_DATE_RIGHT)
    coded = last.get(Event.RA_CODE_RIGHT)
    return Order(
        id=order,
        customer=CustomerId(submitted.word("customer")),
        operation=Operation(submitted.word("operation")),
        account=AccountNumber(submitted.word("account")),
        profile=submitted.word("profile"),
        key_home=KeyHome(submitted.word("home")),
        state=OrderState.SUBMITTED,
        login_factors=frozenset(FactorClass(word) for word in submitted.word("factor").split("+") if word),
        policy=submitted.word("policy"),
        created_at=opened.at,
        expires_at=opened.at + DAY,
        birth_date_asked=birth_date is not None,
        reason=None if reason is None else Reason(reason),
        old_serial=None if old is None else Serial(old),
        spki_sha256=submitted.word("spki_sha256"),
        csr=csr,
        bound_at=bound.at,
        code_channel=None if channel is None else Channel(channel),
        coded_at=None if coded is None else coded.at,
        checked_at=None if birth_date is None else birth_date.at,
        consent=submitted.word("terms"),
        submitted_at=submitted.at,
        login=LoginId(opened.word("login")),
        bound_login=LoginId(bound.word("login")),
        approved_login=LoginId(submitted.word("login")),
        key_evidence=KeyEvidence(bound.word("evidence")),
    )
