"""A stored certificate of another CA and what in other tables has to agree with it: each thing by its code."""

import hashlib
from collections.abc import AsyncGenerator
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from chopmark.audit.record import AuditKey, AuditKeys
from chopmark.ca.approval import ApprovalTerms
from chopmark.ca.checker import LIMBO_AFTER, Checked, Held, Ordered
from chopmark.ca.external.checker import ExternalChecker, Row, Said
from chopmark.ca.external.ports import ExternalCaExpectations, Request, RequestState
from chopmark.core.types import CertificateState, IssuerId, OrderId, Serial
from chopmark.pki.received import Anchors, Naming
from chopmark.pki.x509 import serial_of
from tests.vectors.pki.house import NOW, SUBJECT, customer, house, profile

HOUSE = house()
LEAF = HOUSE.draft()
DER = HOUSE.issue(LEAF)
CHAIN = (HOUSE.issuing.certificate_der, HOUSE.root.certificate_der)
SPKI = hashlib.sha256(customer().public_key_der).hexdigest()
SERIAL, WHOSE = serial_of(DER), SUBJECT["customer"]
SECOND, DAY = timedelta(seconds=1), timedelta(days=1)
LATER = NOW + DAY
REQUEST = Request(
    order=OrderId("O1"), attempt=1, issuer=IssuerId("them"), transaction=bytes(16), profile="investor",
    spki_sha256=SPKI, state=RequestState.ISSUED, sent_at=NOW, serial=SERIAL, der=DER, chain=CHAIN,
    not_before=LEAF.not_before, not_after=LEAF.not_after,
)  # fmt: skip
HELD = Held("O1", SPKI, CertificateState.ACTIVE, DER, None)
ORDERED = Ordered("active", WHOSE, SERIAL, SPKI, WHOSE)
ROW = Row(REQUEST, SUBJECT["account"], HELD, CHAIN, ORDERED, False, Said(0, 1, 0, 0, 0))
KNOWN = ExternalCaExpectations(
    IssuerId("them"),
    Anchors(CHAIN[-1:], CHAIN[:1]),
    Naming.OURS,
    {"investor": [profile()]},
    SUBJECT,
    ApprovalTerms(AuditKeys([AuditKey("a1", bytes(32))]), DAY, DAY),
)


class Stored:
    """Rows in memory; `stray` are serials of customers that no CA has a row for."""

    def __init__(self, *rows: Row, stray: tuple[str, ...] = ()) -> None:
        self._rows = rows
        self._stray = [Serial(one) for one in stray]

    async def certificates(self) -> AsyncGenerator[Row, None]:
        for row in self._rows:
            yield row

    async def strays(self) -> list[Serial]:
        return self._stray


async def checked(
    *rows: Row, known: ExternalCaExpectations = KNOWN, lint_each: int = 0, stray: tuple[str, ...] = ()
) -> Checked:
    return await ExternalChecker(known, Stored(*rows, stray=stray), lint_each).check(LATER)


async def codes(row: Row, known: ExternalCaExpectations = KNOWN) -> set[str]:
    """Return the codes of a row's faults; its records are empty here, which is another test's concern."""
    found = {fault.code for fault in (await checked(row, known=known)).faults}
    assert "approval.no_records" in found
    return found - {"approval.no_records"}


def row(request: dict[str, Any] | None = None, **other: Any) -> Row:
    return replace(ROW, request=replace(REQUEST, **(request or {})), **other)


def of(state: RequestState, **other: Any) -> dict[str, Any]:
    return {"state": state, **other}


REVOKED = of(RequestState.REVOKED, reason="superseded", revoked_at=NOW)
ENDED = replace(HELD, state=CertificateState.SUPERSEDED, ended_at=LATER - LIMBO_AFTER)
GONE = Said(0, 1, 0, 0, 1)


@pytest.mark.parametrize(
    "fits",
    [
        ROW,
        row(of(RequestState.RECEIVED), told=Said(1, 0, 0, 0, 0), held=None, order=replace(ORDERED, state="submitted")),
        row(told=Said(1, 1, 0, 0, 0)),
        row(held=replace(HELD, state=CertificateState.HELD, ended_at=NOW)),
        row(held=replace(ENDED, ended_at=LATER - LIMBO_AFTER + SECOND)),
        row(held=replace(HELD, state=CertificateState.ISSUED, ended_at=NOW)),
        row(REVOKED, held=ENDED, told=GONE),
        row(of(RequestState.GIVEN_UP, code="late"), held=None, told=Said(0, 0, 1, 0, 0)),
        row(of(RequestState.QUARANTINED), held=None, told=Said(0, 0, 2, 0, 0)),
    ],
)
async def test_what_fits_has_no_fault(fits: Row) -> None:
    assert await codes(fits) == set()


