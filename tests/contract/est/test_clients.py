"""Clients that none of us wrote, at a running EST door: curl with openssl, and BouncyCastle's.

Each at both places where TLS may end: in our own process, and at nginx with the documented configuration.
"""

import contextlib
import socket
import subprocess
from base64 import b64decode
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from urllib.parse import quote

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import BestAvailableEncryption, Encoding, pkcs12

from chopmark.core.types import Operation
from tests.contract.est.site import Answer, Door, Site, not_imported, running
from tests.contract.programs import Program
from tests.contract.world import ANN, BEN, CEO, DAN, EVE, FAY, GUS, World
from tests.machine import missing, program

HERE = Path(__file__).parent
JARS = [Path("/usr/share/java") / name for name in ("bcpkix.jar", "bcprov.jar", "bcutil.jar")]
RENEWABLE = timedelta(days=350)
CUSTOMERS = {"direct": (ANN, BEN, CEO, DAN), "nginx": (EVE, FAY, GUS)}
"""Each door has customers of its own: one live order each. The first two hold a certificate that may be renewed."""


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Site:
    made = Site.make(tmp_path_factory.mktemp("site"))

    async def begin(world: World) -> None:
        for customer in (ANN, BEN, EVE, FAY):
            await world.to_active(customer)

    made.do(begin, ago=RENEWABLE)
    return made


@pytest.fixture(scope="module", params=["direct", "nginx"])
def door(request: pytest.FixtureRequest, site: Site, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Door]:
    kind: str = request.param
    with running(site, kind, tmp_path_factory.mktemp(kind)) as started:
        yield started


def openssl(*words: object, given: bytes = b"", right: bool = True) -> bytes:
    made = subprocess.run([program("openssl"), *map(str, words)], input=given, capture_output=True, check=False)
    assert (made.returncode == 0) is right, made.stderr.decode()
    return made.stdout


def certificates(answer: Answer) -> list[x509.Certificate]:
    """What openssl finds in a certs-only answer."""
    assert answer.status == 200, (answer.body, answer.said)
    assert answer.headers["content-type"] == "application/pkcs7-mime; smime-type=certs-only"
    assert "content-transfer-encoding" not in answer.headers
    der = openssl("base64", "-d", "-A", given=answer.body)
    printed = openssl("pkcs7", "-inform", "DER", "-print_certs", given=der)
    return x509.load_pem_x509_certificates(printed)


def verified(site: Site, certificate: x509.Certificate) -> bool:
    """Whether openssl finds the way from the certificate to our root."""
    path = site.folder / "issued.pem"
    path.write_bytes(certificate.public_bytes(Encoding.PEM))
    said = openssl(
        "verify", "-x509_strict", "-CAfile", site.folder / "root.pem", "-untrusted", site.folder / "ca.pem", path
    )
    return said.strip().endswith(b"OK")


def test_anybody_may_read_the_ca_s_certificates(site: Site, door: Door) -> None:
    found = certificates(door.curl("cacerts"))
    known = x509.load_pem_x509_certificates((site.folder / "ca.pem").read_bytes())
    assert {one.public_bytes(Encoding.DER) for one in found} == {one.public_bytes(Encoding.DER) for one in known}
    wanted = door.curl("investor/csrattrs", tls="1.2")
    assert (wanted.status, wanted.headers["content-type"]) == (200, "application/csrattrs")
    assert b"prime256v1" in openssl("asn1parse", "-inform", "DER", given=b64decode(wanted.body))


