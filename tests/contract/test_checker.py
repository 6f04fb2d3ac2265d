"""The stored-certificate checker finds each edit of a row, and nothing in rows that nobody edited."""

import asyncio
import subprocess
from collections.abc import Awaitable, Callable
from dataclasses import replace
from datetime import time, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from chopmark import ca
from chopmark.ca.approval import Approvals
from chopmark.ca.checker import Checked, Checker
from chopmark.ca.embedded import EmbeddedIssuer, IssuerConfig
from chopmark.ca.ports import Certified, IssuanceRequest
from chopmark.ca.shipped import shipped_profiles
from chopmark.cli import check
from chopmark.client.signing import ClientKey
from chopmark.core.types import Operation, OrderId, Reason, Serial
from chopmark.keys.adapter import as_private_key
from chopmark.pki.profile import Hours, Lifetime
from chopmark.store.engine.script import Value
from chopmark.store.repositories.ca.certificates import CertificateRepository
from chopmark.store.repositories.ca.checking import CertificateRows
from tests.approved import on_record
from tests.contract.world import ANN, BEN, CEO, World, world_fixture
from tests.machine import program

world = world_fixture()


async def checked(world: World, lint_each: int = 1) -> Checked:
    checker = Checker(world.services.ca.issuer.standard(), CertificateRows(world.services.foundation.engine), lint_each)
    return await checker.check(world.clock.now())


async def history(world: World) -> Serial:
    """A renewed, a revoked, an orphaned and a fresh certificate; return the fresh one's serial."""
    await world.to_active(ANN)
    await world.to_active(BEN)
    await world.revoked(BEN, Reason.COMPROMISED)
    world.clock.later(days=340)
    await world.to_active(ANN, Operation.REKEY)
    await world.to_active(CEO)
    await world.work()
    return world.held[ANN].certificate.serial


async def test_what_the_house_itself_stored_has_no_fault(world: World) -> None:
    await history(world)
    found = await checked(world)
    assert found.faults == ()
    assert (found.certificates, found.linted) == (4, 4)


async def test_pkilint_may_judge_a_sample(world: World) -> None:
    await history(world)
    assert (await checked(world, 3)).linted == 2
    assert (await checked(world, 0)).linted == 0


async def _edit(world: World, serial: str, column: str, value: Value) -> None:
    await world.change(f"UPDATE certificates SET {column} = :value WHERE serial = :serial", value=value, serial=serial)


async def _der(world: World, serial: Serial, change: Callable[[bytes], bytes]) -> None:
    (row,) = await world.rows("SELECT der FROM certificates WHERE serial = :serial", serial=serial)
    await _edit(world, serial, "der", change(bytes(row["der"])))


def _last_bit(der: bytes) -> bytes:
    return der[:-1] + bytes((der[-1] ^ 1,))


async def _damaged_signature(world: World, serial: Serial) -> None:
    await _der(world, serial, _last_bit)


async def _tbs(world: World, serial: Serial) -> None:
    (row,) = await world.rows("SELECT tbs FROM certificates WHERE serial = :serial", serial=serial)
    await _edit(world, serial, "tbs", bytes(row["tbs"]).replace(b"Investors", b"Directors"))


async def _ca_certificate(world: World, serial: Serial) -> None:
    """A CA certificate for the same key, signed by the real key, in all places that hold bytes."""
    (row,) = await world.rows("SELECT der FROM certificates WHERE serial = :serial", serial=serial)
    real = x509.load_der_x509_certificate(bytes(row["der"]))
    builder = (
        x509.CertificateBuilder(real.issuer, real.subject, real.public_key(), real.serial_number)
        .not_valid_before(real.not_valid_before_utc)
        .not_valid_after(real.not_valid_after_utc)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
    )
    made = builder.sign(as_private_key(world.services.ca.authority.signer), hashes.SHA256())
    der = made.public_bytes(serialization.Encoding.DER)
    await _edit(world, serial, "der", der)
    await _edit(world, serial, "tbs", made.tbs_certificate_bytes)
    await world.change("UPDATE holdings SET der = :der WHERE serial = :serial", der=der, serial=serial)


async def _serial(world: World, serial: Serial) -> None:
    await _edit(world, serial, "serial", serial[:-1] + ("0" if serial[-1] != "0" else "1"))


async def _state(world: World, serial: Serial) -> None:
    """The old certificate is made valid again, in every column that says otherwise."""
    await world.change(
        "UPDATE certificates SET state = 'issued', ended_at = NULL, reason = NULL WHERE state = 'revoked'"
    )


async def _revoked_only_here(world: World, serial: Serial) -> None:
    await world.change(
        "UPDATE certificates SET state = 'revoked', ended_at = 0, reason = 'unspecified' WHERE serial = :s", s=serial
    )


async def _shifted(world: World, serial: Serial) -> None:
    await _edit(world, serial, "not_after", 4_102_444_800_000)


