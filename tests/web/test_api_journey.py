"""The whole of an order by JSON alone, and what the world is told of the certificate afterwards."""

import re
import subprocess
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import AuthorityInformationAccessOID

from chopmark.app.worker import tasks
from tests.machine import program
from tests.web.counter import Errand, World, errand, unb64

OLD = "C10001"


def pem(der: bytes) -> bytes:
    return x509.load_der_x509_certificate(der).public_bytes(Encoding.PEM)


class RelyingParty:
    """openssl, with nothing but what the counter publishes."""

    def __init__(self, world: World, folder: Path) -> None:
        self._world = world
        self._folder = folder
        self._openssl = str(program("openssl"))
        self._at = str(int(world.clock.now().timestamp()))

    async def fetch(self, record: bytes) -> None:
        """Get issuer, root and CRL from the addresses that the certificate names."""
        certificate = x509.load_der_x509_certificate(record)
        access = certificate.extensions.get_extension_for_class(x509.AuthorityInformationAccess).value
        issuers = next(d for d in access if d.access_method == AuthorityInformationAccessOID.CA_ISSUERS)
        points = certificate.extensions.get_extension_for_class(x509.CRLDistributionPoints).value
        full_name = next(iter(points)).full_name
        assert full_name is not None
        self._ocsp = next(
            d.access_location.value for d in access if d.access_method == AuthorityInformationAccessOID.OCSP
        )
        browser = self._world.browser()
        issuer = (await browser.get(issuers.access_location.value)).content
        crl = x509.load_der_x509_crl((await browser.get(full_name[0].value)).content)
        root = (await browser.get("/repository/root.pem")).content
        root_crl = x509.load_der_x509_crl((await browser.get("/pki/root-0.crl")).content)
        (self._folder / "issuer.pem").write_bytes(pem(issuer))
        (self._folder / "root.pem").write_bytes(root)
        crls = crl.public_bytes(Encoding.PEM) + root_crl.public_bytes(Encoding.PEM)
        (self._folder / "crl.pem").write_bytes(crls)
        (self._folder / "leaf.pem").write_bytes(pem(record))

    def run(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [self._openssl, *arguments], cwd=self._folder, capture_output=True, text=True, check=False, timeout=30
        )

    async def crl_says(self, record: bytes) -> str:
        """What `openssl verify -crl_check` says of a certificate."""
        await self.fetch(record)
        done = self.run(
            *("verify", "-x509_strict", "-crl_check_all", "-attime", self._at, "-CAfile", "root.pem"),
            *("-untrusted", "issuer.pem", "-CRLfile", "crl.pem", "leaf.pem"),
        )
        return done.stdout + done.stderr

    async def ocsp_says(self, record: bytes) -> str:
        """What `openssl ocsp` says of a certificate: request, answer and check are its own."""
        await self.fetch(record)
        self.run("ocsp", "-issuer", "issuer.pem", "-cert", "leaf.pem", "-reqout", "request.der")
        request = (self._folder / "request.der").read_bytes()
        answer = await self._world.browser().request(
            "POST", self._ocsp, content=request, headers={"Content-Type": "application/ocsp-request"}
        )
        (self._folder / "answer.der").write_bytes(answer.content)
        done = self.run(
            *("ocsp", "-issuer", "issuer.pem", "-cert", "leaf.pem", "-reqin", "request.der", "-no_nonce"),
            *("-respin", "answer.der", "-CAfile", "root.pem", "-verify_other", "issuer.pem"),
            *("-attime", self._at, "-validity_period", "1000000000"),
        )
        return done.stdout + done.stderr


def issued(order: Errand) -> bytes:
    return unb64(order.order["certificate"]["der"])


