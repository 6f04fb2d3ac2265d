"""A second CA takes over while the first answers for what it issued; strangers judge both generations."""

import asyncio
import subprocess
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path
from random import Random
from typing import Any
from weakref import WeakKeyDictionary

import httpx2
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import AuthorityInformationAccessOID

from chopmark.app.founding import founding
from chopmark.app.services import Services, build
from chopmark.app.settings import Settings
from chopmark.app.web import web_services
from chopmark.ca.ceremony.folder import Folder
from chopmark.ca.ceremony.options import CeremonyOptions, ListAsked
from chopmark.ca.checker import Checker
from chopmark.ca.ports import Certified, Pending
from chopmark.cli import check
from chopmark.cli.ceremony import ceremony
from chopmark.cli.root_list import root_crl
from chopmark.core.types import IssuerId, Operation, OrderState, Reason, Secret, Serial
from chopmark.keys.shares import Lock, Shares
from chopmark.ra.ports import SubscriberCertificate
from chopmark.store.repositories.ca.checking import CertificateRows
from chopmark.web import app
from tests.contract.test_issuance import CountingSigner, Died
from tests.contract.world import ANN, BEN, CEO, Dice, World, world_fixture
from tests.machine import program
from tests.softhsm import MODULE, softhsm
from tests.vectors.pki.house import pem

both_worlds = world_fixture()
world = world_fixture(engines=("sqlite",))
SHARES = {"ca_share_one": "1111-first operator's share", "ca_share_two": "2222-second operator's share"}


def opening(world: World):
    @asynccontextmanager
    async def opened(settings: Settings, shares):
        async with founding(settings, world.clock, Dice(Random(70)), shares=shares) as means:
            yield means

    return opened


def settings_with(settings: Settings, **other: Any) -> Settings:
    plain = {"mode": "demo", "data": settings.data, "database": settings.database}
    return Settings.model_validate({**plain, **SHARES, **other})


async def roll_over(world: World, folder: Path, **asked: Any) -> int:
    typed = list(SHARES.values())
    return await ceremony(
        asked.pop("settings", world.services.foundation.settings),
        Folder(folder),
        CeremonyOptions(one="Amy", two="Ben", **asked),
        rollover=True,
        ask=lambda prompt: typed[0] if "Amy" in prompt else typed[1],
        opening=opening(world),
        memory_kib=64,
    )


async def restarted(world: World, **other: Any) -> World:
    """The counter as it starts after the rollover, with the customers' keys as they were."""
    services = await build(settings_with(world.services.foundation.settings, **other), world.clock, world.dice)
    world.nodes.append(services)
    return world.with_services(services)


def openssl(*words: object) -> str:
    command = [str(program("openssl")), *(str(word) for word in words)]
    made = subprocess.run(command, capture_output=True, text=True, check=False)
    return made.stdout + made.stderr


_apps: WeakKeyDictionary[Any, Any] = WeakKeyDictionary()


async def served(services: Services, method: str, path: str, body: bytes = b"") -> httpx2.Response:
    """What relying parties get of this process."""
    if services.foundation.engine not in _apps:
        _apps[services.foundation.engine] = app.create(web_services(services)).asgi
    transport = httpx2.ASGITransport(_apps[services.foundation.engine])
    async with httpx2.AsyncClient(transport=transport, base_url="http://127.0.0.1:8080") as client:
        return await client.request(method, path, content=body)


def addresses(der: bytes) -> tuple[str, str]:
    """The paths of OCSP and CRL that a certificate names."""
    extensions = x509.load_der_x509_certificate(der).extensions
    access = extensions.get_extension_for_class(x509.AuthorityInformationAccess).value
    points = extensions.get_extension_for_class(x509.CRLDistributionPoints).value
    asked = [a.access_location.value for a in access if a.access_method == AuthorityInformationAccessOID.OCSP]
    name = (points[0].full_name or [])[0]
    return tuple(url.split(":8080")[1] for url in (asked[0], name.value))


