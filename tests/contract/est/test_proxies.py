"""The EST door behind Apache and HAProxy with their sample files; nginx is in test_clients.py with all clients."""

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from urllib.parse import quote

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from tests.contract.est.site import Door, Site, not_imported, running
from tests.contract.est.test_clients import approve, certificates, openssl, verified
from tests.contract.programs import Program
from tests.contract.world import ANN, BEN, CEO, DAN, World

CUSTOMERS = {"apache": (ANN, BEN), "haproxy": (CEO, DAN)}
"""The second of each holds a certificate."""


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Site:
    made = Site.make(tmp_path_factory.mktemp("site"))

    async def begin(world: World) -> None:
        for _, holder in CUSTOMERS.values():
            await world.to_active(holder)

    made.do(begin, ago=timedelta(days=350))
    return made


@pytest.fixture(scope="module", params=list(CUSTOMERS))
def door(request: pytest.FixtureRequest, site: Site, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Door]:
    with running(site, request.param, tmp_path_factory.mktemp(request.param)) as started:
        yield started


def test_curl_and_openssl_enrol_and_prove_the_certificate_behind_each_proxy(site: Site, door: Door) -> None:
    customer, _ = CUSTOMERS[door.kind]
    key, pem = site.folder / f"{door.kind}.key", site.folder / f"{door.kind}.pem"
    openssl("ecparam", "-name", "prime256v1", "-genkey", "-noout", "-out", key)
    csr = openssl("req", "-new", "-key", key, "-subj", "/CN=anything", "-outform", "DER")
    order = site.do(lambda world: Program.begun(world, customer=customer))
    assert order.given is not None
    basic = ("-u", f"{order.given.user}:{order.given.secret.reveal()}")
    assert door.send("simpleenroll", csr, *basic).status == 202
    order.csr = csr
    approve(site, order)
    (made,) = certificates(door.send("simpleenroll", csr, *basic))
    assert verified(site, made)
    pem.write_bytes(made.public_bytes(Encoding.PEM))
    own = ("--cert", pem, "--key", key)
    for tls in ("1.2", "1.3"):
        assert certificates(door.send("simplereenroll", csr, *own, tls=tls)) == [made]
    (certificate,) = site.do(lambda world: world.services.ra.context.certificates.all(order.errand.caller.customer))
    assert certificate.state.value == "active"


def test_a_header_that_a_caller_writes_is_taken_away_by_each_proxy(site: Site, door: Door) -> None:
    _, customer = CUSTOMERS[door.kind]
    held = site.held[customer]
    csr = Program.renewing(held)[1]
    own = x509.load_der_x509_certificate(held.certificate.der).public_bytes(Encoding.PEM).decode()
    for name in ("X-Client-Certificate", "x-client-certificate", "X_Client_Certificate"):
        answer = door.send("simplereenroll", csr, "-H", f"{name}: {quote(own)}")
        assert (answer.status, b"has not shown it" in answer.body) == (403, True), (name, answer.body)
    spoken = door.send("simplereenroll", csr, *door.shown("held", held.key, held.certificate.der))
    assert (spoken.status, b"begin the renewal at the portal" in spoken.body) == (403, True), spoken.body


def test_a_certificate_of_another_ca_ends_at_each_proxy(site: Site, door: Door) -> None:
    foreign: tuple[str | Path, ...] = ("--cert", site.folder / "foreign.pem", "--key", site.folder / "foreign.key")
    answer = door.curl("cacerts", *foreign, tls="1.2")
    assert answer.status != 200
    assert "unknown ca" in answer.said, answer.said
    assert door.curl("cacerts").status == 200


def test_a_certificate_of_the_ca_before_gets_through_each_proxy_to_the_counter(site: Site, door: Door) -> None:
    not_imported(site, door)


def test_nothing_but_est_is_behind_this_address(door: Door) -> None:
    for path in ("../../health/live", "../../sign-in"):
        assert door.curl(path).status in (403, 404)