OTHER = "0" * 64


@pytest.mark.parametrize(
    ("stored", "code"),
    [
        (row({"serial": Serial("01")}), "serial"),
        (row({"not_before": NOW + SECOND}), "not_before"),
        (row({"not_after": LEAF.not_after + SECOND}), "not_after"),
        (row({"spki_sha256": OTHER}), "spki"),
        (row({"sent_at": LEAF.not_before + DAY + SECOND}), "backdated"),
        (row({"der": None}), "certificate_missing"),
        (row({"der": DER[:-1]}), "certificate_malformed"),
        (row({"der": b"\x30\x00"}), "certificate_malformed"),
        (row({"chain": ()}), "chain"),
        (row({"chain": CHAIN[1:]}, held_stream=CHAIN[1:]), "chain_signature"),
        (row({"profile": "another"}), "profile_unknown"),
        (row(order=None), "order_missing"),
        (row(order=replace(ORDERED, spki_sha256=OTHER)), "order_of_another_key"),
        (row(order=replace(ORDERED, key_customer="C2")), "key_of_another"),
        (row(order=replace(ORDERED, serial="01")), "order_of_another_serial"),
        (row(order=replace(ORDERED, customer="C2", key_customer="C2")), "subject"),
        (row(held=None), "holding_missing"),
        (row(held=replace(HELD, order="O2")), "holding_differs"),
        (row(held=replace(HELD, spki_sha256=OTHER)), "holding_differs"),
        (row(held=replace(HELD, der=b"")), "holding_differs"),
        (row(held_stream=CHAIN[:1]), "holding_of_another_chain"),
        (row(REVOKED, told=GONE), "revoked_and_held"),
        (row(REVOKED, told=GONE, held=replace(HELD, state=CertificateState.ISSUED)), "revoked_and_held"),
        (row(held=ENDED), "ended_and_not_revoked"),
        (row(of(RequestState.QUARANTINED), told=Said(0, 0, 1, 0, 0)), "holding_of_nothing"),
        (row({"reason": "superseded"}), "state_of_end"),
        (row({"revoked_at": NOW}, told=GONE), "state_of_end"),
        (row(of(RequestState.REVOKED, reason="superseded"), held=ENDED), "state_of_end"),
        (row(of(RequestState.REVOKED, revoked_at=NOW), held=ENDED, told=GONE), "state_of_end"),
        (row(REVOKED, held=ENDED, told=GONE, ticked=True), "revoked_by_nobody"),
        (row(told=Said(0, 0, 0, 0, 0)), "audit_differs"),
        (row(told=Said(0, 2, 0, 0, 0)), "audit_differs"),
        (row(told=Said(0, 1, 0, 1, 0)), "audit_differs"),
        (row(told=Said(0, 1, 0, 0, 1)), "audit_differs"),
        (row(told=Said(0, 1, 1, 0, 0)), "audit_differs"),
        (row(of(RequestState.QUARANTINED), held=None, told=Said(0, 0, 0, 0, 0)), "audit_differs"),
    ],
)
async def test_each_thing_that_does_not_agree_has_its_code(stored: Row, code: str) -> None:
    assert code in await codes(stored)


async def test_the_root_of_the_ca_that_is_connected_must_be_one_of_the_settings() -> None:
    others = Anchors(house_of_another(), ())
    assert await codes(ROW, replace(KNOWN, anchors=others)) == {"anchor"}
    assert await codes(ROW, replace(KNOWN, anchors=others, issuer=IssuerId("new"), naming=Naming.THEIRS)) == set()


def house_of_another() -> tuple[bytes, ...]:
    return (HOUSE.issuing.certificate_der,)


async def test_every_row_and_every_stray_is_counted_and_every_nth_is_linted() -> None:
    found = await checked(*[ROW] * 5, lint_each=2, stray=("99",))
    assert (found.certificates, found.linted) == (5, 3)
    assert [fault.serial for fault in found.faults if fault.code == "holding_without_certificate"] == ["99"]
    assert not [fault.code for fault in found.faults if fault.code.startswith("lint.")]
    assert (await checked(ROW, lint_each=0)).linted == 0
    without = row({"der": None}), row(of(RequestState.QUARANTINED), held=None, told=Said(0, 0, 1, 0, 0))
    assert (await checked(*without, lint_each=1)).linted == 0