async def judged(world: World, certificate: SubscriberCertificate, folder: Path) -> tuple[str, str]:
    """What openssl says of a certificate with its own chain: by its OCSP address, and by the lists it leads to."""
    services, at = world.services, ("-attime", int(world.clock.now().timestamp()))
    record, issuing, root = certificate.der, certificate.chain[0], certificate.chain[-1]
    for name, der in (("leaf", record), ("issuing", issuing), ("root", root)):
        (folder / f"{name}.pem").write_bytes(pem(der))
    ocsp_path, crl_path = addresses(record)
    for name, path in (("crl", crl_path), ("root-crl", addresses_of_root(issuing))):
        got = await served(services, "GET", path)
        assert got.status_code == 200, path
        (folder / f"{name}.pem").write_bytes(x509.load_der_x509_crl(got.content).public_bytes(Encoding.PEM))
    asked = ("-issuer", folder / "issuing.pem", "-cert", folder / "leaf.pem")
    await asyncio.to_thread(openssl, "ocsp", *asked, "-no_nonce", "-reqout", folder / "ask.der")
    answer = await served(services, "POST", ocsp_path, (folder / "ask.der").read_bytes())
    (folder / "answer.der").write_bytes(answer.content)
    trust = ("-CAfile", folder / "root.pem", *at, "-validity_period", 2_000_000_000)
    told = await asyncio.to_thread(openssl, "ocsp", *asked, "-respin", folder / "answer.der", *trust)
    assert "Response verify OK" in told, told
    lists = ("-CRLfile", folder / "crl.pem", "-CRLfile", folder / "root-crl.pem", "-crl_check_all")
    chain = ("-CAfile", folder / "root.pem", "-untrusted", folder / "issuing.pem")
    path = await asyncio.to_thread(openssl, "verify", "-x509_strict", *chain, *lists, *at, folder / "leaf.pem")
    return told, path


def addresses_of_root(issuing_der: bytes) -> str:
    points = x509.load_der_x509_certificate(issuing_der).extensions.get_extension_for_class(x509.CRLDistributionPoints)
    name = (points.value[0].full_name or [])[0]
    return name.value.split(":8080")[1]


async def issuer_of(world: World, serial: Serial) -> str:
    return (await world.rows("SELECT issuer FROM certificates WHERE serial = :serial", serial=serial))[0]["issuer"]


async def test_both_generations_are_judged_by_their_own_chains(both_worlds: World, tmp_path: Path) -> None:
    await generations(both_worlds, tmp_path, "a new root")


async def test_both_generations_are_judged_under_one_root(world: World, tmp_path: Path) -> None:
    await generations(world, tmp_path, "the same root")


async def generations(world: World, tmp_path: Path, under: str) -> None:
    """Issue under the old CA, roll over, renew and issue under the new one, revoke of the old; strangers judge."""
    for customer in (ANN, BEN):
        await world.to_active(customer)
    old = {customer: world.held[customer].certificate for customer in (ANN, BEN)}
    root_key = world.services.foundation.settings.data / "ca" / "root.key.pem" if under == "the same root" else None
    algorithm = "P384" if root_key is None else "P256"
    assert await roll_over(world, tmp_path / "ceremony", root_key=root_key, algorithm=algorithm) == 0
    after = await restarted(world)
    world.clock.later(days=340)
    await after.to_active(ANN, Operation.REKEY)  # proved with the key of the old CA's certificate
    await after.to_active(CEO)
    await after.work()
    new = after.held[ANN].certificate
    assert [await issuer_of(after, s) for s in (old[ANN].serial, new.serial)] == ["investor", "investor-2"]
    assert (new.chain[-1] == old[ANN].chain[-1]) is (under == "the same root")
    for certificate in (old[BEN], new, after.held[CEO].certificate):
        told, path = await judged(after, certificate, tmp_path)
        assert ": good" in told
        assert path.endswith(": OK\n")
    await after.revoked(BEN, Reason.COMPROMISED)
    await after.work()
    for certificate in (old[ANN], old[BEN]):
        told, path = await judged(after, certificate, tmp_path)
        assert ": revoked" in told
        assert "certificate revoked" in path
    earlier = [ca.issuer.standard() for ca in after.services.ca.earlier]
    checker = Checker(
        after.services.ca.issuer.standard(), CertificateRows(after.services.foundation.engine), 1, earlier
    )
    assert (await checker.check(world.clock.now())).faults == ()
    assert (await after.audit()).sound


