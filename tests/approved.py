"""True records of an approved order, for tests that ask a CA for a certificate without a customer's way to it."""

import hashlib
from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any

from chopmark.app.services import Services
from chopmark.audit.events import Event
from chopmark.audit.facts import Fact
from chopmark.audit.record import AuditKey, AuditRecord, StoredRecord, make_record, new_stream, next_tip, order_stream
from chopmark.ca.ports import IssuanceRequest
from chopmark.core.types import OrderId
from chopmark.pki.x509 import serial_of
from chopmark.store.engine.script import Script
from chopmark.store.repositories.records import append

Step = tuple[Event, dict[str, Fact]]


LOGIN = "THELOGINOFTHISCUSTOMER2345"


def account_of(customer: str) -> str:
    """The account that the tests' customers have."""
    return f"F014000-{int(customer[1:]) if customer[1:].isdigit() else 0:07d}"


def steps(spki_sha256: str, customer: str, profile: str = "investor", old_serial: str | None = None) -> list[Step]:
    """An order's way to its submission, as the product records it; a renewal where it names an old certificate."""
    operation = "enrol" if old_serial is None else "rekey"
    said: dict[str, Fact] = {
        "customer": customer,
        "account": account_of(customer),
        "operation": operation,
        "old_serial": old_serial,
    }
    challenge: dict[str, Fact] = {"challenge": "CHALLENGE", "channel": "mobile", "login": LOGIN}
    evidence = "login" if old_serial is None else "old_key"
    bound: dict[str, Fact] = {"spki_sha256": spki_sha256, "old_serial": old_serial, "evidence": evidence}
    return [
        (Event.RA_ORDER_OPENED, {**said, "factor": "password", "policy": "tw-broker@1", "checks": "birth_date"}),
        (Event.RA_KEY_BOUND, {**bound, "login": LOGIN}),
        (Event.RA_CHALLENGE_OPENED, challenge),
        (Event.RA_CODE_CHARGED, challenge),
        (Event.RA_CODE_RIGHT, challenge),
        (Event.RA_BIRTH_DATE_RIGHT, {"login": LOGIN}),
        (
            Event.RA_ORDER_SUBMITTED,
            {
                **said,
                **challenge,
                "profile": profile,
                "spki_sha256": spki_sha256,
                "factor": "password",
                "policy": "tw-broker@1",
                "login": LOGIN,
            },
        ),
    ]


def records(order: str, told: Sequence[Step], at: datetime, key: AuditKey) -> list[AuditRecord]:
    """These steps as records that continue each other from the first."""
    tip, made = new_stream(order_stream(OrderId(order))), []
    for event, facts in told:
        made.append(make_record(tip, event, facts, at, key))
        tip = next_tip(made[-1])
    return made


def stored(made: Sequence[AuditRecord]) -> tuple[StoredRecord, ...]:
    """Records as a table holds them."""
    return tuple(record.stored() for record in made)


def approved(issuance: IssuanceRequest, at: datetime, key: AuditKey) -> IssuanceRequest:
    """The wish with the records that bear it out; they stand in no database."""
    return replace(issuance, records=stored(records(issuance.order, _steps(issuance), at, key)))


async def on_record(services: Services, issuance: IssuanceRequest) -> IssuanceRequest:
    """The wish with the records that bear it out, written into the house's audit."""
    made = records(issuance.order, _steps(issuance), services.foundation.clock.now(), services.foundation.audit_key)

    def script() -> Script[None]:
        for record in made:
            yield from append(record)

    await services.foundation.engine.run(script)
    return replace(issuance, records=stored(made))


def _steps(issuance: IssuanceRequest) -> list[Step]:
    old = None if issuance.replaces is None else str(serial_of(issuance.replaces))
    return steps(
        hashlib.sha256(issuance.spki_der).hexdigest(), issuance.subject.get("customer", "C1"), issuance.profile, old
    )


def changed(told: Sequence[Step], event: Event, **facts: Any) -> list[Step]:
    """The same steps, with other facts in those of one event."""
    return [(one, {**said, **facts} if one is event else said) for one, said in told]
