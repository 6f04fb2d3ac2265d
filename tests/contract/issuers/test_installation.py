"""An installation that another CA certifies for: it needs no CA of its own, and says what does not work."""

import re
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import httpx2
import pytest
from pydantic import SecretStr, ValidationError

from chopmark.app.founding import found_ca
from chopmark.app.secrets import NotReady
from chopmark.app.services import Services, build, opened
from chopmark.app.settings import Settings
from chopmark.app.settings_topics import ExternalCa
from chopmark.app.web import ca_certificates, web_services
from chopmark.cli import check, database
from chopmark.core.types import OrderState
from chopmark.store import db
from chopmark.web import app
from tests.contract.issuers import stranger
from tests.contract.issuers.conftest import opened_peer
from tests.contract.issuers.peers import Cfssl
from tests.contract.world import ANN, World, import_customers


@pytest.fixture
async def cfssl(world: World, tmp_path: Path, ca: stranger.Ca) -> AsyncIterator[Cfssl]:
    async with AsyncExitStack() as stack:
        peer = await opened_peer("cfssl", world, tmp_path, ca, stack)
        assert isinstance(peer, Cfssl)
        yield peer


def settings_of(peer: Cfssl, folder: Path, **other: Any) -> Settings:
    told: dict[str, Any] = {
        "mode": "demo",
        "data": folder,
        **other,
        "external_ca": {**peer.connected, "title": "外部 CA", **(other.get("external_ca", {}))},
    }
    return Settings(**told)


async def fresh(peer: Cfssl, folder: Path) -> Services:
    """A house on an empty database: no ceremony was ever held."""
    settings = settings_of(peer, folder)
    await db.upgrade(settings.database_url)
    return await build(settings, peer.world.clock, peer.world.dice)


async def test_a_customer_gets_and_loses_a_certificate_of_the_other_ca(cfssl: Cfssl, tmp_path: Path) -> None:
    services = await fresh(cfssl, tmp_path)
    assert services.ca.built_in is None
    await import_customers(services)
    world = World(services, cfssl.world.clock, cfssl.world.dice)
    errand = await world.to_active(ANN)
    assert await errand.state() is OrderState.ACTIVE
    certificate = world.held[ANN].certificate
    assert certificate.chain[-1] == stranger.der(cfssl.ca.chain[-1])
    assert not cfssl.revoked(certificate.der)
    await world.revoked(ANN)
    assert cfssl.revoked(certificate.der)
    while await world.once("sequence"):
        pass
    assert (await world.audit()).findings == ()
    given = web_services(services)
    assert (dict(given.publication.responders), given.issuer_title) == ({}, "外部 CA")
    assert ca_certificates(services) == tuple(stranger.der(path) for path in cfssl.ca.chain)
    await services.close()


async def test_check_says_whether_the_other_ca_answers(
    cfssl: Cfssl, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "one").mkdir()
    assert await database.upgrade(settings_of(cfssl, tmp_path / "one")) == 0
    await check.check_installation(settings_of(cfssl, tmp_path / "one"))
    told = capsys.readouterr().out
    assert f"protocol: cfssl at {cfssl.url}" in told
    assert "the other CA" not in told
    cfssl.away()
    assert await check.check_installation(settings_of(cfssl, tmp_path / "one")) == 1
    assert "NOT READY: the other CA: dropped" in capsys.readouterr().out


async def test_settings_that_cannot_work_do_not_start(cfssl: Cfssl, tmp_path: Path) -> None:
    impossible: tuple[dict[str, Any], ...] = (
        {"url": "http://ca.example.com"},
        {"url": f"{cfssl.url}/"},
        {"anchors": None},
        {"secret": ""},
        {"tls_key": cfssl.trust},
        {"protocol": "cmp"},
    )
    for wrong in impossible:
        with pytest.raises(ValidationError):
            settings_of(cfssl, tmp_path, external_ca=wrong)
    empty = tmp_path / "empty.pem"
    empty.write_text("")
    faults: tuple[dict[str, Any], ...] = (
        {"anchors": empty},
        {"anchors": cfssl.ca.certificate},
        {"secret": "no hex"},
    )
    for number, fault in enumerate(faults):
        folder = tmp_path / str(number)
        folder.mkdir()
        settings = settings_of(cfssl, folder, external_ca=fault)
        await db.upgrade(settings.database_url)
        with pytest.raises(NotReady):
            await build(settings, cfssl.world.clock, cfssl.world.dice)