async def test_an_order_that_the_old_ca_had_reserved_is_finished_by_the_new_one_once(
    both_worlds: World, tmp_path: Path
) -> None:
    world = both_worlds
    errand = await world.to_review()
    dying = world.with_issuer(world.issuer(CountingSigner(world.services.ca.authority.signer, dies="after"))).services
    with pytest.raises(Died):
        await dying.ra.rekey.confirm(errand.caller, errand.id, await errand.terms())
    (lost,) = await world.rows("SELECT serial FROM certificates")
    assert await roll_over(world, tmp_path / "ceremony") == 0
    after = await restarted(world)
    world.clock.later(seconds=21)
    await after.once("resume")
    await after.once("resume")
    rows = await after.rows("SELECT issuer, state FROM certificates ORDER BY attempt")
    assert [(row["issuer"], row["state"]) for row in rows] == [("investor", "orphaned"), ("investor-2", "issued")]
    await after.once("publish")
    crl = await after.services.va.status.crl(IssuerId("investor"), 0)
    assert crl is not None
    revoked = {f"{one.serial_number:X}" for one in x509.load_der_x509_crl(crl.der)}
    assert revoked == {lost["serial"].lstrip("0")}


async def test_an_order_that_the_old_ca_had_issued_keeps_that_certificate_with_its_own_chain(world, tmp_path) -> None:
    errand = await world.to_issued(ANN)
    serial = (await errand.order()).serial
    assert await roll_over(world, tmp_path / "ceremony") == 0
    after = await restarted(world)
    issuance = await errand.issuance()
    certified = await after.services.ca.issuer.resume(issuance)
    assert isinstance(certified, Certified)
    assert certified.serial == serial
    assert certified.chain == (await world.certificate(errand)).chain


async def test_a_process_that_was_not_restarted_issues_no_more_and_its_orders_wait(
    both_worlds: World, tmp_path: Path
) -> None:
    world = both_worlds
    errand = await world.to_review()
    assert await roll_over(world, tmp_path / "ceremony") == 0
    assert (await errand.confirm()).state is OrderState.PENDING
    assert await world.count("certificates") == 0
    after = await restarted(world)
    world.clock.later(seconds=21)
    assert await after.once("resume") == 1
    order = await errand.order()
    assert order.state is OrderState.ISSUED
    assert order.serial is not None
    assert await issuer_of(after, order.serial) == "investor-2"
    issuance = await errand.issuance()
    assert isinstance(
        await world.services.ca.issuer.issue(issuance), Pending
    )  # the old process has not the new one's chain


async def test_the_responders_of_both_are_renewed_and_both_lists_are_published(world: World, tmp_path) -> None:
    assert await roll_over(world, tmp_path / "ceremony") == 0
    after = await restarted(world)
    assert await after.once("publish") == 2
    world.clock.at = after.services.ca.responder.key.not_after
    world.clock.later(days=-20)
    assert await after.once("responder") == 2


async def test_the_repository_names_every_ca_and_no_other_responder_answers(world: World, tmp_path) -> None:
    assert await roll_over(world, tmp_path / "ceremony") == 0
    after = await restarted(world)
    page = (await served(after.services, "GET", "/repository")).text
    for name in ("investor-2", "investor", "root-2", "root"):
        assert f'"/pki/{name}.cer"' in page
        assert (await served(after.services, "GET", f"/pki/{name}.cer")).status_code == 200
    assert (await served(after.services, "POST", "/ocsp/investor-3")).status_code == 404


async def test_a_ca_in_an_hsm_takes_over_from_one_in_files(world: World, tmp_path: Path) -> None:
    await world.to_active(ANN)
    with softhsm() as maker:
        device = maker()
        where: dict[str, Any] = {"hsm": {"module": str(MODULE), "token": device.label, "pin": device.pin.reveal()}}
        chosen = settings_with(world.services.foundation.settings, signer="pkcs11", **where)
        assert await roll_over(world, tmp_path / "ceremony", algorithm="P384", settings=chosen) == 0
        after = await restarted(world, signer="pkcs11", **where)
        await after.to_active(BEN)
        await after.work()
        for customer in (ANN, BEN):
            assert ": good" in (await judged(after, after.held[customer].certificate, tmp_path))[0]
        device.take_out()  # the old CA's key is a file, and its list goes on
        after.services.foundation.keyring.close()
        world.clock.later(hours=7)
        assert await issuer_of(after, after.held[BEN].certificate.serial) == "investor-2"
        before = await after.services.va.status.crl(IssuerId("investor"), 0)
        with pytest.raises(Exception, match="token"):
            await after.once("publish")
        assert await after.services.va.status.crl(IssuerId("investor"), 0) != before
        device.put_back()
        after.services.foundation.keyring.close()


