"""A reported key is blocked for ever, whoever has it, and everything that was made with it ends (F40, I7)."""

import asyncio
import hashlib
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat

from chopmark.audit.events import Event
from chopmark.cli import certificates, keys
from chopmark.client.signing import ClientKey
from chopmark.core.refusal import Kind, Refused
from chopmark.core.types import CertificateState, Operation, OrderState
from chopmark.ra.blocking import KeyBlocks
from chopmark.store.repositories.staff.changes import StaffRepository
from tests.contract.strangers import Openssl
from tests.contract.test_journey_revocation import DeadCa
from tests.contract.world import ANN, BEN, World, outcome, refusal, world_fixture

world = world_fixture()
PEOPLE = ("alice", "bob")
REASON = "key_compromise"


def digest(key: ClientKey) -> str:
    return key.spki_sha256.hex()


async def test_f40_a_reported_key_is_blocked_and_every_certificate_with_it_is_revoked(
    world: World, tmp_path: Path
) -> None:
    await world.to_active()
    held = world.held[ANN]
    done = await world.services.ra.key_blocks.block(digest(held.key), REASON, *PEOPLE)
    assert [certificate.serial for certificate in done.revoked] == [held.certificate.serial]
    assert (await world.stored_certificate(held.certificate.serial)).state is CertificateState.REVOKED
    assert await world.ca_state(held.certificate.serial) == ("revoked", REASON)
    assert "Reason: keyCompromise" in await Openssl(world, tmp_path).ocsp(held.certificate.der)
    for customer in (ANN, BEN):
        errand = await world.open(customer)
        assert (await refusal(errand.bind(held.key))).code == "key_used"
    assert not (await world.services.ra.key_blocks.block(digest(held.key), REASON, *PEOPLE)).changed
    assert len(await world.records(Event.STAFF_KEY_BLOCKED)) == 1
    assert any('"revoked"' in row["facts"] for row in await world.notices())
    assert (await world.audit()).findings == ()


async def test_a_key_that_nobody_has_shown_here_is_refused_when_somebody_does(world: World) -> None:
    key = ClientKey.generate()
    done = await world.services.ra.key_blocks.block(digest(key), REASON, *PEOPLE)
    assert (done.changed, done.revoked) == (True, ())
    errand = await world.open()
    refused = await refusal(errand.bind(key))
    assert (refused.kind, refused.code) == (Kind.BAD_KEY, "key_used")


@pytest.mark.parametrize("stage", ["to_key", "to_review", "to_issued"])
async def test_an_order_with_a_blocked_key_goes_no_further(world: World, stage: str) -> None:
    errand = await getattr(world, stage)()
    await world.services.ra.key_blocks.block(digest(errand.key), REASON, *PEOPLE)
    assert await errand.state() is OrderState.REFUSED
    assert await world.count("holdings", "state IN ('issued', 'active')") == 0
    assert await world.count("certificates", "state = 'issued'") == 0
    assert (await world.to_active()).id != errand.id


async def test_a_key_that_is_blocked_while_the_ca_signs_ends_in_no_good_certificate(world: World) -> None:
    errand = await world.to_review()
    terms = await errand.terms()
    second = await world.node(2)
    await asyncio.gather(
        outcome(world.services.ra.rekey.confirm(errand.caller, errand.id, terms)),
        outcome(second.services.ra.key_blocks.block(digest(errand.key), REASON, *PEOPLE)),
    )
    await world.work()
    assert await errand.state() is OrderState.REFUSED
    assert await world.count("certificates", "state = 'issued'") == 0
    assert await world.count("holdings", "state IN ('issued', 'active')") == 0


async def test_a_key_that_was_blocked_after_the_order_was_submitted_ends_in_no_good_certificate(world: World) -> None:
    errand = await world.to_review()
    await errand.submit()
    await world.services.ra.key_blocks.block(digest(errand.key), REASON, *PEOPLE)
    await world.services.ra.rekey.resume(errand.id)
    await world.work()
    assert ((await errand.order()).state, (await errand.order()).ended) == (OrderState.REFUSED, "key_blocked")
    assert await world.count("certificates", "state = 'issued'") == 0


