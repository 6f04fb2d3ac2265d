"""Strangers judge what a run of the house made: certificates, lists and answers; none of them is ours.

pkilint, openssl, NSS, Java's PKIX validator, the verifier of `cryptography`, pyhanko-certvalidator.
"""

import asyncio
import io
import json
import subprocess
import tomllib
import warnings
from contextlib import redirect_stdout
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from types import ModuleType

import pytest
from asn1crypto import crl as asn1_crl
from asn1crypto import ocsp as asn1_ocsp
from asn1crypto import x509 as asn1_x509
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509 import ocsp, verification
from pkilint.bin import lint_crl, lint_ocsp_response, lint_pkix_cert
from pyhanko_certvalidator import CertificateValidator, ValidationContext
from pyhanko_certvalidator.errors import RevokedError

from chopmark.core.types import IssuerId, Operation, Reason
from tests.contract.world import ANN, BEN, CEO, DAN, World, world_fixture
from tests.machine import program

HERE = Path(__file__).parent
world = world_fixture(engines=("sqlite",))

VALID = ("ann", "ceo")
ENDED = {"ben": "key_compromise", "old": "superseded", "dan": "cessation_of_operation"}
"""Names of files, and why they were revoked."""


@dataclass(frozen=True)
class Made:
    """What lies in the folder: NAME.cer, NAME.pem, NAME.ocsp (SHA-1 CertID, no nonce), ca.crl, root.crl, all DER."""

    folder: Path
    at: datetime

    @property
    def seconds(self) -> str:
        return str(int(self.at.timestamp()))

    def der(self, name: str) -> bytes:
        return (self.folder / name).read_bytes()

    def certificate(self, name: str) -> x509.Certificate:
        return x509.load_der_x509_certificate(self.der(f"{name}.cer"))

    async def run(self, *command: object) -> str:
        """Run a judge in the folder; return all that it said."""
        words = [str(word) for word in command]
        made = await asyncio.to_thread(
            subprocess.run, words, cwd=self.folder, capture_output=True, text=True, check=False
        )
        return f"{made.stdout}{made.stderr}\nended {made.returncode}"


def write(folder: Path, name: str, der: bytes) -> None:
    (folder / f"{name}.cer").write_bytes(der)
    (folder / f"{name}.pem").write_bytes(x509.load_der_x509_certificate(der).public_bytes(Encoding.PEM))


async def answer(world: World, der: bytes, digest: hashes.HashAlgorithm, nonce: bytes | None = None) -> bytes:
    issuer = x509.load_der_x509_certificate(world.services.ca.authority.view.certificate_der)
    builder = ocsp.OCSPRequestBuilder().add_certificate(x509.load_der_x509_certificate(der), issuer, digest)
    if nonce is not None:
        builder = builder.add_extension(x509.OCSPNonce(nonce), critical=False)
    return (await world.services.ca.responder.answer(builder.build().public_bytes(Encoding.DER))).der


@pytest.fixture
async def made(world: World, tmp_path: Path) -> Made:
    """A run: two valid certificates, one compromised, one renewed, one not needed any more."""
    folder = tmp_path / "judged"
    folder.mkdir()
    for customer in (ANN, BEN, CEO, DAN):
        await world.to_active(customer)
    write(folder, "old", world.held[ANN].certificate.der)
    world.clock.later(days=340)
    await world.to_active(ANN, Operation.REKEY)
    await world.revoked(BEN, Reason.COMPROMISED)
    await world.revoked(DAN, Reason.NO_LONGER_NEEDED)
    await world.work()
    authority = world.services.ca.authority
    write(folder, "ca", authority.view.certificate_der)
    write(folder, "root", authority.chain[-1])
    write(folder, "responder", world.services.ca.responder.key.certificate_der)
    for name, customer in (("ann", ANN), ("ben", BEN), ("ceo", CEO), ("dan", DAN)):
        write(folder, name, world.held[customer].certificate.der)
    for name in (*VALID, *ENDED):
        der = (folder / f"{name}.cer").read_bytes()
        (folder / f"{name}.ocsp").write_bytes(await answer(world, der, hashes.SHA1()))
        (folder / f"{name}.sha256.ocsp").write_bytes(await answer(world, der, hashes.SHA256()))
        (folder / f"{name}.nonce.ocsp").write_bytes(await answer(world, der, hashes.SHA256(), b"n" * 32))
    for name, issuer in (("ca", authority.view.id), ("root", IssuerId("root"))):
        crl = await world.services.va.status.crl(issuer, 0)
        assert crl is not None
        (folder / f"{name}.crl").write_bytes(crl.der)
        pem = x509.load_der_x509_crl(crl.der).public_bytes(Encoding.PEM)
        (folder / f"{name}.crl.pem").write_bytes(pem)
    world.clock.later(minutes=1)
    return Made(folder, world.clock.at)


