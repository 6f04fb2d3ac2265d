"""An installation with its EST door as a process of its own: ending TLS itself, or behind nginx as documented.

The customers' own steps are taken in the test's process, on the same database.
"""

import asyncio
import os
import re
import shutil
import ssl
import subprocess
import sys
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from random import Random
from typing import Any, TypeVar

from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from chopmark.client.signing import ClientKey
from chopmark.main import SystemClock, build, found_ca
from chopmark.settings import Settings
from chopmark.store import db
from chopmark.words import Serial
from tests.contract.world import ROWS, Clock, Dice, Held, World
from tests.journey.counter import free_port
from tests.machine import missing, program

T = TypeVar("T")
CONF = Path(__file__).parents[3] / "docs" / "nginx-est.conf"
NGINX = """{user} worker_processes 1; pid {folder}/nginx.pid; error_log {folder}/nginx.log warn;
events {{ worker_connections 64; }}
http {{
  access_log off; client_body_temp_path {folder}; proxy_temp_path {folder};
  fastcgi_temp_path {folder}; uwsgi_temp_path {folder}; scgi_temp_path {folder};
  include {folder}/est.conf;
}}
"""


@dataclass
class Site:
    """The installation's files; `at` is the machine's time when it was made, `dice` go on from call to call."""

    folder: Path
    at: datetime
    dice: Dice = field(default_factory=lambda: Dice(Random(7)))
    held: dict[str, Held] = field(default_factory=dict)

    @classmethod
    def make(cls, folder: Path) -> "Site":
        """Found the CA two years ago, take the customers in, and make the server's own certificate with openssl."""
        site = cls(folder, SystemClock().now().replace(microsecond=0))
        asyncio.run(site._found())
        site._server_certificate()
        return site

    @property
    def settings(self) -> Settings:
        return Settings(mode="demo", data=self.folder, database=f"sqlite:///{self.folder / 'house.db'}")

    async def _found(self) -> None:
        clock = Clock(self.at - timedelta(days=700))
        await db.upgrade(self.settings.database_url)
        assert await found_ca(self.settings, clock, self.dice)
        house = await build(self.settings, clock, self.dice)
        report = await house.intake.add(ROWS.values(), "alice")
        assert report.imported == len(ROWS)
        (self.folder / "ca.pem").write_text(
            "".join(_pem(der) for der in {house.authority.view.certificate_der, *house.authority.chain})
        )
        (self.folder / "root.pem").write_text(_pem(house.authority.chain[-1]))
        await house.close()

    def _server_certificate(self) -> None:
        openssl = program("openssl")

        def made(*words: str) -> None:
            subprocess.run([openssl, *words], cwd=self.folder, check=True, capture_output=True)

        key = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-noenc", "-days", "2")
        made("req", "-x509", *key, "-subj", "/CN=server root", "-keyout", "server-root.key", "-out", "server-root.pem")
        signed = ("-CA", "server-root.pem", "-CAkey", "server-root.key", "-addext", "subjectAltName=DNS:localhost")
        made("req", "-x509", *key, *signed, "-subj", "/CN=localhost", "-keyout", "server.key", "-out", "server.pem")
        made("req", "-x509", *key, "-subj", "/CN=C1", "-keyout", "foreign.key", "-out", "foreign.pem")

    def do(self, doing: Callable[[World], Awaitable[T]], ago: timedelta = timedelta(0)) -> T:
        """Let customers act, now or some time ago."""

        async def inside() -> T:
            clock = Clock(SystemClock().now() - ago)
            house = await build(self.settings, clock, self.dice)
            try:
                return await doing(World(house, clock, self.dice, self.settings.database_url, self.held))
            finally:
                await house.close()

        return asyncio.run(inside())

    def state(self, serial: Serial) -> str:
        """The state of a certificate in the RA's records."""
        return self.do(lambda world: world.holding_of(serial)).state.value


def _pem(der: bytes) -> str:
    return ssl.DER_cert_to_PEM_cert(der)


@dataclass(frozen=True)
class Answer:
    """What curl said: its exit code, HTTP status (0 for none), headers in lower case, body and messages."""

    exit: int
    status: int
    headers: dict[str, str]
    body: bytes
    said: str