async def _others_key(world: World, serial: Serial) -> None:
    await world.change(
        "UPDATE keys SET customer = :ben WHERE spki_sha256 = (SELECT spki_sha256 FROM holdings WHERE serial = :serial)",
        ben=BEN,
        serial=serial,
    )


async def _another_spki(world: World, serial: Serial) -> None:
    await _edit(world, serial, "spki_sha256", "00" * 32)


async def _no_certificate(world: World, serial: Serial) -> None:
    await world.change("DELETE FROM holdings WHERE serial = :serial", serial=serial)


async def _no_row(world: World, serial: Serial) -> None:
    await world.change("DELETE FROM certificates WHERE serial = :serial", serial=serial)


async def _in_limbo(world: World, serial: Serial) -> None:
    await world.change("UPDATE certificates SET state = 'reserved', der = NULL WHERE serial = :serial", serial=serial)


async def _another_profile(world: World, serial: Serial) -> None:
    await _edit(world, serial, "profile_version", 99)


async def _another_shard(world: World, serial: Serial) -> None:
    await _edit(world, serial, "shard", 7)


_OF_ORDER = "chain = (SELECT order_id FROM certificates WHERE serial = :serial)"


async def _no_records(world: World, serial: Serial) -> None:
    await world.change(f"DELETE FROM leaves WHERE {_OF_ORDER}", serial=serial)


async def _no_code(world: World, serial: Serial) -> None:
    """The record of the right code is gone."""
    await world.change(f"DELETE FROM leaves WHERE event = 'ra:code:right' AND {_OF_ORDER}", serial=serial)


async def _sealed_by_nobody(world: World, serial: Serial) -> None:
    sql = f"UPDATE leaves SET mac = :mac WHERE event = 'ra:order:submitted' AND {_OF_ORDER}"
    await world.change(sql, mac=bytes(32), serial=serial)


async def _another_customer(world: World, serial: Serial) -> None:
    """In every row it is Ben's; in the certificate and the records it is not."""
    for table, where in (
        ("orders", "serial = :serial"),
        ("holdings", "serial = :serial"),
        ("keys", "spki_sha256 = (SELECT spki_sha256 FROM certificates WHERE serial = :serial)"),
    ):
        await world.change(f"UPDATE {table} SET customer = :ben WHERE {where}", ben=BEN, serial=serial)


async def _another_account(world: World, serial: Serial) -> None:
    await world.change("UPDATE orders SET account = 'F014000-0000002' WHERE serial = :serial", serial=serial)


EDITS: dict[Callable[[World, Serial], Awaitable[None]], set[str]] = {
    _damaged_signature: {"signature", "holding_differs"},
    _tbs: {"tbs_differs"},
    _ca_certificate: {"differs_extensions"},
    _serial: {"serial", "holding_without_certificate", "audit_differs"},
    _state: {"ended_and_not_revoked", "audit_differs"},
    _revoked_only_here: {"revoked_and_held", "audit_differs"},
    _shifted: {"not_after"},
    _others_key: {"key_of_another"},
    _another_spki: {"spki", "key_of_another", "order_of_another_key", "holding_differs"},
    _no_certificate: {"holding_missing"},
    _no_row: {"holding_without_certificate"},
    _in_limbo: {"limbo", "holding_of_nothing", "audit_differs"},
    _another_profile: {"profile_unknown"},
    _another_shard: {"shard"},
    _no_records: {"approval.no_records", "audit_differs"},
    _no_code: {"approval.record_out_of_chain"},
    _sealed_by_nobody: {"approval.record_seal"},
    _another_customer: {"approval.other_customer", "subject"},
    _another_account: {"approval.other_account"},
}


@pytest.mark.parametrize("edit", EDITS, ids=lambda edit: edit.__name__.strip("_"))
async def test_i33_an_edited_row_is_found(world: World, edit: Callable[[World, Serial], Awaitable[None]]) -> None:
    serial = await history(world)
    world.clock.later(minutes=2)
    await edit(world, serial)
    codes = {fault.code for fault in (await checked(world)).faults}
    assert EDITS[edit] <= codes


async def test_the_command_prints_each_fault_and_ends_with_1_when_there_is_one(
    world: World, capsys: pytest.CaptureFixture[str]
) -> None:
    await history(world)
    assert await check.check_certificates(world.services.foundation.settings, 0) == 0
    assert capsys.readouterr().out == "4 certificates read, 0 linted, 0 faults.\n"
    serial = world.held[ANN].certificate.serial
    await _shifted(world, serial)
    assert await check.check_certificates(world.services.foundation.settings, 0) == 1
    assert capsys.readouterr().out == f"{serial}  not_after\n4 certificates read, 0 linted, 1 fault.\n"