def test_curl_and_openssl_enrol_and_prove_the_certificate(site: Site, door: Door) -> None:
    customer = CUSTOMERS[door.kind][2]
    openssl("ecparam", "-name", "prime256v1", "-genkey", "-noout", "-out", site.folder / "own.key")
    csr = openssl("req", "-new", "-key", site.folder / "own.key", "-subj", "/CN=anything", "-outform", "DER")
    order = site.do(lambda world: Program.begun(world, customer=customer))
    assert order.given is not None
    basic = ("-u", f"{order.given.user}:{order.given.secret.reveal()}")
    waiting = door.send("simpleenroll", csr, *basic)
    assert (waiting.status, waiting.headers["retry-after"]) == (202, "15")
    assert b"approve" in waiting.body
    order.csr = csr
    approve(site, order)
    (made,) = certificates(door.send("simpleenroll", csr, *basic))
    assert verified(site, made)
    (site.folder / "own.pem").write_bytes(made.public_bytes(Encoding.PEM))
    assert openssl("x509", "-in", site.folder / "own.pem", "-pubkey", "-noout") == openssl(
        "pkey", "-in", site.folder / "own.key", "-pubout"
    )
    own = ("--cert", site.folder / "own.pem", "--key", site.folder / "own.key")
    (proved,) = certificates(door.send("simplereenroll", csr, *own))
    assert proved == made
    (certificate,) = site.do(lambda world: world.services.ra.context.certificates.all(order.errand.caller.customer))
    assert certificate.state.value == "active"


def test_curl_renews_with_the_certificate_it_has(site: Site, door: Door) -> None:
    customer = CUSTOMERS[door.kind][0]
    old = site.held[customer]
    shown = door.shown("old", old.key, old.certificate.der)
    own = old.key.request()
    refused = door.send("simplereenroll", Program.renewing(old)[1], *shown)
    assert (refused.status, b"begin the renewal at the portal" in refused.body) == (403, True)
    order = site.do(lambda world: Program.begun(world, Operation.REKEY, customer))
    assert door.send("simplereenroll", order.csr, *shown).status == 202
    assert door.send("simplereenroll", own, *shown).status == 409, "a second key of one order"
    approve(site, order)
    (made,) = certificates(door.send("simplereenroll", order.csr, *shown))
    assert verified(site, made)
    assert site.state(old.certificate.serial) == "active"
    new = door.shown("new", order.errand.key, made.public_bytes(Encoding.DER))
    assert certificates(door.send("simplereenroll", order.csr, *new, tls="1.2")) == [made]
    assert site.state(old.certificate.serial) == "superseded"
    ended = door.send("simplereenroll", order.csr, *shown)
    assert (ended.status, b"not valid any more" in ended.body) == (403, True)


def test_a_header_that_a_caller_writes_is_no_certificate(site: Site, door: Door) -> None:
    held = site.held[CUSTOMERS[door.kind][1]]
    csr = Program.renewing(held)[1]
    pem = quote((site.folder / "ca.pem").read_text())
    own = quote(x509.load_der_x509_certificate(held.certificate.der).public_bytes(Encoding.PEM).decode())
    for name in ("X-Client-Certificate", "x-client-certificate", "X_Client_Certificate"):
        for value in (own, pem):
            answer = door.send("simplereenroll", csr, "-H", f"{name}: {value}")
            assert (answer.status, b"has not shown it" in answer.body) == (403, True), (name, answer.body)


@pytest.mark.parametrize("tls", ["1.2", "1.3"])
def test_a_certificate_of_another_ca_is_refused_by_name(site: Site, door: Door, tls: str) -> None:
    foreign = ("--cert", site.folder / "foreign.pem", "--key", site.folder / "foreign.key")
    answer = door.curl("cacerts", *foreign, tls=tls)
    if door.kind == "nginx":
        assert (answer.status, b"SSL certificate error" in answer.body) == (400, True)
    else:
        assert answer.exit != 0
        assert "unknown ca" in answer.said, answer.said
    assert door.curl("cacerts").status == 200


def test_a_certificate_of_the_ca_before_gets_through_nginx_to_the_counter_and_not_through_a_door_without_that_ca(
    site: Site, door: Door
) -> None:
    if door.kind == "nginx":
        not_imported(site, door)
    else:
        answer = door.curl(
            "cacerts", "--cert", site.folder / "old-customer.pem", "--key", site.folder / "old-customer.key", tls="1.2"
        )
        assert "unknown ca" in answer.said, answer.said


