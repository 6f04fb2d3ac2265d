"""OpenSSL's CMP server (`openssl cmp -port`): it answers with the one certificate it was started with.

So the test's side of it makes a certificate for each request that arrives, and starts the server anew with it; the
messages are its own. Which request arrived is read by asn1crypto.
"""

import subprocess
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from asn1crypto import parser
from cryptography import x509

from tests.contract.issuers import stranger
from tests.contract.issuers.peers import AUTH_KEY, Applicant, ExternalPeer
from tests.contract.issuers.proxy import Fault, Heard, Proxy, proxied
from tests.contract.world import World
from tests.machine import program

IR, KUR, RR, CERT_CONF, POLL_REQ = 0, 7, 11, 24, 25
IP, RP = 1, 12


@dataclass
class Server:
    """One run of the mock server."""

    process: subprocess.Popen[bytes]
    port: int

    @classmethod
    def start(cls, certificate: Path, between: Path, *options: str) -> "Server":
        line: list[str | Path] = [
            program("openssl"), "cmp", "-port", "0", "-srv_ref", "stranger", "-srv_secret", f"pass:{AUTH_KEY}",
            "-rsp_cert", certificate, "-rsp_extracerts", between, "-accept_raverified", *options,
        ]  # fmt: skip
        process = subprocess.Popen(line, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
        assert process.stdout is not None
        for told in process.stdout:
            if told.startswith(b"ACCEPT"):
                return cls(process, int(told.split()[1].rpartition(b":")[2]))
        raise AssertionError("openssl's CMP server did not start")

    def stop(self) -> None:
        self.process.terminate()
        self.process.communicate()


def body(message: bytes) -> tuple[int, bytes]:
    """The kind and the content of a PKIMessage's body."""
    _, _, _, _, whole, _ = parser.parse(message)
    _, _, _, header, content, _ = parser.parse(whole)
    _, _, kind, _, inside, _ = parser.parse(whole[len(header) + len(content) :])
    return kind, inside


def first_integer(element: bytes) -> int:
    """The first INTEGER in an element, going down."""
    _, _, tag, _, content, _ = parser.parse(element)
    return int.from_bytes(content, "big") if tag == 2 else first_integer(content)


@dataclass
class Cmp(ExternalPeer):
    """OpenSSL's CMP server behind the proxy."""

    kind = "cmp"
    options: tuple[str, ...] = ()
    server: Server | None = None
    applicants: list[tuple[Applicant, str]] = field(default_factory=list)
    certificates: dict[int, Path] = field(default_factory=dict)
    override: Path | None = None
    gone: set[int] = field(default_factory=set)
    kinds: list[int] = field(default_factory=list)
    count: int = 0

    def applicant(self, customer: str = "C1", **issuance: Any) -> Applicant:
        made = super().applicant(customer, **issuance)
        self.applicants.append((made, customer))
        return made

    def made(self) -> int:
        return self.count

    def revoked(self, certificate: bytes) -> bool:
        return x509.load_der_x509_certificate(certificate).serial_number in self.gone

    def answers(self, pem: Path) -> Fault:
        self.override = pem
        return Fault()

    def run(self, certificate: Path) -> None:
        self.close()
        self.server = Server.start(certificate, self.ca.certificate, *self.options)
        self.proxy.upstream = self.server.port

    def close(self) -> None:
        if self.server is not None:
            self.server.stop()

    def before(self, heard: Heard) -> None:
        kind, _ = body(heard.body)
        self.kinds.append(kind)
        if kind in {IR, KUR}:
            ((applicant, customer),) = [
                pair for pair in self.applicants if pair[0].issuance.spki_der[-64:] in heard.body
            ]
            certificate = self.override or self._issue(applicant, customer)
            self.override = None
            self.count += 1
            self.certificates[x509.load_der_x509_certificate(stranger.der(certificate)).serial_number] = certificate
            self.run(certificate)
        elif kind == RR:
            serials = [serial for serial in self.certificates if _octets(serial) in heard.body]
            assert len(serials) == 1
            self.run(self.certificates[serials[0]])

    def _issue(self, applicant: Applicant, customer: str) -> Path:
        public = self.folder / f"order{self.count}.pub"
        public.write_bytes(applicant.pem)
        return self.ca.issue(public, self.subject(customer), name=f"order{self.count}-{id(self)}")

    def after(self, heard: Heard, answer: bytes) -> None:
        if answer and body(heard.body)[0] == RR:
            kind, content = body(answer)
            if kind == RP and first_integer(content) == 0:
                self.gone |= {serial for serial in self.certificates if _octets(serial) in heard.body}


def _octets(serial: int) -> bytes:
    return serial.to_bytes((serial.bit_length() + 7) // 8, "big")


async def open_cmp(stack: AsyncExitStack, world: World, folder: Path, ca: stranger.Ca) -> Cmp:
    certificate, key = stranger.tls_identity(folder, "proxy")
    proxy: Proxy = await stack.enter_async_context(proxied(0, certificate, key))
    peer = Cmp(world, folder, proxy, ca=ca, trust=certificate, settings={"user": "chopmark-ra"})
    proxy.before, proxy.after = peer.before, peer.after
    stack.callback(peer.close)
    return peer
