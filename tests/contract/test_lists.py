"""Revocation lists: numbers that only rise, shards that openssl keeps apart, entries that stay long enough."""

import subprocess
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from chopmark.ca.embedded import EmbeddedIssuer, IssuerConfig
from chopmark.core.types import Operation, Reason
from chopmark.pki.publication import Publication
from chopmark.va.ports import Crl
from chopmark.va.publisher import Publisher, next_number
from tests.contract.world import ANN, BEN, CEO, DAN, EVE, FAY, GUS, START, World, world_fixture
from tests.machine import program

world = world_fixture()


async def newest(world: World, shard: int = 0) -> Crl:
    crl = await world.services.va.status.crl(world.services.ca.authority.view.id, shard)
    assert crl is not None
    return crl


def serials(crl: Crl) -> set[str]:
    return {f"{entry.serial_number:X}" for entry in x509.load_der_x509_crl(crl.der)}


def plain(serial: str) -> str:
    return serial.lstrip("0")


async def test_i26_the_number_in_the_list_is_the_one_on_record(world: World) -> None:
    await world.once("publish")
    crl = await newest(world)
    read = x509.load_der_x509_crl(crl.der).extensions.get_extension_for_class(x509.CRLNumber)
    assert read.value.crl_number == crl.number


async def test_i26_i29_numbers_rise_also_after_yesterdays_backup_was_restored(world: World) -> None:
    await world.once("publish")
    backup = (await world.rows("SELECT * FROM crls WHERE issuer = 'investor'"))[0]
    published = [backup["number"]]
    for customer in (ANN, BEN, CEO):
        world.clock.later(hours=3)
        await world.to_active(customer)
        await world.revoked(customer)
        assert await world.once("publish") == 1
        published.append((await newest(world)).number)
    await world.change(
        "UPDATE crls SET number = :number, der = :der, this_update = :this, next_update = :next, seen_end = :seen "
        "WHERE issuer = 'investor'",
        number=backup["number"],
        der=backup["der"],
        this=backup["this_update"],
        next=backup["next_update"],
        seen=backup["seen_end"],
    )
    world.clock.later(seconds=1)
    assert await world.once("publish") == 1
    published.append((await newest(world)).number)
    assert published == sorted(set(published))


def test_i26_the_next_number_is_higher_than_the_last_one_also_when_the_clock_went_back() -> None:
    first = next_number(None, START)
    assert next_number(first, START) == first + 1
    assert next_number(first, START - timedelta(days=400)) == first + 1
    assert next_number(first, START + timedelta(seconds=1)) == first + 1000


async def test_i26_two_nodes_that_publish_at_once_leave_one_list_a_number(world: World) -> None:
    second = await world.node(2)
    await world.once("publish")
    await world.to_active()
    await world.revoked()
    before = (await newest(world)).number
    assert await world.once("publish") + await second.once("publish") == 1
    assert (await newest(world)).number > before


async def test_i26_a_revocation_is_in_the_list_with_the_next_look_of_the_worker(world: World) -> None:
    await world.to_active()
    await world.once("publish")
    held = world.held[ANN].certificate.serial
    assert plain(held) not in serials(await newest(world))
    await world.revoked()
    assert await world.once("publish") == 1
    assert plain(held) in serials(await newest(world))


async def test_pki_16_an_entry_goes_only_after_a_list_was_published_past_the_certificates_end(world: World) -> None:
    await world.to_active()
    held = world.held[ANN].certificate
    await world.revoked()
    await world.once("publish")
    world.clock.at = held.not_after + timedelta(days=30)  # nobody published for a year
    assert await world.once("publish") == 1
    assert plain(held.serial) in serials(await newest(world))
    world.clock.later(hours=6)
    assert await world.once("publish") == 1
    assert serials(await newest(world)) == set()


async def test_pki_16_an_entry_stays_a_week_past_its_certificates_end(world: World) -> None:
    await world.to_active()
    held = world.held[ANN].certificate
    await world.revoked()
    world.clock.at = held.not_after
    for _ in range(7 * 4):
        await world.once("publish")
        assert plain(held.serial) in serials(await newest(world))
        world.clock.later(hours=6)
    world.clock.later(hours=6)
    await world.once("publish")
    assert serials(await newest(world)) == set()