@dataclass(frozen=True)
class Door:
    """A running EST door."""

    site: Site
    port: int
    kind: str
    pid: int = 0

    @property
    def host(self) -> str:
        return f"localhost:{self.port}"

    def curl(self, operation: str, *words: str | Path, tls: str = "1.3") -> Answer:
        """Ask with curl; it trusts the server's own root."""
        head, body = self.site.folder / "head", self.site.folder / "body"
        for path in (head, body):
            path.write_bytes(b"")
        url = f"https://{self.host}/.well-known/est/{operation}"
        limits = ("--tls-max", tls, "--max-time", "20", "-sS", "-H", "Accept-Language: en")
        files = ("--cacert", self.site.folder / "server-root.pem", "-D", head, "-o", body)
        made = subprocess.run(
            [program("curl"), *limits, *files, *words, url], capture_output=True, text=True, check=False
        )
        lines = head.read_text("latin-1").splitlines()
        found = re.match(r"HTTP/\S+ (\d+)", lines[0]) if lines else None
        headers = dict(line.lower().split(": ", 1) for line in lines[1:] if ": " in line)
        return Answer(made.returncode, int(found[1]) if found else 0, headers, body.read_bytes(), made.stderr)

    def send(self, operation: str, csr: bytes, *words: str | Path, **how: Any) -> Answer:
        """Send a request, DER, as base64 by openssl."""
        encoded = subprocess.run([program("openssl"), "base64"], input=csr, capture_output=True, check=True).stdout
        path = self.site.folder / "csr.b64"
        path.write_bytes(encoded)
        kind = ("-H", "Content-Type: application/pkcs10", "-H", "Content-Transfer-Encoding: base64")
        return self.curl(operation, "--data-binary", f"@{path}", *kind, *words, **how)

    def shown(self, name: str, key: ClientKey, certificate: bytes) -> tuple[str | Path, ...]:
        """curl's words for a client certificate."""
        pem, secret = self.site.folder / f"{name}.pem", self.site.folder / f"{name}.key"
        pem.write_text(_pem(certificate))
        plain = key._key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
        secret.write_bytes(plain)
        return ("--cert", pem, "--key", secret)


@contextmanager
def running(site: Site, kind: str, folder: Path, **more: str) -> Iterator[Door]:
    """Run the door: `direct`, or behind `nginx` with the documented configuration."""
    port, socket = free_port(), folder / "door.sock"
    how = {
        "CHOPMARK_EST_CERTIFICATE": str(site.folder / "server.pem"),
        "CHOPMARK_EST_KEY": str(site.folder / "server.key"),
    }
    if kind == "nginx":
        how = {"CHOPMARK_EST_SOCKET": str(socket)}
    environment = {
        **os.environ,
        **how,
        "CHOPMARK_MODE": "demo",
        "CHOPMARK_DATA": str(site.folder),
        "CHOPMARK_DATABASE": site.settings.database,
        "CHOPMARK_EST_URL": f"https://localhost:{port}",
        "CHOPMARK_EST_PORT": str(port),
        **more,
    }
    processes: list[subprocess.Popen[str]] = []
    try:
        with (folder / "est.log").open("w") as log:
            command = [sys.executable, "-m", "chopmark", "est"]
            door = subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=log, text=True)
        processes.append(door)
        assert door.stdout is not None
        ready = next((line for line in door.stdout if line.startswith("ready ")), None)
        assert ready is not None, (folder / "est.log").read_text()
        if kind == "direct":
            yield Door(site, port, kind, door.pid)
        else:
            with _nginx(site, folder, port, socket):
                yield Door(site, port, kind, door.pid)
    finally:
        for process in processes:
            process.kill()
            process.wait(20)
            if process.stdout is not None:
                process.stdout.close()


@contextmanager
def _nginx(site: Site, folder: Path, port: int, socket: Path) -> Iterator[None]:
    """Run nginx with the documented configuration; only its paths and its port are this test's."""
    text = CONF.read_text()
    for documented, here in {
        "unix:/run/chopmark-est/door.sock": f"unix:{socket}",
        "listen 8443 ssl": f"listen 127.0.0.1:{port} ssl",
        "est.example.com;": "localhost;",
        "/etc/nginx/chopmark/est.crt": str(site.folder / "server.pem"),
        "/etc/nginx/chopmark/est.key": str(site.folder / "server.key"),
        "/etc/nginx/chopmark/customers-ca.pem": str(site.folder / "ca.pem"),
    }.items():
        assert text.count(documented) == 1, documented
        text = text.replace(documented, here)
    (folder / "est.conf").write_text(text)
    user = "user root;" if os.geteuid() == 0 else ""  # the folder of a test is its user's alone
    (folder / "nginx.conf").write_text(NGINX.format(folder=folder, user=user))
    nginx = shutil.which("nginx", path=f"{os.environ['PATH']}:/usr/sbin") or missing("The program nginx")
    command: list[str | Path] = [nginx, "-p", folder, "-c", folder / "nginx.conf", "-e", folder / "nginx.log"]
    started = subprocess.run(command, capture_output=True, text=True, check=False)  # it returns when it listens
    assert started.returncode == 0, started.stderr
    try:
        yield
    finally:
        subprocess.run([*command, "-s", "stop"], check=True)
