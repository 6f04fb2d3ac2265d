"""Which CA issues, and which list is published: the row says otherwise in one thing, with another CA beside."""

from datetime import timedelta

import pytest

from chopmark.ca.ports import IssuerRow, Reservation
from chopmark.core.types import IssuerId, OrderId, Serial
from chopmark.store.repositories.ca.certificates import CertificateRepository, StatusRepository
from chopmark.va.ports import Crl, LastCrl
from tests.contract.alone import Alone

ONE, TWO = IssuerId("one"), IssuerId("two")


def issuer(name: IssuerId) -> IssuerRow:
    return IssuerRow(name, name, b"certificate", (), b"key", b"responder", b"responder key")


async def issuers(alone: Alone, **states: str) -> CertificateRepository:
    """These CAs, the oldest first."""
    for age, (name, state) in enumerate(states.items()):
        blank = dict.fromkeys(("certificate", "chain", "key_pem", "responder_certificate", "responder_key_pem"), b"")
        await alone.add("issuers", id=name, name=name, state=state, created_at=age, **blank)
    return CertificateRepository(alone.engine)


@pytest.mark.parametrize(
    ("one", "two", "reserved"),
    [("active", "status", True), ("status", "active", False), ("active", "active", True), ("status", "status", False)],
)
async def test_a_serial_is_reserved_at_a_ca_that_issues(alone: Alone, one: str, two: str, reserved: bool) -> None:
    store, ends = await issuers(alone, two=two, one=one), alone.now + timedelta(days=9)
    wanted = Reservation(Serial("0A"), ONE, OrderId("O"), 1, "investor", 1, "55", b"tbs", 0, alone.now, ends, alone.now)
    assert await store.reserve(wanted, alone.record()) is reserved
    assert await alone.values("certificates", "serial", "state") == ({"0A": "reserved"} if reserved else {})
    assert await store.reserve(wanted, alone.record()) is False  # once, in any case


async def test_the_newest_ca_issues_and_those_before_it_are_told_the_oldest_first(alone: Alone) -> None:
    store = await issuers(alone, zero="retired", two="active", one="status")
    assert [row.id for row in await store.issuers()] == ["zero", "two", "one"]
    assert await store.add_issuer(issuer(ONE), alone.now, alone.record()) is False  # it is there: nothing is changed
    assert await alone.values("issuers", "id", "state") == {"zero": "retired", "two": "active", "one": "status"}
    assert await store.add_issuer(issuer(IssuerId("new")), alone.now, alone.record()) is True
    found = [(row.id, row.issues) for row in await store.issuers()]
    assert found == [("zero", False), ("two", False), ("one", False), ("new", True)]
    states = await alone.values("issuers", "id", "state")
    assert states == {"zero": "retired", "two": "status", "one": "status", "new": "active"}


@pytest.mark.parametrize(("number", "published"), [(6, False), (7, False), (8, True)])
async def test_a_list_is_followed_by_one_of_a_higher_number_in_its_own_place(
    alone: Alone, number: int, published: bool
) -> None:
    store = StatusRepository(alone.engine)

    def crl(number: int, der: bytes) -> Crl:
        return Crl(number, der, alone.now, alone.now + timedelta(days=1), str(number), 3)

    for name, shard in ((TWO, 0), (ONE, 1), (ONE, 0)):
        assert await store.publish(name, shard, crl(7, b"first"), alone.record()) is True
    assert await store.publish(ONE, 0, crl(number, b"second"), alone.record()) is published
    places = ((ONE, 0), (ONE, 1), (TWO, 0), (TWO, 1))
    there = crl(8, b"second") if published else crl(7, b"first")
    left = {place: await store.crl(*place) for place in places}
    assert left == dict(zip(places, (there, crl(7, b"first"), crl(7, b"first"), None), strict=True))
    seen = {place: (await store.shard(*place)).last for place in places}
    assert seen == {place: crl and LastCrl(crl.number, alone.now, 3) for place, crl in left.items()}


async def test_a_list_has_what_was_valid_or_was_ended_lately_and_a_serial_is_its_own(alone: Alone) -> None:
    named = {"issuer": ONE, "attempt": 1, "profile": "investor", "profile_version": 1, "spki_sha256": "55", "shard": 0}
    kept = alone.now - timedelta(days=1)
    for serial, expires, ended in (("0A", 2, 2), ("0B", 2, 0), ("0C", -2, 2), ("0D", 1, 1), ("0E", -2, None)):
        ends = None if ended is None else alone.ago(days=ended)
        moments = {"not_before": 0, "not_after": alone.ago(days=expires), "reserved_at": 0, "ended_at": ends}
        said = {"state": "revoked", "reason": "superseded", "tbs": b"", "order_id": serial}
        await alone.add("certificates", serial=serial, **named, **moments, **said)
    assert [one.serial for one in await StatusRepository(alone.engine).ended(ONE, 0, kept)] == ["0B", "0C"]
    store = CertificateRepository(alone.engine)
    assert await store.by_serial(Serial("FF")) is None
    found = await store.by_serial(Serial("0C"))
    assert found is not None
    assert found.reservation.serial == "0C"