async def test_a_renewal_signed_by_a_key_that_is_blocked_ends(world: World) -> None:
    await world.to_active()
    world.clock.later(days=340)
    errand = await world.to_key(ANN, Operation.REKEY)
    await world.services.ra.key_blocks.block(digest(world.held[ANN].key), REASON, *PEOPLE)
    assert await errand.state() is OrderState.CANCELLED


async def test_with_its_ca_down_the_renewal_signed_by_a_key_that_is_blocked_ends_all_the_same(world: World) -> None:
    await world.to_active()
    world.clock.later(days=340)
    errand = await world.to_key(ANN, Operation.REKEY)
    context, staff = world.services.ra.context, StaffRepository(world.services.foundation.engine)
    blocks = KeyBlocks(context, staff, DeadCa(), world.services.ra.revocation)
    refused = await refusal(blocks.block(digest(world.held[ANN].key), REASON, *PEOPLE))
    assert refused.kind is Kind.UNAVAILABLE
    assert await errand.state() is OrderState.CANCELLED


async def test_i32_a_block_needs_two_people(world: World) -> None:
    refused = await refusal(world.services.ra.key_blocks.block("00" * 32, REASON, "alice", "Alice"))
    assert refused.field == "approved_by"
    assert await world.count("blocked_keys") == 0


def reports() -> dict[str, tuple[bytes, bytes]]:
    """The same kind of thing in every form that somebody may hand in, with the key that it has."""
    key = ec.generate_private_key(ec.SECP256R1())
    spki = key.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    request = x509.load_der_x509_csr(ClientKey(key).request())
    made: dict[str, tuple[bytes, bytes]] = {}
    for form, encoding in (("PEM", Encoding.PEM), ("DER", Encoding.DER)):
        public = key.public_key().public_bytes(encoding, PublicFormat.SubjectPublicKeyInfo)
        private = key.private_bytes(encoding, PrivateFormat.PKCS8, NoEncryption())
        found = {"public": public, "private": private, "request": request.public_bytes(encoding)}
        made |= {f"{what} {form}": (content, spki) for what, content in found.items()}
    return made


async def test_the_command_takes_a_file_or_a_digest_and_says_what_was_revoked(
    world: World, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    await world.to_active()
    held, settings = world.held[ANN], world.services.foundation.settings
    file = tmp_path / "reported.der"
    file.write_bytes(held.certificate.der)
    assert await keys.block_key(settings, str(file), "keyCompromise", *PEOPLE) == 0
    said = capsys.readouterr().out
    assert digest(held.key) in said
    assert f"revoked {held.certificate.serial} of {ANN}" in said
    assert await keys.block_key(settings, digest(held.key).upper(), "keyCompromise", *PEOPLE) == 0
    assert "nothing was changed" in capsys.readouterr().out
    for what, (content, spki) in reports().items():
        file.write_bytes(content)
        assert keys.digest_of(file) == hashlib.sha256(spki).hexdigest(), what
    other = ed25519.Ed25519PrivateKey.generate().public_key()
    file.write_bytes(other.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo))
    for name, kind in ((str(file), Kind.MALFORMED), (str(tmp_path / "none"), Kind.NOT_FOUND)):
        with pytest.raises(Refused) as refused:
            await keys.block_key(settings, name, "keyCompromise", *PEOPLE)
        assert refused.value.refusal.kind is kind


async def test_the_commands_hold_and_release_by_a_serial_as_people_write_it(
    world: World, capsys: pytest.CaptureFixture[str]
) -> None:
    await world.to_active()
    serial, settings = world.held[ANN].certificate.serial, world.services.foundation.settings
    written = ":".join(serial[at : at + 2].lower() for at in range(0, len(serial), 2))
    assert await certificates.suspend(settings, written, *PEOPLE, held=True) == 0
    assert (await world.ca_state(serial))[0] == "held"
    assert await certificates.suspend(settings, serial, *PEOPLE, held=False) == 0
    assert (await world.ca_state(serial))[0] == "issued"
    assert capsys.readouterr().out.count("the customer will be told") == 2
    for wrong in ("", "xyz", "0" * 41):
        with pytest.raises(Refused):
            certificates.serial_of(wrong)