async def test_a_rollover_takes_the_shares_of_the_ca_before(world: World, tmp_path: Path, capsys) -> None:
    assert await roll_over(world, tmp_path / "ceremony") == 0
    other = tmp_path / "other"
    other.write_text("3333-a share of somebody new")
    capsys.readouterr()
    assert await roll_over(world, tmp_path / "next", share_two=other) == 1
    assert "take the shares that open investor-2" in capsys.readouterr().out
    assert await roll_over(world, tmp_path / "again") == 0
    after = await restarted(world)
    assert [ca.authority.view.id for ca in after.services.ca.cas] == ["investor-3", "investor-2", "investor"]
    assert [ca.root for ca in after.services.ca.cas] == ["root-3", "root-2", "root"]


async def test_a_root_s_key_file_may_have_shares_of_its_own(world: World, tmp_path: Path) -> None:
    folder, settings = tmp_path / "safe", world.services.foundation.settings
    folder.mkdir()
    phrase = (settings.data / "secrets" / "ca_passphrase").read_bytes()
    key = serialization.load_pem_private_key((settings.data / "ca" / "root.key.pem").read_bytes(), phrase)
    one, two = folder / "one", folder / "two"
    one.write_text("4444-the safe's first share")
    two.write_text("5555-the safe's second share")
    lock = Lock.fresh(bytes(32), 64, 1)
    derived = lock.passphrase(Shares(Secret(one.read_text()), Secret(two.read_text()))).reveal().encode()
    locked = serialization.BestAvailableEncryption(derived)
    pkcs8 = key.private_bytes(Encoding.PEM, serialization.PrivateFormat.PKCS8, locked)
    (folder / "root.key.pem").write_bytes(lock.line + pkcs8)
    root = {"root_key": folder / "root.key.pem"}
    assert await roll_over(world, tmp_path / "a", **root) == 1  # the ceremony's shares are others
    assert await roll_over(world, tmp_path / "b", **root, root_share_one=one, root_share_two=two) == 0
    after = await restarted(world)
    assert [ca.root for ca in after.services.ca.cas] == ["root", "root"]


async def test_a_rollover_needs_a_ca_and_a_root_s_key_file_that_is_one(world: World, tmp_path, capsys) -> None:
    assert await roll_over(world, tmp_path / "a", root_key=tmp_path / "none.pem") == 1
    assert "cannot be read" in capsys.readouterr().out
    assert await roll_over(world, tmp_path / "ceremony") == 0
    strange = tmp_path / "ceremony" / "root.key.pem"
    capsys.readouterr()
    await world.change("DELETE FROM issuers WHERE id = 'investor-2'")
    assert await roll_over(world, tmp_path / "b", root_key=strange) == 1
    assert "key of no root of this installation" in capsys.readouterr().out


# the root's list ----------------------------------------------------------------------------------------------------


async def relist(world: World, **asked: Any) -> int:
    return await root_crl(
        world.services.foundation.settings,
        ListAsked(**{"one": "Amy", "two": "Ben", **asked}),
        ask=lambda prompt: SHARES["ca_share_one" if "Amy" in prompt else "ca_share_two"],
        opening=opening(world),
    )


async def newest(world: World, root: str = "root"):
    crl = await world.services.va.status.crl(IssuerId(root), 0)
    assert crl is not None
    return crl


async def test_a_compromised_ca_is_revoked_by_its_root_once_another_has_taken_over(world, tmp_path, capsys) -> None:
    await world.to_active(ANN)
    key = world.services.foundation.settings.data / "ca" / "root.key.pem"
    revoking = {"root_key": key, "revoke": "investor", "reason": "ca_compromise"}
    assert await relist(world, **revoking) == 1
    assert "roll over" in capsys.readouterr().out
    assert await roll_over(world, tmp_path / "ceremony", root_key=key) == 0
    after = await restarted(world)
    assert await relist(world, **revoking) == 0
    first = await newest(world)
    await after.work()
    _, path = await judged(after, after.held[ANN].certificate, tmp_path)
    assert "certificate revoked" in path
    world.clock.later(days=30)
    assert await relist(world, root_key=key) == 0  # the next one keeps the line
    second = await newest(world)
    assert second.number > first.number
    (entry,) = x509.load_der_x509_crl(second.der)
    assert entry.extensions.get_extension_for_class(x509.CRLReason).value.reason is x509.ReasonFlags.ca_compromise
    assert await relist(world, **revoking) == 1
    assert "revoked already" in capsys.readouterr().out
    assert await roll_over(world, tmp_path / "third", root_key=key) == 0
    third = await newest(world)
    assert third.number > second.number
    assert [one.serial_number for one in x509.load_der_x509_crl(third.der)] == [entry.serial_number]


