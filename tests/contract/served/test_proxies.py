"""Portal and status address behind nginx, Apache and HAProxy with the sample files, asked by strangers' tools."""

import asyncio
import base64
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from random import Random

import httpx2
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509 import ocsp

from chopmark.app.foundation import SystemClock
from chopmark.app.settings import Settings
from chopmark.va.timestamp import PER_NETWORK
from tests.contract.proxies import KINDS, changed, proxy
from tests.contract.world import ANN, Clock, Dice, World, import_customers
from tests.installation import found_installation
from tests.journey.counter import free_port
from tests.machine import program


@dataclass
class Site:
    """A running server; `record`, `ca`, `root` are PEM files, `question` is an OCSP request about the record."""

    folder: Path
    port: int
    question: bytes

    @property
    def record(self) -> Path:
        return self.folder / "leaf.pem"


def _pem(path: Path, der: bytes) -> None:
    path.write_bytes(x509.load_der_x509_certificate(der).public_bytes(Encoding.PEM))


async def _found(folder: Path) -> bytes:
    settings = Settings(mode="demo", data=folder)
    clock, dice = Clock(SystemClock().now().replace(microsecond=0)), Dice(Random(5))
    await found_installation(settings, clock, dice)
    world = await World.opened(settings, clock, dice)
    services = world.services
    await import_customers(services)
    await world.to_active(ANN)
    for job in ("timestamp-key", "publish"):
        await world.once(job)
    record, issuer = world.held[ANN].certificate.der, services.ca.authority.view.certificate_der
    _pem(folder / "leaf.pem", record)
    _pem(folder / "ca.pem", issuer)
    _pem(folder / "root.pem", services.ca.authority.chain[-1])
    await services.close()
    asked = ocsp.OCSPRequestBuilder().add_certificate(
        x509.load_der_x509_certificate(record), x509.load_der_x509_certificate(issuer), hashes.SHA1()
    )
    asked = asked.add_extension(x509.OCSPNonce(b"n" * 16 + b"\xff" * 8), critical=False)
    return asked.build().public_bytes(Encoding.DER)


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    folder = tmp_path_factory.mktemp("site")
    made = Site(folder, free_port(), asyncio.run(_found(folder)))
    key = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-noenc", "-days", "2")
    words = ("req", "-x509", *key, "-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost")
    files = ("-keyout", "server.key", "-out", "server.pem")
    subprocess.run([program("openssl"), *words, *files], cwd=folder, check=True, capture_output=True)
    both = (folder / "server.pem").read_text() + (folder / "server.key").read_text()
    (folder / "both.pem").write_text(both)
    environment = {
        **os.environ,
        "CHOPMARK_DATA": str(folder),
        "CHOPMARK_SECRETS_DIR": str(folder / "secrets"),
        "CHOPMARK_PORT": str(made.port),
        "CHOPMARK_PUBLIC_URL": "https://localhost",
        "CHOPMARK_STATUS_URL": "http://127.0.0.1:8080",
        "CHOPMARK_PROXY__IN_FRONT": "yes",
        "CHOPMARK_PROXY__NETWORKS": "127.0.0.1",
        "CHOPMARK_CLOCK_KEPT_BY": "host",
    }
    with (folder / "server.log").open("w") as log:
        command = [sys.executable, "-m", "chopmark", "serve", "--workers", "1"]
        server = subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=log, text=True)
    try:
        assert server.stdout is not None
        ready = next((line for line in server.stdout if line.startswith("ready ")), None)
        assert ready is not None, (folder / "server.log").read_text()
        yield made
    finally:
        server.kill()
        server.wait(20)
        if server.stdout is not None:
            server.stdout.close()


@dataclass
class Front:
    """A proxy in front of the site: the portal's port and the status address's."""

    site: Site
    kind: str
    https: int
    http: int

    def curl(self, url: str, *words: str | Path) -> tuple[int, bytes]:
        """Ask with curl, with the path as it is; return the status and the body."""
        body = self.site.folder / "body"
        body.write_bytes(b"")
        given = ("-sS", "--path-as-is", "--cacert", self.site.folder / "server.pem", "-o", body, "-w", "%{http_code}")
        made = subprocess.run([program("curl"), *given, *words, url], capture_output=True, text=True, check=False)
        return int(made.stdout or 0), body.read_bytes()

    def openssl(self, *words: str | Path | int) -> str:
        """Run openssl in the site's folder."""
        command = [str(program("openssl")), *map(str, words)]
        done = subprocess.run(command, cwd=self.site.folder, capture_output=True, text=True, check=False)
        return done.stdout + done.stderr

    @property
    def status(self) -> str:
        return f"http://localhost:{self.http}"


@pytest.fixture(scope="module", params=KINDS)
def front(request: pytest.FixtureRequest, site: Site, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Front]:
    with _in_front(request.param, site, tmp_path_factory.mktemp(request.param)) as made:
        yield made


