"""An EST server (RFC 7030) whose certificates openssl makes: the smallest that is one, behind the proxy's TLS.

To run the same tests against another EST server, put its port in the place of this one's: `Est` only needs the proxy in
front of it, the CA that signs, and how many certificates were made.
"""

import base64
import sqlite3
import threading
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization

from chopmark.audit.events import Event
from chopmark.client.signing import ClientKey
from tests.contract.issuers import stranger
from tests.contract.issuers.peers import AUTH_KEY, CONSTANTS, ExternalPeer
from tests.contract.issuers.proxy import Fault, Rewrite, http, proxied, rewritten
from tests.contract.issuers.stranger import GOOD, openssl
from tests.contract.world import World

USER = "chopmark-ra"
LABEL = "investor"


def certs_only(*paths: Path) -> bytes:
    """A certs-only CMS message in base64, as openssl writes it."""
    words = [word for path in paths for word in ("-certfile", path)]
    return base64.encodebytes(openssl("crl2pkcs7", "-nocrl", *words, "-outform", "DER"))


@dataclass
class Server:
    """An EST server: it lets one user in, says 202 while `later` lasts, and signs what the request names."""

    ca: stranger.Ca
    folder: Path
    later: int = 0
    made: list[Path] = field(default_factory=list)
    asked: list[str] = field(default_factory=list)

    def answer(self, verb: str, authorization: str, body: bytes) -> bytes:
        self.asked.append(verb)
        if verb == "cacerts":
            return self._pkcs7(certs_only(*self.ca.chain))
        if authorization != "Basic " + base64.b64encode(f"{USER}:{AUTH_KEY}".encode()).decode():
            return http(401, b"", "text/plain", 'WWW-Authenticate: Basic realm="est"')
        if self.later:
            self.later -= 1
            return http(202, b"", "text/plain", "Retry-After: 30")
        return self._pkcs7(certs_only(self._sign(base64.b64decode(body))))

    def _pkcs7(self, body: bytes) -> bytes:
        kind = "application/pkcs7-mime; smime-type=certs-only"
        return http(200, body, kind, "Content-Transfer-Encoding: base64")

    def _sign(self, csr: bytes) -> Path:
        number = len(self.made)
        request, wish, made = (self.folder / f"est{number}.{kind}" for kind in ("csr", "cnf", "pem"))
        request.write_bytes(openssl("req", "-inform", "DER", "-verify", given=csr))
        wish.write_text(GOOD)
        openssl(
            "x509", "-req", "-in", request, "-CA", self.ca.certificate, "-CAkey", self.ca.key, "-extfile", wish,
            "-days", 365, "-CAcreateserial", "-CAserial", self.folder / "est.serial", "-out", made,
        )  # fmt: skip
        self.made.append(made)
        return made


def request_naming(key: ClientKey, firm: str, customer: str) -> bytes:
    """A request that has the whole subject, as an EST CA reads it."""
    name = [("C", "TW"), ("O", firm), ("OU", "Investors"), ("CN", customer)]
    oids = {"C": x509.NameOID.COUNTRY_NAME, "O": x509.NameOID.ORGANIZATION_NAME,
            "OU": x509.NameOID.ORGANIZATIONAL_UNIT_NAME, "CN": x509.NameOID.COMMON_NAME}  # fmt: skip
    subject = x509.Name([x509.NameAttribute(oids[short], value) for short, value in name])
    made = x509.CertificateSigningRequestBuilder().subject_name(subject).sign(key.private_key, hashes.SHA256())
    return made.public_bytes(serialization.Encoding.DER)


@dataclass
class Est(ExternalPeer):
    """The EST server behind the proxy. What it made is revoked by a person: `revoked` is whether one was told."""

    kind = "est"
    ended = Event.CA_REVOCATION_ASKED
    server: Server = field(default_factory=lambda: Server(stranger.Ca(Path(), ""), Path()))

    def request(self, key: ClientKey, customer: str) -> bytes:
        return request_naming(key, CONSTANTS["firm"], customer)

    def made(self) -> int:
        return len(self.server.made)

    def revoked(self, certificate: bytes) -> bool:
        with sqlite3.connect(self.world.url.removeprefix("sqlite:///")) as db:
            rows = db.execute("SELECT by_hand FROM foreign_requests WHERE der = ?", (certificate,)).fetchall()
        return bool(rows == [(1,)])

    def answers(self, pem: Path) -> Fault:
        body: Rewrite = lambda _: certs_only(pem)  # noqa: E731
        return rewritten(body)


def serving(server: Server) -> ThreadingHTTPServer:
    """Start the server in threads of its own, on a free port of this machine."""

    class Door(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self._do()

        def do_POST(self) -> None:
            self._do()

        def _do(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length", "0")))
            verb = self.path.removeprefix(f"/.well-known/est/{LABEL}/")
            self.wfile.write(server.answer(verb, self.headers.get("Authorization", ""), body))

        def log_message(self, *words: Any) -> None:
            """Quiet."""

    listening = ThreadingHTTPServer(("127.0.0.1", 0), Door)
    threading.Thread(target=listening.serve_forever, args=(0.05,), daemon=True).start()
    return listening


async def open_est(
    stack: AsyncExitStack, world: World, folder: Path, ca: stranger.Ca, clients: Path | None = None
) -> Est:
    certificate, key = stranger.tls_identity(folder, "proxy")
    server = Server(ca, folder)
    listening = serving(server)
    stack.callback(listening.server_close)
    stack.callback(listening.shutdown)
    proxy = await stack.enter_async_context(proxied(listening.server_address[1], certificate, key, clients))
    settings = {"user": USER, "profile": LABEL}
    return Est(world, folder, proxy, ca=ca, trust=certificate, settings=settings, server=server)
