"""The CAs that the conformance kit runs against, each behind the same few levers.

`cfssl` is Debian's `cfssl serve` with its own database, `embedded` the house's CA. What a CA says of a certificate's
state is read from the CA, not from us.
"""

import asyncio
import json
import sqlite3
import subprocess
from abc import abstractmethod
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import serialization

from chopmark.app.external_ca import ExternalDeps, issuer_of
from chopmark.app.settings import Settings
from chopmark.audit.events import Event
from chopmark.ca.external.issuer import ExternalIssuer
from chopmark.ca.ports import IssuanceRequest, Issuer
from chopmark.ca.shipped import profile_named
from chopmark.client.signing import ClientKey
from chopmark.core.types import OrderId
from chopmark.keys.ports import KeyAlgorithm, Signer, SignerUnavailable
from tests.approved import approved
from tests.contract.issuers import stranger
from tests.contract.issuers.proxy import DROP_BEFORE, Fault, Proxy, proxied, rewritten
from tests.contract.world import World
from tests.machine import program

CONSTANTS = {"firm": "試 Securities", "unit": "Investors", "ra": "RA-Chopmark"}
AUTH_KEY = "00112233445566778899aabbccddeeff"
WAIT_S = 10


@dataclass
class Applicant:
    """A key, and the issuance request for its certificate."""

    key: ClientKey
    issuance: IssuanceRequest

    @property
    def pem(self) -> bytes:
        return stranger.public_pem(self.issuance.spki_der)


@dataclass
class Peer:
    """A CA and how to reach it; `issuer()` is a new client object on the same store, as after a restart."""

    world: World
    folder: Path
    proxy: Proxy
    orders: int = 0

    kind = ""
    ended = Event.CA_CERTIFICATE_REVOKED
    """What the record says when a certificate was revoked."""

    @abstractmethod
    def issuer(self) -> Issuer:
        """A new issuer object."""

    @abstractmethod
    def made(self) -> int:
        """How many certificates the CA has made."""

    @abstractmethod
    def revoked(self, certificate: bytes) -> bool:
        """What the CA says of a certificate."""

    def applicant(self, customer: str = "C1", **issuance: Any) -> Applicant:
        key = ClientKey.generate()
        self.orders += 1
        order = OrderId(f"KIT{self.orders:023d}")
        csr = self.request(key, customer)
        spki = (
            x509.load_der_x509_csr(csr)
            .public_key()
            .public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
        )
        made = replace(IssuanceRequest(order, "investor", spki, {"customer": customer}, csr), **issuance)
        return Applicant(key, approved(made, self.world.clock.now(), self.world.services.foundation.audit_key))

    def request(self, key: ClientKey, customer: str) -> bytes:
        del customer
        return key.request()

    def away(self) -> None:
        """From now on the CA does not answer."""
        self.proxy.always = DROP_BEFORE

    def back(self) -> None:
        self.proxy.always = None


class _Switched:
    """A signer that can be taken away."""

    def __init__(self, inner: Signer, peer: "Embedded") -> None:
        self._inner = inner
        self._peer = peer

    @property
    def public_key_der(self) -> bytes:
        return self._inner.public_key_der

    @property
    def algorithm(self) -> KeyAlgorithm:
        return self._inner.algorithm

    def sign(self, data: bytes) -> bytes:
        if self._peer.off:
            raise SignerUnavailable("the token is away", 5)
        self._peer.signatures += 1
        return self._inner.sign(data)


@dataclass
class Embedded(Peer):
    """The built-in CA."""

    off: bool = False
    signatures: int = 0
    kind = "embedded"

    def issuer(self) -> Issuer:
        return self.world.issuer(_Switched(self.world.services.ca.authority.signer, self))

    def made(self) -> int:
        return self.signatures

    def revoked(self, certificate: bytes) -> bool:
        serial = x509.load_der_x509_certificate(certificate).serial_number
        with sqlite3.connect(self.world.url.removeprefix("sqlite:///")) as db:
            rows = db.execute("SELECT state FROM certificates WHERE serial = ?", (f"{serial:X}".rjust(36, "0"),))
            return [state for (state,) in rows] == ["revoked"]

    def away(self) -> None:
        self.off = True

    def back(self) -> None:
        self.off = False


