"""An installation with its EST door as a process of its own: ending TLS itself, or behind a proxy as documented.

The customers' own steps are taken in the test's process, on the same database.
"""

import asyncio
import os
import re
import ssl
import subprocess
import sys
from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from random import Random
from typing import Any, TypeVar

from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from chopmark.app.foundation import SystemClock
from chopmark.app.services import build
from chopmark.app.settings import Est, Settings
from chopmark.client.signing import ClientKey
from chopmark.core.types import Serial
from tests.contract.proxies import changed, proxy, shared_folder
from tests.contract.world import Clock, Dice, Held, World, import_customers
from tests.installation import found_installation
from tests.journey.counter import free_port
from tests.machine import program

T = TypeVar("T")


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
        return Settings(
            mode="demo",
            data=self.folder,
            est=Est(url="https://localhost"),
            database=f"sqlite:///{self.folder / 'house.db'}",
            former_issuers=former if (former := self.folder / "former.toml").exists() else None,
        )

    async def _found(self) -> None:
        clock = Clock(self.at - timedelta(days=700))
        await found_installation(self.settings, clock, self.dice)
        services = await build(self.settings, clock, self.dice)
        await import_customers(services)
        (self.folder / "ca.pem").write_text(
            "".join(_pem(der) for der in {services.ca.authority.view.certificate_der, *services.ca.authority.chain})
        )
        (self.folder / "root.pem").write_text(_pem(services.ca.authority.chain[-1]))
        await services.close()

    def _server_certificate(self) -> None:
        openssl = program("openssl")

        def made(*words: str) -> None:
            subprocess.run([openssl, *words], cwd=self.folder, check=True, capture_output=True)

        key = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-noenc", "-days", "2")
        made("req", "-x509", *key, "-subj", "/CN=server root", "-keyout", "server-root.key", "-out", "server-root.pem")
        signed = ("-CA", "server-root.pem", "-CAkey", "server-root.key", "-addext", "subjectAltName=DNS:localhost")
        made("req", "-x509", *key, *signed, "-subj", "/CN=localhost", "-keyout", "server.key", "-out", "server.pem")
        made("req", "-x509", *key, "-subj", "/CN=C1", "-keyout", "foreign.key", "-out", "foreign.pem")
        made("req", "-x509", *key, "-subj", "/CN=old root", "-keyout", "old-root.key", "-out", "old-root.pem")
        for issuer, name in (("old-root", "old-ca"), ("old-ca", "old-customer")):
            by = ("-CA", f"{issuer}.pem", "-CAkey", f"{issuer}.key", "-subj", f"/O=Old Company/CN={name}")
            made("req", "-x509", *key, *by, "-keyout", f"{name}.key", "-out", f"{name}.pem")
        files = ("ca.pem", "old-ca.pem", "old-root.pem")
        written = "".join((self.folder / name).read_text() for name in files)
        (self.folder / "customers-ca.pem").write_text(written)

    def do(self, doing: Callable[[World], Awaitable[T]], ago: timedelta = timedelta(0)) -> T:
        """Let customers act, now or some time ago."""

        async def inside() -> T:
            clock = Clock(SystemClock().now() - ago)
            services = await build(self.settings, clock, self.dice)
            try:
                return await doing(World(services, clock, self.dice, self.held))
            finally:
                await services.close()

        return asyncio.run(inside())

    def state(self, serial: Serial) -> str:
        """The state of a certificate in the RA's records."""
        return self.do(lambda world: world.stored_certificate(serial)).state.value


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
        plain = key.private_key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
        secret.write_bytes(plain)
        return ("--cert", pem, "--key", secret)


def not_imported(site: Site, door: Door) -> None:
    """Ask with a certificate of the old CA, which the proxy lets through and the counter does not know."""
    old = ("--cert", site.folder / "old-customer.pem", "--key", site.folder / "old-customer.key")
    for tls in ("1.2", "1.3"):
        answer = door.send("simplereenroll", ClientKey.generate().request(), *old, tls=tls)
        assert (answer.status, b"not one of ours" in answer.body) == (403, True), (answer.said, answer.body)


@contextmanager
def running(site: Site, kind: str, folder: Path, **more: str) -> Iterator[Door]:
    """Run the door: `direct`, or behind nginx, Apache or HAProxy with the sample file."""
    with shared_folder() as shared:
        yield from _running(site, kind, folder, shared / "door.sock", more)


def _running(site: Site, kind: str, folder: Path, socket: Path, more: Mapping[str, str]) -> Iterator[Door]:
    port = free_port()
    how = {
        "CHOPMARK_EST__CERTIFICATE": str(site.folder / "server.pem"),
        "CHOPMARK_EST__KEY": str(site.folder / "server.key"),
    }
    if kind != "direct":
        how = {"CHOPMARK_EST__SOCKET": str(socket)}
    environment = {
        **os.environ,
        **how,
        "CHOPMARK_MODE": "demo",
        "CHOPMARK_DATA": str(site.folder),
        "CHOPMARK_DATABASE": site.settings.database,
        "CHOPMARK_EST__URL": f"https://localhost:{port}",
        "CHOPMARK_EST__PORT": str(port),
        **({"CHOPMARK_FORMER_ISSUERS": str(site.settings.former_issuers)} if site.settings.former_issuers else {}),
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
            with proxy(kind, folder, {"est": _sample(site, kind, port, socket)}):
                yield Door(site, port, kind, door.pid)
    finally:
        for process in processes:
            process.kill()
            process.wait(20)
            if process.stdout is not None:
                process.stdout.close()


def _sample(site: Site, kind: str, port: int, socket: Path) -> str:
    """The sample file; only its name, paths and port are this test's."""
    keys = site.folder / "server-both.pem"
    keys.write_text((site.folder / "server.pem").read_text() + (site.folder / "server.key").read_text())
    named = {"/run/chopmark-est/door.sock": str(socket)}
    if kind == "haproxy":
        etc, more = "/etc/haproxy/chopmark", {"bind :8443": f"bind 127.0.0.1:{port}"}
        named[f"{etc}/est.pem"] = str(keys)
    else:
        etc = f"/etc/{'nginx' if kind == 'nginx' else 'apache2'}/chopmark"
        more = (
            {"listen 8443 ssl": f"listen 127.0.0.1:{port} ssl"}
            if kind == "nginx"
            else {"Listen 8443": f"Listen 127.0.0.1:{port}", "*:8443": f"*:{port}"}
        )
        named |= {f"{etc}/est.crt": str(site.folder / "server.pem"), f"{etc}/est.key": str(site.folder / "server.key")}
        named["est.example.com"] = "localhost"
    named[f"{etc}/customers-ca.pem"] = str(site.folder / "customers-ca.pem")
    return changed(f"{kind}-est.{'cfg' if kind == 'haproxy' else 'conf'}", {**named, **more})