async def test_a_renewal_by_json_alone_ends_with_a_working_certificate_and_the_old_one_superseded(
    world: World, tmp_path: Path
) -> None:
    """Overview, order, key signed by the old one out of the demo's .p12, code from the inbox, birth date, proof."""
    renewal = await errand(world, OLD)
    overview = (await renewal.browser.get("/api/v1/overview", **{"accept-language": "en"})).json()
    assert overview["recommended"]["action"] == "rekey"
    _, old = world.old_key(OLD)
    await renewal.until("done", "rekey")
    order = renewal.order
    certificate = x509.load_der_x509_certificate(issued(renewal))
    assert certificate.public_key() == x509.load_der_x509_csr(renewal.key.request()).public_key()
    assert order["state"] == "active"
    assert int(order["receipt"]["serial"], 16) == certificate.serial_number
    assert [answer.status_code for answer in renewal.answers] == [201, 200, 201, 200, 200, 201, 200]
    done = (await renewal.browser.get(f"{renewal.path}?lang=zh-TW")).text
    (left,) = re.findall(r"還有 (\d+) 個交易日", done)
    assert 240 <= int(left) <= 250, "as many as the exchange is open in a year"
    assert f"還有 {left} 個交易日" in (await renewal.browser.get("/certificates")).text
    await world.work()
    party = RelyingParty(world, tmp_path)
    assert "leaf.pem: OK" in await party.crl_says(issued(renewal))
    said = await party.ocsp_says(issued(renewal))
    assert "leaf.pem: good" in said
    assert "Response verify OK" in said
    assert "certificate revoked" in await party.crl_says(old)
    assert "superseded" in (await party.ocsp_says(old)).lower()


async def test_a_first_application_needs_no_old_key(world: World, tmp_path: Path) -> None:
    first = await (await errand(world, "C10005")).until("done", "enrol")
    assert first.order["operation"] == "enrol"
    assert first.order["needs_old_key"] is False
    await world.work()
    assert "leaf.pem: OK" in await RelyingParty(world, tmp_path).crl_says(issued(first))
    one = (await first.browser.get(f"/api/v1/certificates/{first.order['certificate']['serial']}")).json()
    assert one["certificate_pem"].encode() == pem(issued(first))
    assert one["chain_pem"].count("BEGIN CERTIFICATE") == 2


async def test_a_replacement_for_a_lost_key_ends_the_old_certificate(world: World, tmp_path: Path) -> None:
    lost = await (await errand(world, "C10002")).until("done", "replace", reason="lost")
    _, old = world.old_key("C10002")
    await world.work()
    assert "certificate revoked" in await RelyingParty(world, tmp_path).crl_says(old)
    assert lost.order["state"] == "active"


async def test_a_certificate_is_good_until_its_holder_revokes_it_and_revoked_afterwards(
    world: World, tmp_path: Path
) -> None:
    order = await errand(world, "C10002")
    _, der = world.old_key("C10002")
    party = RelyingParty(world, tmp_path)
    assert "leaf.pem: good" in await party.ocsp_says(der)
    held = (await order.browser.get("/api/v1/certificates")).json()
    assert [one["state"] for one in held] == ["active"]
    await order.until("done", "revoke", reason="no_longer_needed", serial=held[0]["serial"])
    assert order.order["state"] == "done"
    assert order.answers[-1].status_code == 200
    await world.work()
    said = await party.ocsp_says(der)
    assert "leaf.pem: revoked" in said
    assert "cessationofoperation" in said.lower()
    assert "certificate revoked" in await party.crl_says(der)


@pytest.mark.parametrize("number", ["C10006", "C10008", "C10009", "C10010", "C10011", "C10015"])
async def test_everybody_whose_certificate_is_about_to_end_can_renew_it(world: World, number: str) -> None:
    """Two accounts, no e-mail, a resident, born before the Republic, a company without a birth date, no mobile."""
    order = await (await errand(world, number)).until("done", "rekey")
    assert order.order["birth_date_asked"] is (number != "C10011")
    assert order.order["account"] == order.person.account


async def test_a_mobile_that_was_changed_yesterday_carries_no_code_but_the_mail_does(world: World) -> None:
    order = await (await errand(world, "C10007")).until("channel", "rekey")
    channels = {row["channel"]: row for row in order.order["channels"]}
    assert channels["mobile"]["eligible"] is False
    assert channels["mobile"]["why_not"]
    refused = await order.send_code("mobile")
    assert refused.status_code == 403
    assert (await order.send_code("email")).status_code == 201


async def test_a_renewal_says_in_the_readers_language_whose_the_old_certificate_is(world: World) -> None:
    (job,) = [task.job for task in tasks(world.services) if task.name == "former-lists"]
    await job()
    told = {}
    for number in ("C10021", OLD):
        order = await errand(world, number)
        await order.start("rekey")
        for lang in ("zh-TW", "en"):
            answer = await order.browser.api(order.path, method="GET", lang=lang)
            told[number, lang] = answer.json()["old_certificate"]["issuer"]
    assert told == {
        ("C10021", "zh-TW"): "舊憑證公司（示範）",
        ("C10021", "en"): "Former Certification Company (demo)",
        (OLD, "zh-TW"): None,
        (OLD, "en"): None,
    }