async def test_a_root_under_both_shares_makes_its_list_with_both(world: World, tmp_path, capsys) -> None:
    assert await roll_over(world, tmp_path / "ceremony") == 0
    key, before = tmp_path / "ceremony" / "root.key.pem", await newest(world, "root-2")
    world.clock.later(days=600)
    assert await relist(world, root_key=key, one="Ben", two="Amy") == 1
    assert "cannot be opened" in capsys.readouterr().out
    assert await relist(world, root_key=key) == 0
    made = await newest(world, "root-2")
    assert made.number > before.number
    (record,) = [
        record for record in await world.rows("SELECT facts FROM leaves") if str(made.number) in record["facts"]
    ]
    assert '"Amy"' in record["facts"]


async def test_a_list_from_the_root_s_machine_is_taken_when_it_follows_the_last_one(world, tmp_path, capsys) -> None:
    key, file = world.services.foundation.settings.data / "ca" / "root.key.pem", tmp_path / "list.pem"
    world.clock.later(days=1)
    assert await relist(world, root_key=key) == 0
    made = await newest(world)
    file.write_bytes(x509.load_der_x509_crl(made.der).public_bytes(Encoding.PEM))
    assert await relist(world, take=file) == 1
    assert "its number is not higher" in capsys.readouterr().out
    await world.change("DELETE FROM crls WHERE issuer = 'root'")  # a counter that never saw it
    assert await relist(world, take=file) == 0
    assert (await newest(world)).der == made.der
    issuing = await world.services.va.status.crl(IssuerId("investor"), 0)
    await world.once("publish")
    issuing = await newest(world, "investor")
    file.write_bytes(x509.load_der_x509_crl(issuing.der).public_bytes(Encoding.PEM))
    assert await relist(world, take=file) == 1
    assert "no root of this installation has signed" in capsys.readouterr().out


# what ends ----------------------------------------------------------------------------------------------------------


async def warned(world: World, capsys, moment) -> tuple[list[str], list[str]]:
    """What `chopmark check` warns of at a moment, and what it says has ended."""
    world.clock.at = moment
    capsys.readouterr()
    over = await check.ending_soon(world.services)
    said = capsys.readouterr().out.splitlines()
    return [line.removeprefix("WARNING: ").split(" ends on ")[0] for line in said], [one.what for one in over]


async def test_check_warns_ninety_days_before_anything_of_the_cas_ends(world: World, tmp_path, capsys) -> None:
    root, responder = "the revocation list of root", "the OCSP responder's certificate of investor"
    until = (await newest(world)).next_update
    assert await warned(world, capsys, until - timedelta(days=91)) == ([], [])
    assert await warned(world, capsys, until - timedelta(days=89)) == ([responder, root], [])
    assert (await warned(world, capsys, until))[1] == [responder, root]
    assert await relist(world, root_key=world.services.foundation.settings.data / "ca" / "root.key.pem") == 0
    assert (await warned(world, capsys, until))[1] == [responder]
    issuing = world.services.ca.authority.view.not_after
    assert "the certificate of investor" in (await warned(world, capsys, issuing - timedelta(days=89)))[0]
    assert "the certificate of investor" in (await warned(world, capsys, issuing))[1]
    above = x509.load_der_x509_certificate(world.services.ca.authority.chain[-1]).not_valid_after_utc
    assert "the certificate of root" in (await warned(world, capsys, above - timedelta(days=89)))[0]


async def test_a_ca_that_ended_after_its_successor_took_over_asks_for_nothing_any_more(world, tmp_path, capsys) -> None:
    assert await roll_over(world, tmp_path / "ceremony") == 0
    world.clock.later(days=3)
    after = await restarted(world)
    root = "the certificate of root"
    assert root not in (await warned(after, capsys, world.services.ca.authority.view.not_after + timedelta(days=1)))[1]
    said = await warned(after, capsys, world.services.ca.authority.view.not_after)
    assert not any("investor" in what and "investor-2" not in what for what in (*said[0], *said[1]))
    assert "the certificate of investor-2" in said[1] + said[0]
    assert await after.once("publish") == 1


async def test_a_root_s_list_that_is_missing_has_ended(world: World, capsys) -> None:
    await world.change("DELETE FROM crls WHERE issuer = 'root'")
    assert (await warned(world, capsys, world.clock.at))[1] == ["the revocation list of root"]