SHARDS = 4
EVERYBODY = (ANN, BEN, CEO, DAN, EVE, FAY, GUS)


def sharded(world: World) -> tuple[World, Publisher]:
    """The same house, with a profile whose certificates are spread over four lists."""
    services = world.services
    publication = Publication(services.foundation.settings.publication_url)
    built_in = services.ca.issuer
    profiles = {name: replace(profile, shards=SHARDS) for name, profile in built_in.config.profiles.items()}
    issuer_config = IssuerConfig(profiles, built_in.config.constants, publication, services.foundation.settings.node)
    issuer = EmbeddedIssuer(
        services.ca.authority, issuer_config, world.books, world.clock, world.dice, services.ca.approvals
    )
    view, signer = services.ca.authority.view, services.ca.authority.signer
    publisher = Publisher(
        view, signer, SHARDS, publication, services.va.status, services.foundation.audit_log, world.clock
    )
    return world.with_issuer(issuer), publisher


def pem(der: bytes) -> bytes:
    return x509.load_der_x509_certificate(der).public_bytes(Encoding.PEM)


async def shard_of(world: World, customer: str) -> int:
    serial = world.held[customer].certificate.serial
    (row,) = await world.rows("SELECT shard FROM certificates WHERE serial = :serial", serial=serial)
    return int(row["shard"])


async def test_openssl_takes_only_the_list_of_the_certificates_own_shard(world: World, tmp_path: Path) -> None:
    openssl = program("openssl")
    spread, publisher = sharded(world)
    for customer in EVERYBODY:
        await spread.to_active(customer)
    await spread.revoked(ANN, Reason.COMPROMISED)
    assert await publisher.publish_due() == SHARDS
    authority = world.services.ca.authority
    (tmp_path / "root.pem").write_bytes(pem(authority.chain[-1]))
    (tmp_path / "ca.pem").write_bytes(pem(authority.view.certificate_der))
    for shard in range(SHARDS):
        crl = x509.load_der_x509_crl((await newest(world, shard)).der)
        point = crl.extensions.get_extension_for_class(x509.IssuingDistributionPoint)
        assert point.critical
        (tmp_path / f"{shard}.pem").write_bytes(crl.public_bytes(Encoding.PEM))
    assert len({await shard_of(spread, customer) for customer in EVERYBODY}) > 1

    def judged(shard: int) -> str:
        command = [str(openssl), "verify", "-crl_check", "-CAfile", "root.pem", "-untrusted", "ca.pem"]
        command += ["-attime", str(int(world.clock.at.timestamp())), "-CRLfile", f"{shard}.pem", "leaf.pem"]
        made = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
        return made.stdout + made.stderr

    for customer in EVERYBODY:
        (tmp_path / "leaf.pem").write_bytes(pem(spread.held[customer].certificate.der))
        own = await shard_of(spread, customer)
        assert ("certificate revoked" if customer == ANN else "leaf.pem: OK") in judged(own)
        for other in set(range(SHARDS)) - {own}:
            assert "scope" in judged(other).lower()


async def test_a_certificate_names_the_list_of_its_shard(world: World) -> None:
    spread, _ = sharded(world)
    for customer in EVERYBODY:
        await spread.to_active(customer, Operation.ENROL)
        certificate = x509.load_der_x509_certificate(spread.held[customer].certificate.der)
        points = certificate.extensions.get_extension_for_class(x509.CRLDistributionPoints).value
        names = [name.value for point in points for name in point.full_name or []]
        shard = certificate.serial_number % SHARDS
        assert names == [world.services.ca.issuer.config.publication.crl("investor", shard)]


async def test_a_clock_that_went_back_publishes_at_once_and_the_number_rises(world: World) -> None:
    await world.once("publish")
    before = (await newest(world)).number
    world.clock.later(hours=-1)
    assert await world.once("publish") == 1
    assert (await newest(world)).number > before
