"""From the customer's yes to the world: a revocation is on the list and in OCSP answers within five seconds (I25)."""

import time
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509 import ocsp

from tests.contract.served.serving import Served, serve, session
from tests.contract.world import ANN, World, world_fixture

world = world_fixture(("postgresql",))
VISIBLE_WITHIN_S = 5.0


async def says(served: Served, question: bytes) -> ocsp.OCSPCertStatus:
    answer = await served.request("POST", "/ocsp/investor", content=question)
    return ocsp.load_der_ocsp_response(answer.content).certificate_status


async def listed(served: Served, address: str, serial: int) -> bool:
    answer = await served.request("GET", address)
    if answer.status_code != 200:
        return False
    found = x509.load_der_x509_crl(answer.content)
    return found.get_revoked_certificate_by_serial_number(serial) is not None


@pytest.mark.postgres
async def test_i25_a_revocation_is_on_the_list_and_in_answers_within_five_seconds(world: World, tmp_path: Path) -> None:
    await world.to_active(ANN)
    errand = await world.to_revoke(ANN)
    await errand.send()
    await errand.answer(await errand.code())
    token, terms = await session(world, ANN), await errand.terms()
    await world.work()
    record = x509.load_der_x509_certificate(world.held[ANN].certificate.der)
    issuer = x509.load_der_x509_certificate(world.services.ca.authority.view.certificate_der)
    (point,) = record.extensions.get_extension_for_class(x509.CRLDistributionPoints).value
    address = str((point.full_name or [])[0].value).partition("8080")[2]
    builder = ocsp.OCSPRequestBuilder().add_certificate(record, issuer, hashes.SHA256())
    question = builder.build().public_bytes(Encoding.DER)
    await world.services.close()
    served = serve(world, tmp_path)
    try:
        for name in ("server", "worker"):
            served.start(name)
        await served.ready()
        visit = await served.visit(token)
        while await says(served, question) is not ocsp.OCSPCertStatus.GOOD or await listed(served, address, 0):
            continue
        confirmed = await visit.confirm(errand.id, terms)
        assert confirmed.status_code == 200, confirmed.text
        assert confirmed.json()["state"] == "done"
        told = time.monotonic()
        begun, shown = told, False
        while not shown:
            assert begun - told < VISIBLE_WITHIN_S, "who asks so late must be told"
            await served.leave_alone("server")
            begun = time.monotonic()
            shown = (
                await listed(served, address, record.serial_number)
                and await says(served, question) is ocsp.OCSPCertStatus.REVOKED
            )
    finally:
        await served.close()