# pkilint ----------------------------------------------------------------------------------------------------------


def accepted() -> dict[str, str]:
    exceptions: dict[str, str] = tomllib.loads((HERE / "exceptions.toml").read_text("utf-8"))["pkilint"]
    return exceptions


def test_an_accepted_finding_has_a_reason() -> None:
    assert all(len(reason.split()) >= 5 for reason in accepted().values())


def linted(made: Made, tool: ModuleType, name: str, *arguments: str) -> set[str]:
    """Return the codes of what one of pkilint's own programs finds at WARNING or above."""
    out = io.StringIO()
    with redirect_stdout(out), warnings.catch_warnings(action="ignore", category=ResourceWarning):
        # the program leaves the closing of its file to the interpreter
        tool.main(["lint", "-s", "WARNING", "-f", "JSON", *arguments, str(made.folder / name)])
    report = json.loads(out.getvalue())
    return {f["code"] for result in report["results"] for f in result["finding_descriptions"]} - accepted().keys()


def test_pkilint_finds_nothing_in_certificates_lists_and_answers(made: Made) -> None:
    for name in ("root", "ca", "responder", *VALID, *ENDED):
        assert linted(made, lint_pkix_cert, f"{name}.cer") == set(), name
    for kind, name in (("CRL", "ca"), ("ARL", "root")):
        assert linted(made, lint_crl, f"{name}.crl", "-t", kind, "-p", "PKIX") == set(), name
    for name in (*VALID, *ENDED):
        for form in ("ocsp", "sha256.ocsp", "nonce.ocsp"):
            assert linted(made, lint_ocsp_response, f"{name}.{form}") == set(), (name, form)


def test_pkilint_s_programs_do_find_what_is_wrong(made: Made) -> None:
    """A finding is seen here: a certificate whose serial is negative (RFC 5280 s.4.1.2.2)."""
    der = made.der("ann.cer")
    serial = made.certificate("ann").serial_number.to_bytes(18, "big")
    assert der.count(serial) == 1
    (made.folder / "negative.cer").write_bytes(der.replace(serial, b"\x81" + serial[1:]))
    assert linted(made, lint_pkix_cert, "negative.cer")


# openssl ----------------------------------------------------------------------------------------------------------


async def test_openssl_verifies_each_chain_with_the_lists_and_strictly(made: Made) -> None:
    lists = ("-crl_check_all", "-CRLfile", "ca.crl.pem", "-CRLfile", "root.crl.pem")
    chain = ("-CAfile", "root.pem", "-untrusted", "ca.pem", "-attime", made.seconds)
    command = (program("openssl"), "verify", "-x509_strict", "-purpose", "smimesign", *chain, *lists)
    for name in VALID:
        assert f"{name}.pem: OK" in await made.run(*command, f"{name}.pem")
    for name in ENDED:
        assert "certificate revoked" in await made.run(*command, f"{name}.pem")


@pytest.mark.parametrize("form", ["ocsp", "sha256.ocsp"])
async def test_openssl_accepts_each_answer_and_reads_what_it_says(made: Made, form: str) -> None:
    digest = "-sha256" if form.startswith("sha256") else "-sha1"
    for name in (*VALID, *ENDED):
        command = (program("openssl"), "ocsp", "-respin", f"{name}.{form}", "-issuer", "ca.pem", digest)
        # openssl reads the wall clock for the answer's own times; a wide skew leaves them to the other judges
        times = ("-attime", made.seconds, "-validity_period", "2000000000")
        said = await made.run(*command, "-cert", f"{name}.pem", "-CAfile", "root.pem", *times)
        assert "Response verify OK" in said
        assert f"{name}.pem: {'good' if name in VALID else 'revoked'}" in said


async def test_openssl_reads_the_reasons_in_the_list(made: Made) -> None:
    said = await made.run(program("openssl"), "crl", "-in", "ca.crl.pem", "-noout", "-text", "-CAfile", "ca.pem")
    for reason in ("Key Compromise", "Superseded", "Cessation Of Operation"):
        assert said.count(reason) == 1
    assert "X509v3 Issuing Distribution Point: critical" in said
    assert "verify OK" in said


# NSS --------------------------------------------------------------------------------------------------------------