async def test_a_certificate_of_the_former_ca_is_still_revoked_there(world: World, cfssl: Cfssl) -> None:
    await world.to_active(ANN)
    old = world.held[ANN].certificate.serial
    moved = await build(
        settings_of(cfssl, world.services.foundation.settings.data, database=world.url), world.clock, world.dice
    )
    assert moved.ca.built_in is not None
    assert moved.ca.certifier.name == "外部 CA"
    await moved.ca.certifier.revoke(old, "superseded")
    assert await world.ca_state(old) == ("revoked", "superseded")
    await moved.close()


async def test_its_certificates_are_published_for_relying_parties(
    cfssl: Cfssl, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    services = await fresh(cfssl, tmp_path)
    served: Any = app.create(web_services(services)).asgi
    async with httpx2.AsyncClient(transport=httpx2.ASGITransport(served), base_url="http://localhost") as client:
        page = (await client.get("/repository?lang=en")).text
        found = re.findall(r"/pki/(ca-[0-9a-f]{16})\.cer", page)
        files = list(cfssl.ca.chain)
        assert len(found) == len(files)
        for name, file in zip(found, files, strict=True):
            fetched = await client.get(f"/pki/{name}.cer")
            assert (fetched.status_code, fetched.headers["content-type"]) == (200, "application/pkix-cert")
            assert fetched.content == stranger.der(file)
            pem = (await client.get(f"/repository/{name}.pem")).content
            assert stranger.openssl("x509", "-outform", "DER", given=pem) == stranger.der(file)
            said = stranger.openssl("x509", "-in", file, "-noout", "-fingerprint", "-sha256").decode()
            assert said.strip().rpartition("=")[2] in page
            assert (await client.get(f"/pki/{name}-0.crl")).status_code == 404
    assert "外部 CA" in page
    assert "Revocation list" not in page
    await services.close()


def without_passphrase(peer: Cfssl, folder: Path, **other: Any) -> Settings:
    """A production installation with every secret but the one that opens a CA's key."""
    names = ("otp_key", "audit_key", "data_key", "lookup_key", "csrf_key")
    secrets = {name: f"{number:02x}" * 32 for number, name in enumerate(names, 1)}
    url = "https://counter.example.com"
    return settings_of(peer, folder, **{"mode": "production", "public_url": url, **secrets, **other})


async def test_no_passphrase_is_asked_for_where_no_key_of_a_ca_is_opened(cfssl: Cfssl, tmp_path: Path) -> None:
    settings = without_passphrase(cfssl, tmp_path / "bare")
    async with opened(settings) as services:
        assert services.ca.built_in is None
    with pytest.raises(NotReady, match="these secrets are not set: ca_passphrase"):
        await found_ca(settings, cfssl.world.clock, cfssl.world.dice)
    with pytest.raises(NotReady, match="these secrets are not set: ca_passphrase"):
        async with opened(settings.model_copy(update={"external_ca": ExternalCa()})):
            pass
    settings = settings_of(cfssl, tmp_path / "demo")
    async with opened(settings):
        assert not (settings.data / "secrets" / "ca_passphrase").exists()


async def test_a_former_ca_s_key_is_not_opened_without_its_passphrase(
    world: World, cfssl: Cfssl, tmp_path: Path
) -> None:
    kept = world.services.foundation.settings.data / "secrets"
    folder = tmp_path / "former"
    given = {name: (kept / name).read_text() for name in ("otp_key", "audit_key", "data_key", "lookup_key", "csrf_key")}
    settings = without_passphrase(cfssl, folder, database=world.url, **given)
    with pytest.raises(NotReady, match="CA investor do not open with the secrets that are set"):
        await build(settings, world.clock, world.dice)
    settings = settings.model_copy(update={"ca_passphrase": SecretStr((kept / "ca_passphrase").read_text())})
    moved = await build(settings, world.clock, world.dice)
    assert moved.ca.built_in is not None
    await moved.close()
