"""What openssl says of a certificate at a moment, by the house's OCSP answer and by its published list."""

import asyncio
import subprocess
from dataclasses import dataclass
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509 import ocsp

from tests.contract.world import World
from tests.machine import program

FOREVER = "2000000000"  # seconds: openssl reads the wall clock for the answer's own times


def pem(path: Path, *certificates: bytes) -> Path:
    loaded = (x509.load_der_x509_certificate(der) for der in certificates)
    path.write_bytes(b"".join(one.public_bytes(Encoding.PEM) for one in loaded))
    return path


@dataclass(frozen=True)
class Openssl:
    """OpenSSL's two opinions; `folder` is the test's own."""

    world: World
    folder: Path

    async def _run(self, *arguments: str | Path) -> str:
        command = [str(program("openssl")), *map(str, arguments)]
        done = await asyncio.to_thread(
            subprocess.run, command, cwd=self.folder, capture_output=True, text=True, check=False
        )
        return done.stdout + done.stderr

    def _files(self, der: bytes) -> tuple[Path, Path, Path]:
        authority = self.world.services.ca.authority
        return (
            pem(self.folder / "leaf.pem", der),
            pem(self.folder / "ca.pem", authority.view.certificate_der),
            pem(self.folder / "root.pem", authority.chain[-1]),
        )

    async def ocsp(self, der: bytes) -> str:
        """Return what `openssl ocsp` says of the answer that the house gives now."""
        record, ca, root = self._files(der)
        issuer = x509.load_der_x509_certificate(self.world.services.ca.authority.view.certificate_der)
        builder = ocsp.OCSPRequestBuilder().add_certificate(x509.load_der_x509_certificate(der), issuer, hashes.SHA1())
        answer = await self.world.services.ca.responder.answer(builder.build().public_bytes(Encoding.DER))
        (self.folder / "answer.der").write_bytes(answer.der)
        at = str(int(self.world.clock.at.timestamp()))
        said = await self._run(
            *("ocsp", "-respin", "answer.der", "-issuer", ca, "-cert", record, "-CAfile", root),
            *("-attime", at, "-validity_period", FOREVER),
        )
        assert "Response verify OK" in said, said
        return said

    async def list(self, der: bytes) -> str:
        """Return what `openssl verify -crl_check` says with the list that is published now."""
        record, ca, root = self._files(der)
        services = self.world.services
        crl = await services.va.status.crl(services.ca.authority.view.id, 0)
        assert crl is not None
        published = x509.load_der_x509_crl(crl.der)
        (self.folder / "crl.pem").write_bytes(published.public_bytes(Encoding.PEM))
        at = str(int(self.world.clock.at.timestamp()))
        return await self._run(
            *("verify", "-crl_check", "-attime", at, "-CAfile", root, "-untrusted", ca, "-CRLfile", "crl.pem", record)
        )

    async def listed(self) -> str:
        """Return the list as openssl reads it, after `list`."""
        return await self._run("crl", "-in", "crl.pem", "-noout", "-text")