async def test_nss_takes_each_chain_for_mail_and_for_the_tls_door(made: Made) -> None:
    """NSS knows no issuing distribution point and refuses every list that has one, as RFC 5280 wants of who does not.

    So it judges chains and purposes, and the list of the root; revocation is judged by the others.
    """
    certutil, crlutil = program("certutil"), program("crlutil")
    (made.folder / "empty").write_text("")
    await made.run(certutil, "-N", "-d", "sql:.", "-f", "empty")
    for name, trust in (("root", "CT,C,C"), ("ca", ",,"), *((name, ",,") for name in VALID)):
        add = (certutil, "-A", "-d", "sql:.", "-f", "empty", "-n", name, "-t", trust, "-i", f"{name}.cer")
        assert "ended 0" in await made.run(*add)
    assert "ended 0" in await made.run(crlutil, "-I", "-d", "sql:.", "-f", "empty", "-i", "root.crl")
    said = await made.run(crlutil, "-I", "-d", "sql:.", "-f", "empty", "-i", "ca.crl")
    assert "SEC_ERROR_CRL_UNKNOWN_CRITICAL_EXTENSION" in said
    at = made.at.strftime("%y%m%d%H%M%SZ")
    for name in VALID:
        for usage in ("S", "C"):
            look = (certutil, "-V", "-d", "sql:.", "-f", "empty", "-e", "-b", at, "-u", usage, "-n", name)
            assert "certificate is valid" in await made.run(*look)
    late = made.certificate("ann").not_valid_after_utc + timedelta(seconds=1)
    past = (certutil, "-V", "-d", "sql:.", "-f", "empty", "-b", late.strftime("%y%m%d%H%M%SZ"), "-u", "S", "-n", "ann")
    assert "expired" in (await made.run(*past)).lower()


# Java -------------------------------------------------------------------------------------------------------------


async def test_java_takes_the_valid_and_refuses_the_revoked_by_list_and_by_answer(made: Made) -> None:
    java = program("java")
    pairs = [(by, name) for by in ("crl", "ocsp") for name in (*VALID, *ENDED)]
    arguments = [word for pair in pairs for word in pair]
    said = await made.run(java, "-Xshare:auto", HERE / "Validate.java", made.folder, made.seconds, *arguments)
    lines = dict(_judged(line) for line in said.splitlines()[: len(pairs)])
    for by, name in pairs:
        expected = "VALID" if name in VALID else "REVOKED"
        assert lines[by, name].startswith(expected), said


def _judged(line: str) -> tuple[tuple[str, str], str]:
    by, name, verdict = line.split(" ", 2)
    return (by, name), verdict


# cryptography's verifier ------------------------------------------------------------------------------------------


def test_the_verifier_of_cryptography_accepts_the_chain_of_each_certificate(made: Made) -> None:
    """It knows no revocation; a certificate of ours has no subject alternative name, which WebPKI would ask for."""
    policy = (
        verification.PolicyBuilder()
        .time(made.at.replace(tzinfo=None))
        .store(verification.Store([made.certificate("root")]))
    )
    verifier = policy.extension_policies(
        ca_policy=verification.ExtensionPolicy.webpki_defaults_ca(),
        ee_policy=verification.ExtensionPolicy.permit_all(),
    ).build_client_verifier()
    for name in VALID:
        verified = verifier.verify(made.certificate(name), [made.certificate("ca")])
        assert [c.subject for c in verified.chain][-1] == made.certificate("root").subject


# pyhanko-certvalidator --------------------------------------------------------------------------------------------


async def validated(made: Made, name: str, by: str) -> None:
    root, ca, record = (asn1_x509.Certificate.load(made.der(f"{one}.cer")) for one in ("root", "ca", name))
    lists = [asn1_crl.CertificateList.load(made.der("root.crl"))]
    answers = []
    if by == "crl":
        lists.append(asn1_crl.CertificateList.load(made.der("ca.crl")))
    else:
        answers.append(asn1_ocsp.OCSPResponse.load(made.der(f"{name}.ocsp")))
    context = ValidationContext(
        trust_roots=[root], moment=made.at, crls=lists, ocsps=answers, revocation_mode="hard-fail"
    )
    validator = CertificateValidator(record, intermediate_certs=[ca], validation_context=context)
    await validator.async_validate_usage({"digital_signature", "non_repudiation"})


@pytest.mark.parametrize("by", ["crl", "ocsp"])
async def test_pyhanko_certvalidator_takes_the_valid_and_refuses_the_revoked(made: Made, by: str) -> None:
    for name in VALID:
        await validated(made, name, by)
    for name in ENDED:
        with pytest.raises(RevokedError):
            await validated(made, name, by)
