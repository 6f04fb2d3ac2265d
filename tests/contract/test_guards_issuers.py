"""Which CA issues, and which list is published: the row says otherwise in one thing, with another CA beside."""

from datetime import timedelta

import pytest

from chopmark.ca.ports import IssuerRow, Reservation
from chopmark.core.types import IssuerId, OrderId, Serial
from chopmark.store.repositories.ca.certificates import CertificateRepository, StatusRepository
from chopmark.va.ports import Crl, CrlShard
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
        return Crl(number, der, alone.now, alone.now + timedelta(days=1), 3)

    for name, shard in ((TWO, 0), (ONE, 1), (ONE, 0)):
        assert await store.publish(name, shard, crl(7, b"first"), alone.record()) is True
    assert await store.publish(ONE, 0, crl(number, b"second"), alone.record()) is published
    left = {(name, shard): await store.shard(name, shard) for name, shard in ((ONE, 0), (ONE, 1), (TWO, 0), (TWO, 1))}
    assert left == {
        (ONE, 0): CrlShard(crl(8, b"second") if published else crl(7, b"first"), 0),
        (ONE, 1): CrlShard(crl(7, b"first"), 0),
        (TWO, 0): CrlShard(crl(7, b"first"), 0),
        (TWO, 1): CrlShard(None, 0),
    }