async def test_certificates_of_an_earlier_profile_or_version_are_held_to_it(world: World) -> None:
    await world.to_active(ANN)
    services = world.services
    (old,) = services.ca.issuer.config.profiles.values()
    new = replace(old, version=old.version + 1, validity=Lifetime(2, 0))
    built_in = services.ca.issuer
    for earlier, faults in (((old,), set()), ((), {"profile_unknown"})):
        issuer_config = IssuerConfig(
            {new.name: new}, built_in.config.constants, built_in.config.publication, 1, earlier
        )
        issuer = EmbeddedIssuer(
            services.ca.authority, issuer_config, world.books, world.clock, world.dice, services.ca.approvals
        )
        if earlier:
            await world.with_issuer(issuer).to_active(BEN)
        checker = Checker(issuer.standard(), CertificateRows(services.foundation.engine), 0)
        found = await checker.check(world.clock.now())
        assert {fault.code for fault in found.faults} == faults
        assert found.certificates == 2


class Anybody(Approvals):
    """What stood in front of the CA before it read records: nothing."""

    async def granted(self, issuance: IssuanceRequest) -> IssuanceRequest:
        return issuance


async def test_a_certificate_that_nobody_approved_is_found_however_well_it_is_made(world: World) -> None:
    """A row inserted as submitted, signed by a CA that went by rows, and then everything that goes with it."""
    ben, services, key = await world.to_active(BEN), world.services, ClientKey.generate()
    gate = Anybody(
        services.ca.approvals.terms,
        CertificateRepository(services.foundation.engine),
        services.ra.context.rate_limits,
        services.foundation.audit_log,
        world.clock,
    )
    services.ca.issuer.approvals = gate
    (row,) = await world.rows("SELECT * FROM orders WHERE id = :id", id=ben.id)
    row |= {"id": "A" * 26, "state": "submitted", "spki_sha256": key.spki_sha256.hex(), "csr": key.request()}
    row |= {"submitted_at": 0, "serial": None, "issued_at": None, "activated_at": None}
    await world.change("UPDATE orders SET state = 'done' WHERE id = :id", id=ben.id)
    await world.change(f"INSERT INTO orders ({', '.join(row)}) VALUES ({', '.join(f':{name}' for name in row)})", **row)
    sql = "INSERT INTO keys (spki_sha256, customer, first_seen_at) VALUES (:spki, :ben, 0)"
    await world.change(sql, spki=key.spki_sha256.hex(), ben=BEN)
    await world.once("resume")
    (made,) = await world.rows("SELECT serial FROM certificates WHERE order_id = :id", id="A" * 26)
    faults = {fault.code for fault in (await checked(world)).faults if fault.serial == made["serial"]}
    assert faults == {"approval.not_submitted"}


def test_every_shipped_profile_is_known_by_its_file() -> None:
    shipped = {(one.name, one.version) for one in shipped_profiles()}
    files = {path.stem for path in (Path(ca.__path__[0]) / "profiles").glob("*.toml")}
    current = {name for name in files if "@" not in name}
    assert {name for name, _ in shipped} == current
    assert {f"{name}@{version}" for name, version in shipped} >= files - current
    assert len(shipped) == len(files)


def numbers() -> rsa.RSAPrivateNumbers:
    return rsa.generate_private_key(65537, 2048).private_numbers()


async def test_f38_two_keys_that_share_a_prime_are_found_and_another_is_not(world: World) -> None:
    first, second, third = numbers(), numbers(), numbers()
    moduli = first.p * first.q, first.p * second.q, third.p * third.q
    serials = []
    for customer, modulus in enumerate(moduli, 1):
        key = rsa.RSAPublicNumbers(65537, modulus).public_key()
        spki = key.public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
        issuance = IssuanceRequest(OrderId(f"order-{customer}"), "investor", spki, {"customer": f"C{customer}"})
        made = await world.services.ca.issuer.issue(await on_record(world.services, issuance))
        assert isinstance(made, Certified)
        serials.append(made.serial)
    found = {fault.serial for fault in (await checked(world, 0)).faults if fault.code == "key.rsa_shared_prime"}
    assert found == set(serials[:2])


async def test_a_certificate_whose_profile_avoids_trading_hours_ends_after_them_and_openssl_says_so(
    world: World,
) -> None:
    built_in, services = world.services.ca.issuer, world.services
    (old,) = built_in.config.profiles.values()
    avoid = Hours(time(8), time(14, 30), timedelta(hours=8))
    profile = replace(old, version=2, validity=replace(old.validity, avoid=avoid))
    issuer_config = IssuerConfig({profile.name: profile}, built_in.config.constants, built_in.config.publication, 1)
    issuer = EmbeddedIssuer(
        services.ca.authority, issuer_config, world.books, world.clock, world.dice, services.ca.approvals
    )
    await world.with_issuer(issuer).to_active(ANN)  # at noon in Taipei
    done = await asyncio.to_thread(
        subprocess.run,
        [str(program("openssl")), "x509", "-inform", "DER", "-noout", "-enddate"],
        input=world.held[ANN].certificate.der,
        capture_output=True,
        check=True,
    )
    assert done.stdout == b"notAfter=Mar 31 06:30:00 2027 GMT\n"
    checker = Checker(issuer.standard(), CertificateRows(services.foundation.engine), 1)
    assert (await checker.check(world.clock.now())).faults == ()
