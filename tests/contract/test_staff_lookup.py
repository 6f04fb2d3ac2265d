"""What people at the firm look up, and certificates that they end for good: two people, a paper, the world is told."""

from pathlib import Path

import pytest

from chopmark.audit.events import Event
from chopmark.cli import certificates, customers
from chopmark.core.refusal import Kind, Refused
from chopmark.core.types import CertificateState, Operation, OrderState
from chopmark.ra.ending import FirmRevocation, Grounds
from chopmark.store.repositories.staff.views import StaffViews
from tests.contract.strangers import Openssl
from tests.contract.world import ANN, BEN, ROWS, World, world_fixture

world = world_fixture()
PEOPLE = ("alice", "bob")


def ending(world: World) -> FirmRevocation:
    services = world.services
    return FirmRevocation(
        services.ra.context, StaffViews(services.foundation.engine), services.ca.certifier, services.ra.revocation
    )


@pytest.mark.parametrize(
    ("grounds", "told"),
    [
        (Grounds.DEATH, "Cessation Of Operation"),
        (Grounds.CLOSED_ACCOUNT, "Cessation Of Operation"),
        (Grounds.COURT, "Privilege Withdrawn"),
    ],
)
async def test_the_firm_ends_a_certificate_for_good_and_strangers_see_why(
    world: World, tmp_path: Path, grounds: Grounds, told: str
) -> None:
    await world.to_active()
    held = world.held[ANN].certificate
    done = await ending(world).revoke(held.serial, grounds, "115-訴-123", *PEOPLE)
    assert done.state is CertificateState.REVOKED
    judge = Openssl(world, tmp_path)
    assert ": revoked" in await judge.ocsp(held.der)
    await world.work()
    assert "certificate revoked" in await judge.list(held.der)
    assert told in await judge.listed()
    (record,) = await world.records(Event.STAFF_CERTIFICATE_REVOKED)
    for part in (f'"reason":"{grounds}"', '"paper":"115-訴-123"', '"by":"alice"', '"approved_by":"bob"'):
        assert part in record["facts"]
    assert any('"revoked"' in row["facts"] for row in await world.notices())
    assert (await world.audit()).findings == ()
    with pytest.raises(Refused) as again:
        await ending(world).revoke(held.serial, grounds, "1", *PEOPLE)
    assert again.value.refusal.code == "over"


async def test_one_person_alone_ends_nothing_and_no_id_number_is_a_paper(world: World) -> None:
    await world.to_active()
    serial = world.held[ANN].certificate.serial
    for by, approved, paper, code in (
        ("alice", "alice", "1", None),
        *(("alice", "bob", paper, "paper") for paper in ("", "A123456789", "x" * 41, "a b", "a\nb")),
    ):
        with pytest.raises(Refused) as refused:
            await ending(world).revoke(serial, Grounds.COURT, paper, by, approved)
        assert code is None or refused.value.refusal.code == code
    assert (await world.stored_certificate(serial)).state is CertificateState.ACTIVE
    assert await world.records(Event.STAFF_CERTIFICATE_REVOKED) == []


async def test_an_unproved_certificate_ends_with_its_order(world: World) -> None:
    errand = await world.to_issued()
    certificate = await world.certificate(errand)
    await ending(world).revoke(certificate.serial, Grounds.DEATH, "1", *PEOPLE)
    assert (await errand.order()).state is OrderState.REFUSED
    assert (await world.audit()).findings == ()


async def test_a_customer_is_found_by_each_number_and_shown_masked(
    world: World, capsys: pytest.CaptureFixture[str]
) -> None:
    errand = await world.to_active()
    await world.open(BEN, Operation.ENROL)
    serial = world.held[ANN].certificate.serial
    row = ROWS[ANN]
    for who in (ANN, row["person_id"], serial, serial.lower(), errand.id):
        assert await customers.show_customer(world.services.foundation.settings, who) == 0
        said = capsys.readouterr().out
        assert said.startswith(f"customer {ANN}  ")
        for part in (f"certificate {serial}  active", f"order {errand.id}", "message code mobile", "account F014000-"):
            assert part in said, part
        assert said.count(f", verified {row['verified_on']}") == 2  # the day that stands in the sheet, Taiwan's
        for secret in (row["name"], row["person_id"], row["mobile"], row["email"], "1961"):
            assert secret not in said
    with pytest.raises(Refused) as nobody:
        await customers.show_customer(world.services.foundation.settings, "C99")
    assert nobody.value.refusal.kind is Kind.NOT_FOUND


async def test_certificates_are_found_by_serial_customer_order_account_and_key(
    world: World, capsys: pytest.CaptureFixture[str]
) -> None:
    errand = await world.to_active()
    certificate = world.held[ANN].certificate
    wanted = (
        certificate.serial,
        certificate.serial[:8].lower(),
        ANN,
        errand.id,
        certificate.account,
        certificate.spki_sha256,
    )
    for what in wanted:
        assert await certificates.find_certificates(world.services.foundation.settings, what) == 0
        assert f"{ANN}  certificate {certificate.serial}" in capsys.readouterr().out, what
    for what in ("%", "FFFFFFFFFF", BEN, "0"):
        assert await certificates.find_certificates(world.services.foundation.settings, what) == 1