@contextmanager
def _in_front(kind: str, site: Site, folder: Path) -> Iterator[Front]:
    made = Front(site, kind, free_port(), free_port())
    ours = {"127.0.0.1:8080": f"127.0.0.1:{site.port}"}
    portal, status = dict(ours), dict(ours)
    if kind == "nginx":
        portal |= {"counter.example.com": "localhost", "/etc/nginx/chopmark/counter.crt": f"{site.folder}/server.pem"}
        portal |= {"/etc/nginx/chopmark/counter.key": f"{site.folder}/server.key"}
        portal |= {"listen 443 ssl": f"listen 127.0.0.1:{made.https} ssl", "listen 80": f"listen 127.0.0.2:{made.http}"}
        status |= {"listen 80": f"listen 127.0.0.1:{made.http}", "pki.example.com": "localhost"}
    elif kind == "apache":
        portal |= {"*:80": f"127.0.0.2:{made.http}", "*:443": f"*:{made.https}", "counter.example.com": "localhost"}
        portal |= {"/etc/apache2/chopmark/counter.crt": f"{site.folder}/server.pem"}
        portal |= {"/etc/apache2/chopmark/counter.key": f"{site.folder}/server.key"}
        status |= {"*:80": f"*:{made.http}", "pki.example.com": "localhost"}
    else:
        portal |= {"bind :443": f"bind 127.0.0.1:{made.https}"}
        portal |= {"/etc/haproxy/chopmark/counter.pem": f"{site.folder}/both.pem"}
        status |= {"bind :80": f"bind 127.0.0.1:{made.http}"}
    end = "cfg" if kind == "haproxy" else "conf"
    samples = {
        "portal": changed(f"{kind}-portal.{end}", portal),
        "status": changed(f"{kind}-status.{end}", status),
    }
    with proxy(kind, folder, samples, (made.https, made.http)):
        yield made


def test_the_portal_is_there_over_https_with_its_own_headers(front: Front) -> None:
    head = front.site.folder / "head"
    status, body = front.curl(f"https://localhost:{front.https}/sign-in", "-D", head)
    assert (status, b"</html>" in body) == (200, True)
    assert "strict-transport-security" in head.read_text().lower()
    assert front.curl(f"https://localhost:{front.https}/static/../sign-in")[0] in (200, 400, 404)


def test_openssl_asks_by_post_and_verifies_the_answer(front: Front) -> None:
    words = ("ocsp", "-issuer", "ca.pem", "-cert", "leaf.pem", "-CAfile", "root.pem", "-url")
    said = front.openssl(*words, f"{front.status}/ocsp/investor")
    assert "Response verify OK" in said, said
    assert "leaf.pem: good" in said


@pytest.mark.parametrize("before", ["/ocsp/investor/", "//ocsp/investor/", "/ocsp/investor//"])
@pytest.mark.parametrize("how", ["as it is", "escaped"])
def test_a_request_in_the_address_comes_through_with_its_slashes(front: Front, before: str, how: str) -> None:
    """The nonce is slashes in base64: it comes back whole only when the proxy has left them as they were."""
    text = base64.b64encode(front.site.question).decode()
    assert "//" in text
    spelt = text if how == "as it is" else re.sub(r"[+/=]", lambda found: f"%{ord(found[0]):02X}", text)
    status, body = front.curl(f"{front.status}{before}{spelt}")
    assert status == 200, body
    (front.site.folder / "answer.der").write_bytes(body)
    (front.site.folder / "question.der").write_bytes(front.site.question)
    files = ("-no_nonce", "-reqin", "question.der", "-respin", "answer.der", "-issuer", "ca.pem", "-cert", "leaf.pem")
    said = front.openssl("ocsp", *files, "-CAfile", "root.pem")
    assert "Response verify OK" in said, said
    assert "leaf.pem: good" in said
    assert "nonce" not in said.lower(), "openssl compares it"


def test_lists_certificates_and_stamps_are_at_the_status_address_and_nothing_else(front: Front) -> None:
    status, body = front.curl(f"{front.status}/pki/investor-0.crl")
    assert status == 200
    (front.site.folder / "list.crl").write_bytes(body)
    assert "verify OK" in front.openssl("crl", "-inform", "DER", "-in", "list.crl", "-noout", "-CAfile", "ca.pem")
    (front.site.folder / "trade").write_bytes(b"a trade")
    front.openssl("ts", "-query", "-data", "trade", "-sha256", "-cert", "-out", "query.tsq")
    query = ("--data-binary", f"@{front.site.folder / 'query.tsq'}", "-H", "Content-Type: application/timestamp-query")
    status, body = front.curl(f"{front.status}/tsa", *query)
    assert status == 200
    (front.site.folder / "reply.tsr").write_bytes(body)
    files = ("-queryfile", "query.tsq", "-in", "reply.tsr", "-CAfile", "root.pem")
    assert "Verification: OK" in front.openssl("ts", "-verify", *files)
    for path in (
        "/",
        "/sign-in",
        "/health/live",
        "/health/ready",
        "//health/live",
        "/pki/../sign-in",
        "/api/v1/status",
    ):
        assert front.curl(f"{front.status}{path}")[0] in (400, 403, 404), path


def test_the_machine_s_health_is_not_told_outside(front: Front) -> None:
    for path in ("/health/live", "/health/ready"):
        assert front.curl(f"https://localhost:{front.https}{path}")[0] == 404


def test_who_asks_is_counted_by_the_address_that_the_proxy_sees(front: Front) -> None:
    """A header that a caller writes changes nothing: the network's rate limit is used up, and another's is not."""
    number = KINDS.index(front.kind) + 1
    content = b"\x30\x00"
    used, kind = f"127.{number}.1.1", {"Content-Type": "application/timestamp-query"}
    spoken = dict(kind)
    with httpx2.Client(transport=httpx2.HTTPTransport(local_address=used)) as client:
        for step in range(PER_NETWORK):
            spoken["X-Forwarded-For"] = f"192.0.{step}.1"
            assert client.post(f"http://127.0.0.1:{front.http}/tsa", content=content, headers=spoken).status_code == 200
        last = client.post(f"http://127.0.0.1:{front.http}/tsa", content=content, headers=spoken)
    assert (last.status_code, "Too many requests" in last.text, "retry-after" in last.headers) == (429, True, True)
    with httpx2.Client(transport=httpx2.HTTPTransport(local_address=f"127.{number}.2.1")) as client:
        other = client.post(f"http://127.0.0.1:{front.http}/tsa", content=content, headers=kind)
    assert other.status_code == 200
