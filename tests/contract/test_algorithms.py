"""A CA of each kind of key issues, answers and lists; openssl and pkilint judge all of it."""

import asyncio
from pathlib import Path
from random import Random

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import SignatureAlgorithmOID

from chopmark.app.settings import Settings
from chopmark.ca.lint import Linter
from chopmark.core.types import Reason
from chopmark.keys.ports import KeyAlgorithm
from chopmark.pki.signing import kind_of, public_key
from chopmark.pki.x509 import spki_der
from tests import ocsp_lint
from tests.contract.test_rollover import judged
from tests.contract.world import ANN, BEN, Clock, Dice, World, import_customers
from tests.installation import found_installation

SIGNATURES = {
    KeyAlgorithm.P256: SignatureAlgorithmOID.ECDSA_WITH_SHA256,
    KeyAlgorithm.P384: SignatureAlgorithmOID.ECDSA_WITH_SHA384,
    KeyAlgorithm.RSA2048: SignatureAlgorithmOID.RSA_WITH_SHA256,
    KeyAlgorithm.RSA3072: SignatureAlgorithmOID.RSA_WITH_SHA256,
    KeyAlgorithm.RSA4096: SignatureAlgorithmOID.RSA_WITH_SHA256,
}


KINDS = [
    KeyAlgorithm.P256,
    KeyAlgorithm.P384,
    KeyAlgorithm.RSA2048,
    pytest.param(KeyAlgorithm.RSA3072, marks=pytest.mark.soak),  # its keys take long, and it is as the other two
    KeyAlgorithm.RSA4096,
]


@pytest.fixture(scope="module", params=KINDS, ids=str)
def founded(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[KeyAlgorithm, Settings]:
    """An installation whose three CA keys are of this kind, made once."""
    settings = Settings(mode="demo", data=tmp_path_factory.mktemp(request.param))
    asyncio.run(found_installation(settings, Clock(), Dice(Random(1)), request.param))
    return request.param, settings


async def test_what_a_ca_of_each_kind_signs_is_what_strangers_accept(founded, tmp_path: Path) -> None:
    algorithm, settings = founded
    world = await World.opened(settings, Clock(), Dice(Random(2)))
    services = world.services
    await import_customers(services)
    for customer in (ANN, BEN):
        await world.to_active(customer)
    await world.revoked(BEN, Reason.COMPROMISED)
    await world.work()
    linter = Linter()
    for customer, told, ends in ((ANN, ": good", ": OK\n"), (BEN, ": revoked", "verification failed\n")):
        certificate = world.held[customer].certificate
        by_ocsp, by_list = await judged(world, certificate, tmp_path)
        assert told in by_ocsp
        assert by_list.endswith(ends)
        answer = (tmp_path / "answer.der").read_bytes()
        assert ocsp_lint.findings(answer) == []
        for der in (certificate.der, *certificate.chain, services.ca.responder.key.certificate_der):
            assert linter.findings_certificate(der) == ()
            assert x509.load_der_x509_certificate(der).signature_algorithm_oid == SIGNATURES[algorithm]
    for name in ("crl.pem", "root-crl.pem"):
        crl = x509.load_pem_x509_crl((tmp_path / name).read_bytes())
        assert linter.findings_crl(crl.public_bytes(Encoding.DER)) == ()
    above = (
        services.ca.authority.view.certificate_der,
        services.ca.authority.chain[-1],
        services.ca.responder.key.certificate_der,
    )
    assert {kind_of(public_key(spki_der(der))) for der in above} == {algorithm}
    await world.close()