@dataclass
class ExternalPeer(Peer):
    """A CA of another house."""

    ca: stranger.Ca = field(default_factory=lambda: stranger.Ca(Path(), ""))
    trust: Path = Path()
    settings: dict[str, Any] = field(default_factory=dict)

    def issuer(self, **other: Any) -> ExternalIssuer:
        services = self.world.services
        settings: dict[str, Any] = {
            "mode": "demo",
            "data": services.foundation.settings.data,
            "external_ca": {**self.connected, "wait_s": WAIT_S, **other},
        }
        deps = ExternalDeps(
            services.ca.requests,
            services.foundation.audit_log,
            self.world.clock,
            self.world.dice,
            services.ca.approvals,
        )
        return issuer_of(Settings(**settings), profile_named("investor"), CONSTANTS, deps)

    @property
    def connected(self) -> dict[str, Any]:
        """The settings of the topic `external_ca` with which this CA certifies."""
        return {
            "protocol": self.kind,
            "url": self.url,
            "anchors": self.ca.anchors,
            "tls_trust": self.trust,
            "secret": AUTH_KEY,
            **self.settings,
        }

    @property
    def url(self) -> str:
        return self.proxy.url

    @abstractmethod
    def answers(self, pem: Path) -> Fault:
        """The fault that answers with this certificate in the place of the right one."""

    def subject(self, customer: str) -> str:
        return stranger.SUBJECT.format(firm=CONSTANTS["firm"], customer=customer)


_SCHEMA = """
CREATE TABLE certificates (serial_number blob NOT NULL, authority_key_identifier blob NOT NULL, ca_label blob,
  status blob NOT NULL, reason int, expiry timestamp, revoked_at timestamp, pem blob NOT NULL,
  PRIMARY KEY(serial_number, authority_key_identifier));
CREATE TABLE ocsp_responses (serial_number blob NOT NULL, authority_key_identifier blob NOT NULL, body blob NOT NULL,
  expiry timestamp, PRIMARY KEY(serial_number, authority_key_identifier));
"""
"""The tables that `cfssl serve -db-config` works with."""


def _cfssl_config(folder: Path) -> dict[str, str]:
    profile = {
        "expiry": "8760h",
        "backdate": "5m",
        "auth_key": "ra",
        "usages": ["digital signature", "content committment", "client auth", "email protection"],
        "ocsp_url": "http://ocsp.stranger.example",
        "crl_url": "http://crl.stranger.example/1.crl",
    }
    config = {
        "signing": {"default": profile, "profiles": {"investor": profile}},
        "auth_keys": {"ra": {"type": "standard", "key": AUTH_KEY}},
    }
    (folder / "cfssl.json").write_text(json.dumps(config))
    database = folder / "cfssl.db"
    with sqlite3.connect(database) as db:
        db.executescript(_SCHEMA)
    (folder / "db.json").write_text(json.dumps({"driver": "sqlite3", "data_source": str(database)}))
    return {"-config": str(folder / "cfssl.json"), "-db-config": str(folder / "db.json")}


@dataclass
class Cfssl(ExternalPeer):
    """Debian's cfssl."""

    kind = "cfssl"

    def made(self) -> int:
        with sqlite3.connect(self.folder / "cfssl.db") as db:
            return int(db.execute("SELECT COUNT(*) FROM certificates").fetchone()[0])

    def revoked(self, certificate: bytes) -> bool:
        serial = str(x509.load_der_x509_certificate(certificate).serial_number)
        with sqlite3.connect(self.folder / "cfssl.db") as db:
            rows = db.execute("SELECT status FROM certificates WHERE serial_number = ?", (serial,)).fetchall()
        return bool(rows == [("revoked",)])

    def answers(self, pem: Path) -> Fault:
        def other(body: bytes) -> bytes:
            table = json.loads(body)
            table["result"]["certificate"] = pem.read_text()
            return json.dumps(table).encode()

        return rewritten(other)


@asynccontextmanager
async def cfssl_served(ca: stranger.Ca, folder: Path) -> AsyncIterator[int]:
    """Run `cfssl serve` on a free port of this machine."""
    options = {"-address": "127.0.0.1", "-port": "0", "-loglevel": "1", **_cfssl_config(folder)}
    port = free_port()
    options |= {"-port": str(port), "-ca": str(ca.certificate), "-ca-key": str(ca.key)}
    process = await asyncio.create_subprocess_exec(
        program("cfssl"),
        "serve",
        *(word for pair in options.items() for word in pair),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
    )
    assert process.stderr is not None
    drain: asyncio.Task[bytes] | None = None
    try:
        async with asyncio.timeout(20):
            while b"Now listening" not in (line := await process.stderr.readline()):
                assert line, "cfssl ended"
        drain = asyncio.create_task(process.stderr.read())
        yield port
    finally:
        process.terminate()
        await process.wait()
        if drain is not None:
            await drain


def free_port() -> int:
    import socket

    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


async def open_cfssl(stack: AsyncExitStack, world: World, folder: Path, ca: stranger.Ca) -> Cfssl:
    certificate, key = stranger.tls_identity(folder, "proxy")
    port = await stack.enter_async_context(cfssl_served(ca, folder))
    proxy = await stack.enter_async_context(proxied(port, certificate, key))
    return Cfssl(world, folder, proxy, ca=ca, trust=certificate)


async def open_embedded(stack: AsyncExitStack, world: World, folder: Path, ca: stranger.Ca) -> Embedded:
    del stack, ca
    return Embedded(world, folder, Proxy())
