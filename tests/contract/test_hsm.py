"""A house whose CA key is in an HSM: what happens to orders and to certificate status while the token is away."""

from collections.abc import AsyncIterator, Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from random import Random

import pytest

from chopmark.app.founding import found_ca
from chopmark.app.secrets import NotReady
from chopmark.app.services import build
from chopmark.app.settings import Settings
from chopmark.ca.ports import Certified, IssuanceRequest, Pending
from chopmark.cli.service_certificates import service_revocation_of, services_of
from chopmark.client.signing import ClientKey
from chopmark.core.types import CertificateState, OrderId, OrderState
from chopmark.keys.keyring import PREFIX
from chopmark.keys.pkcs11 import Pkcs11Signer
from chopmark.keys.ports import OnDevice, Signer, SignerUnavailable
from chopmark.pki import csr, ocsp
from chopmark.store import db
from chopmark.va.service_revocation import ServiceKind
from tests.approved import on_record
from tests.contract.world import ANN, Clock, Dice, World, import_customers
from tests.installation import found_installation
from tests.softhsm import MODULE, Device, softhsm
from tests.vectors.pki.house import openssl, pem


@pytest.fixture(scope="module")
def devices() -> Iterator[Callable[[], Device]]:
    with softhsm() as maker:
        yield maker


@pytest.fixture
def device(devices) -> Device:
    return devices()


def settings(folder: Path, device: Device, **other) -> Settings:
    pin = device.pin.reveal()
    where = {"hsm": {"module": str(MODULE), "token": device.label, "pin": pin} | other.pop("hsm", {})}
    return Settings(**{"mode": "demo", "data": folder, "signer": "pkcs11", **where, **other})


@pytest.fixture
async def world(device, tmp_path) -> AsyncIterator[World]:
    clock, dice, chosen = Clock(), Dice(Random(3)), settings(tmp_path, device)
    await found_installation(chosen, clock, dice)
    made = await World.opened(chosen, clock, dice)
    await import_customers(made.services)
    yield made
    await made.close()


async def to_review(world: World):
    errand = await world.to_key(ANN)
    await errand.send()
    await errand.answer(await errand.code())
    await errand.birth_date()
    return errand


async def ocsp_status(world: World, serial: str, folder: Path) -> tuple[ocsp.ErrorStatus | None, bytes]:
    """Ask the house's responder, and openssl what the answer says."""
    view, root = world.services.ca.authority.view, world.services.ca.authority.chain[-1]
    (folder / "issuing.pem").write_bytes(pem(view.certificate_der))
    (folder / "all.pem").write_bytes(pem(view.certificate_der, root))
    asked = ("-issuer", folder / "issuing.pem", "-serial", f"0x{serial}")
    openssl("ocsp", *asked, "-no_nonce", "-reqout", folder / "ask.der")
    answer = await world.services.ca.responder.answer((folder / "ask.der").read_bytes())
    if answer.der == ocsp.error_response(ocsp.ErrorStatus.TRY_LATER):
        return ocsp.ErrorStatus.TRY_LATER, b""
    (folder / "answer.der").write_bytes(answer.der)
    at = ("-attime", int(world.clock.now().timestamp()), "-validity_period", 2_000_000_000)  # the test's clock
    told = openssl("ocsp", *asked, "-respin", folder / "answer.der", "-CAfile", folder / "all.pem", *at)
    assert b"Response verify OK" in told.stderr
    return None, told.stdout


async def test_a_ca_in_an_hsm_issues_what_openssl_verifies_and_keeps_no_key_in_the_database(world, tmp_path):
    errand = await to_review(world)
    await errand.confirm()
    await errand.prove()
    certificate = await world.certificate(errand)
    root, issuing, record = tmp_path / "root.pem", tmp_path / "i.pem", tmp_path / "leaf.pem"
    record.write_bytes(pem(certificate.der))
    issuing.write_bytes(pem(certificate.chain[0]))
    root.write_bytes(pem(certificate.chain[1]))
    at = int(world.clock.now().timestamp())
    told = openssl("verify", "-x509_strict", "-attime", at, "-CAfile", root, "-untrusted", issuing, record)
    assert told.returncode == 0, told.stderr
    (row,) = await world.rows("SELECT key_pem, responder_key_pem FROM issuers")
    assert bytes(row["key_pem"]) == PREFIX + b"chopmark-investor"
    assert bytes(row["responder_key_pem"]) == PREFIX + b"chopmark-investor-ocsp"
    assert isinstance(world.services.ca.authority.signer, Pkcs11Signer)
    assert b": good" in (await ocsp_status(world, certificate.serial, tmp_path))[1]


