"""The firm ends a certificate for good at another CA: told at once, later when it is away, or by a person (EST)."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from chopmark.app.settings import Settings
from chopmark.audit.events import Event
from chopmark.cli import certificates
from chopmark.core.refusal import Kind, Refused
from chopmark.core.types import CertificateState, Operation, OrderState
from chopmark.ra.ports import SubscriberCertificate
from chopmark.store import db
from tests.architecture.rules import REPOSITORY
from tests.contract.issuers.cmp_peer import Cmp
from tests.contract.issuers.peers import CONSTANTS, Applicant, ExternalPeer
from tests.contract.world import ANN, World, import_customers

PEOPLE = ("alice", "bob")


async def customers_of(peer: ExternalPeer, folder: Path) -> tuple[World, Settings]:
    """An installation that this CA certifies for, with the tests' customers."""
    brand, sample = folder.parent / "brand.toml", (REPOSITORY / "deploy" / "brand.toml").read_text(encoding="utf-8")
    brand.write_text(sample.replace('en = "Sample Futures"', f'en = "{CONSTANTS["firm"]}"'), encoding="utf-8")
    given: dict[str, Any] = {
        "brand": brand,
        "mode": "demo", "data": folder, "external_ca": peer.connected,
    }  # fmt: skip
    settings = Settings(**given)
    await db.upgrade(settings.database_url)
    world = await World.opened(settings, peer.world.clock, peer.world.dice)
    await import_customers(world.services)
    return world, settings


async def certified(world: World, peer: ExternalPeer, operation: Operation = Operation.ENROL) -> SubscriberCertificate:
    """Ann's certificate of this CA, which works."""
    errand = await world.to_review(ANN, operation)
    if isinstance(peer, Cmp):  # the server of the tests is told beforehand what it will be asked for
        spki = errand.key.private_key.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
        peer.applicants.append((Applicant(errand.key, replace(peer.applicant().issuance, spki_der=spki)), ANN))
    await errand.confirm()
    await errand.prove()
    return world.held[ANN].certificate


async def test_the_firm_s_reason_reaches_the_ca_or_a_person_and_stands_in_the_record(
    foreign: ExternalPeer, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    world, settings = await customers_of(foreign, tmp_path / "house")
    held = await certified(world, foreign)
    foreign.world = world  # where `revoked` looks for what a person is told
    await world.services.close()
    assert await certificates.revoke_certificate(settings, held.serial, "death", "115-0042", *PEOPLE) == 0
    said = capsys.readouterr().out
    assert f"{held.serial} of {ANN} is revoked for good" in said
    assert foreign.revoked(held.der)
    by_hand = foreign.kind == "est"
    assert ("`chopmark certificates revoked" in said) == by_hand
    await certificates.list_by_hand(settings)
    assert ("cessation_of_operation  WAITS" in capsys.readouterr().out) == by_hand


async def test_a_ca_that_is_away_is_told_later_and_the_certificate_has_ended_here_at_once(
    foreign: ExternalPeer, tmp_path: Path
) -> None:
    world, settings = await customers_of(foreign, tmp_path / "house")
    foreign.world = world
    held = await certified(world, foreign)
    world.clock.later(days=350)
    renewal = await world.to_review(ANN, Operation.REKEY)
    foreign.away()
    if foreign.kind != "est":
        with pytest.raises(Refused) as later:
            await certificates.revoke_certificate(settings, held.serial, "court", "115-訴-1", *PEOPLE)
        assert (later.value.refusal.kind, later.value.refusal.code) == (Kind.UNAVAILABLE, "ca_unreachable")
    else:
        await certificates.revoke_certificate(settings, held.serial, "court", "115-訴-1", *PEOPLE)
    assert (await world.stored_certificate(held.serial)).state is CertificateState.REVOKED
    assert (await renewal.order()).state is OrderState.CANCELLED
    assert len(await world.records(Event.STAFF_CERTIFICATE_REVOKED)) == 1
    foreign.back()
    world.clock.later(seconds=600)
    await world.work()
    assert foreign.revoked(held.der)
    while await world.once("sequence"):
        pass
    assert (await world.audit()).findings == ()
    await world.services.close()