def test_a_connection_that_is_no_tls_gets_an_alert_and_ends_when_it_goes_on(site: Site, door: Door) -> None:
    with socket.create_connection(("localhost", door.port), timeout=20) as raw:
        raw.sendall(b"GET / HTTP/1.0\r\n\r\n" if door.kind == "nginx" else b"\x16\x03\x01\x00\x04junk")
        first = raw.recv(7)
        assert first.startswith(b"HTTP/1." if door.kind == "nginx" else b"\x15\x03")
        with contextlib.suppress(ConnectionError):
            raw.sendall(b"x" * 200_000)
            while raw.recv(1000):
                pass


# BouncyCastle ---------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def compiled(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The class path of BouncyCastle and of our program that calls its client."""
    if not all(jar.exists() for jar in JARS):
        missing("The library libbcpkix-java")
    folder, path = tmp_path_factory.mktemp("java"), ":".join(map(str, JARS))
    subprocess.run([program("javac"), "-cp", path, "-d", folder, HERE / "EstClient.java"], check=True)
    return f"{folder}:{path}"


@dataclass(frozen=True)
class Bouncy:
    """BouncyCastle's EST client at a door."""

    door: Door
    path: str

    def __call__(self, *words: object) -> list[str]:
        java = (program("java"), "-Xshare:auto", "-XX:TieredStopAtLevel=1", "-cp", self.path, "EstClient")
        given = (self.door.host, self.door.site.folder / "server-root.pem", *words)
        made = subprocess.run([str(word) for word in (*java, *given)], capture_output=True, text=True, check=False)
        assert made.returncode == 0, made.stderr
        return made.stdout.splitlines()


@pytest.fixture
def bouncy(door: Door, compiled: str) -> Bouncy:
    return Bouncy(door, compiled)


@pytest.mark.parametrize("door", ["direct"], indirect=True)
def test_bouncycastle_reads_the_ca_s_certificates_and_what_a_request_shall_say(site: Site, bouncy: Bouncy) -> None:
    read = bouncy("read")
    known = x509.load_pem_x509_certificates((site.folder / "ca.pem").read_bytes())
    found = {b64decode(line.split()[1]) for line in read if line.startswith("ca ")}
    assert found == {one.public_bytes(Encoding.DER) for one in known}
    assert "wanted 1.2.840.10045.4.3.2" in read


def approve(site: Site, order: Program) -> None:
    """The customer approves the program's key at the portal."""

    async def steps(world: World) -> None:
        order.errand.world = world
        await order.approve()

    site.do(steps)


def fetched(lines: list[str]) -> x509.Certificate:
    (line,) = lines
    return x509.load_der_x509_certificate(b64decode(line.removeprefix("certificate ")))


def test_bouncycastle_renews(site: Site, door: Door, bouncy: Bouncy) -> None:
    customer = CUSTOMERS[door.kind][1]
    held, csr = site.held[customer], site.folder / "bouncy.csr"
    order = site.do(lambda world: Program.begun(world, Operation.REKEY, customer))
    csr.write_bytes(order.csr)
    p12 = site.folder / "bouncy.p12"
    certificate = x509.load_der_x509_certificate(held.certificate.der)
    protection = BestAvailableEncryption(b"changeit")
    p12.write_bytes(pkcs12.serialize_key_and_certificates(b"old", held.key.private_key, certificate, None, protection))
    assert bouncy("reenrol", csr, p12, "changeit") == ["wait 15"]
    approve(site, order)
    made = fetched(bouncy("reenrol", csr, p12, "changeit"))
    assert verified(site, made)
    assert made.public_key() == order.errand.key.private_key.public_key()


@pytest.mark.parametrize("door", ["direct"], indirect=True)
def test_bouncycastle_enrols(site: Site, door: Door, bouncy: Bouncy) -> None:
    customer, csr = CUSTOMERS[door.kind][3], site.folder / "first.csr"
    order = site.do(lambda world: Program.begun(world, customer=customer))
    csr.write_bytes(order.csr)
    assert order.given is not None
    credential = (order.given.user, order.given.secret.reveal())
    assert bouncy("enrol", csr, order.errand.id, "guessed")[0].startswith("refused 401 ")
    assert bouncy("enrol", csr, *credential) == ["wait 15"]
    approve(site, order)
    made = fetched(bouncy("enrol", csr, *credential))
    assert verified(site, made)
    assert made.public_key() == order.errand.key.private_key.public_key()