async def test_the_successor_of_a_revoked_responder_has_a_key_of_its_own_in_the_hsm(world, tmp_path):
    errand = await to_review(world)
    await errand.confirm()
    certificate = await world.certificate(errand)
    for number, label in enumerate(("chopmark-investor-ocsp-2", "chopmark-investor-ocsp-3"), 1):
        (old,) = [one for one in await services_of(world.services) if one.kind is ServiceKind.RESPONDER]
        assert await service_revocation_of(world.services).withdraw(old, "key_compromise", "alice", "bob") is not None
        (row,) = await world.rows("SELECT responder_key_pem FROM issuers")
        assert bytes(row["responder_key_pem"]) == PREFIX + label.encode()
        world.clock.later(minutes=1)
        assert b": good" in (await ocsp_status(world, certificate.serial, tmp_path))[1]
        assert await world.count("service_revocations") == number


async def test_an_order_waits_while_the_token_is_away_and_is_finished_once_it_is_back(world, device):
    errand = await to_review(world)
    device.take_out()
    assert (await errand.confirm()).state is OrderState.PENDING
    for _ in range(5):
        world.clock.later(seconds=61)
        assert await world.once("resume") == 0  # it still waits, so the worker rests instead of asking at once
    assert await world.count("certificates") == 0  # no serial was spent on waiting
    assert await errand.state() is OrderState.PENDING
    device.put_back()
    world.clock.later(seconds=61)
    assert await world.once("resume") == 1
    assert await errand.state() is OrderState.ISSUED
    assert await world.once("resume") == 0
    assert (await errand.prove()).state is OrderState.ACTIVE
    assert await world.count("certificates") == 1
    assert (await world.audit()).sound


async def test_revoking_works_while_the_token_is_away_and_status_is_never_wrong(world, device, tmp_path):
    errand = await to_review(world)
    await errand.confirm()
    await errand.prove()
    serial = (await world.certificate(errand)).serial
    await world.work()
    device.take_out()
    await world.services.ca.issuer.revoke(serial, "superseded")
    assert (await world.ca_state(serial))[0] == CertificateState.REVOKED
    assert (await ocsp_status(world, serial, tmp_path))[0] is ocsp.ErrorStatus.TRY_LATER
    with pytest.raises(SignerUnavailable):
        await world.once("publish")
    device.put_back()
    world.clock.later(seconds=61)
    assert b": revoked" in (await ocsp_status(world, serial, tmp_path))[1]
    assert await world.once("publish") == 1


class Breaking(OnDevice):
    """A signer whose device breaks while it signs, as often as is said."""

    def __init__(self, signer: Signer, failures: int) -> None:
        self.signer, self.failures = signer, failures
        self.asked: list[bytes] = []
        self.public_key_der, self.algorithm = signer.public_key_der, signer.algorithm

    def ready(self) -> None:
        pass

    def sign(self, data: bytes) -> bytes:
        self.asked.append(data)
        if len(self.asked) <= self.failures:
            raise SignerUnavailable("the device broke", retry_after_s=7)
        return self.signer.sign(data)


async def test_bytes_whose_signature_did_not_come_back_are_never_signed_again(world, tmp_path):
    breaking = Breaking(world.services.ca.authority.signer, failures=1)
    issuer = world.issuer(breaking)
    request = csr.parse(ClientKey.generate().request())
    assert isinstance(request, csr.Request)
    subject = dict.fromkeys(issuer.needs["investor"], "C1")
    issuance = await on_record(world.services, IssuanceRequest(OrderId("ORDER"), "investor", request.spki_der, subject))
    assert await issuer.issue(issuance) == Pending(retry_after_s=7)
    (first,) = await world.rows("SELECT serial, state FROM certificates")
    assert first["state"] == CertificateState.ORPHANED
    issued = await issuer.resume(issuance)
    assert isinstance(issued, Certified)
    assert issued.serial != first["serial"]
    assert len(set(breaking.asked)) == 2
    assert b": revoked" in (await ocsp_status(world, first["serial"], tmp_path))[1]


async def test_a_counter_starts_while_its_token_is_away(world, device):
    world.services.foundation.keyring.close()
    device.take_out()
    services = await build(world.services.foundation.settings, world.clock, world.dice)
    device.put_back()
    await services.close()


async def test_a_counter_whose_key_is_in_an_hsm_does_not_start_without_its_settings(world, tmp_path):
    bare = Settings(mode="demo", data=tmp_path)
    with pytest.raises(NotReady, match=r"hsm\.module"):
        await build(bare, world.clock, world.dice)


async def test_a_ceremony_that_was_interrupted_takes_the_keys_it_had_made(device, tmp_path):
    chosen, clock = settings(tmp_path, device), Clock(datetime(2026, 1, 5, tzinfo=UTC))
    await db.upgrade(chosen.database_url)
    blocked = tmp_path / "ca"
    blocked.write_text("a file where the directory has to be")
    with pytest.raises(FileExistsError):
        await found_ca(chosen, clock, Dice(Random(4)))
    blocked.unlink()
    assert await found_ca(chosen, clock, Dice(Random(5)))


@pytest.mark.parametrize("missing", ["module", "token", "pin"])
def test_an_hsm_needs_all_three_settings(device, tmp_path, missing):
    with pytest.raises(ValueError, match="all three"):
        settings(tmp_path, device, hsm={missing: ""})
