"""What OpenSSL and NSS say of an issued certificate, with the lists and answers that the server publishes."""

import subprocess
import urllib.request
from dataclasses import dataclass
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import AuthorityInformationAccessOID

from tests.machine import program

LOOKS = 400  # at the responder, one after the other


def fetch(url: str) -> bytes:
    """Return what a published address gives."""
    assert url.startswith("http://127.0.0.1:")
    with urllib.request.urlopen(url) as answer:
        content: bytes = answer.read()
    return content


def openssl(*arguments: str | Path) -> str:
    """Return what openssl says on both channels, whether it is content or not."""
    done = subprocess.run([program("openssl"), *arguments], capture_output=True, text=True, check=False)
    return done.stdout + done.stderr


def authorities(p12: Path, passphrase: str) -> list[str]:
    """Return the names of the CAs whose certificates lie in a certificate file."""
    found = openssl("pkcs12", "-in", p12, "-passin", f"pass:{passphrase}", "-cacerts", "-nokeys")
    return [one.subject.rfc4514_string() for one in x509.load_pem_x509_certificates(found.encode())] if found else []


@dataclass(frozen=True)
class Opened:
    """A certificate file opened by OpenSSL; its parts lie in `folder` as PEM."""

    folder: Path
    record: x509.Certificate

    @classmethod
    def read(cls, p12: Path, passphrase: str, folder: Path) -> "Opened":
        """Open a certificate file with OpenSSL, and let NSS read it too."""
        folder.mkdir()
        secret = folder / "passphrase"
        secret.write_text(passphrase)
        for part, wish in (("leaf", ["-clcerts", "-nokeys"]), ("key", ["-nocerts", "-nodes"])):
            said = openssl("pkcs12", "-in", p12, "-passin", f"file:{secret}", *wish, "-out", folder / f"{part}.pem")
            assert said == "", said
        listed = subprocess.run(
            [program("pk12util"), "-l", p12, "-w", secret], capture_output=True, text=True, check=True
        )
        assert "Key(shrouded)" in listed.stdout
        assert listed.stdout.count("Certificate") >= 2
        record = x509.load_pem_x509_certificate((folder / "leaf.pem").read_bytes())
        return cls(folder, record)

    def pair_fits(self) -> bool:
        """Whether OpenSSL finds the certificate's public key in the private one."""
        public = openssl("x509", "-in", self.folder / "leaf.pem", "-noout", "-pubkey")
        return public == openssl("pkey", "-in", self.folder / "key.pem", "-pubout")

    def _access(self, method: x509.ObjectIdentifier) -> str:
        found = self.record.extensions.get_extension_for_class(x509.AuthorityInformationAccess).value
        return next(str(one.access_location.value) for one in found if one.access_method == method)

    def _authorities(self) -> tuple[Path, Path]:
        """Return issuer and root as PEM files, fetched along the published addresses."""
        at = self._access(AuthorityInformationAccessOID.CA_ISSUERS)
        issuer = x509.load_der_x509_certificate(fetch(at))
        root = x509.load_der_x509_certificate(fetch(f"{at.rpartition('/')[0]}/root.cer"))
        for name, certificate in (("issuer", issuer), ("root", root)):
            (self.folder / f"{name}.pem").write_bytes(certificate.public_bytes(Encoding.PEM))
        return self.folder / "issuer.pem", self.folder / "root.pem"

    def verify(self) -> str:
        """Return what `openssl verify -crl_check` says with the list that the certificate names."""
        issuer, root = self._authorities()
        points = self.record.extensions.get_extension_for_class(x509.CRLDistributionPoints).value
        names = points[0].full_name
        assert names is not None
        crl = x509.load_der_x509_crl(fetch(str(names[0].value)))
        (self.folder / "crl.pem").write_bytes(crl.public_bytes(Encoding.PEM))
        files: list[str | Path] = ["-CAfile", root, "-untrusted", issuer, "-CRLfile", self.folder / "crl.pem"]
        return openssl("verify", "-crl_check", *files, self.folder / "leaf.pem")

    def ocsp(self) -> str:
        """Return what `openssl ocsp` says with the responder that the certificate names."""
        issuer, root = self._authorities()
        trusted = self.folder / "trusted.pem"
        trusted.write_bytes(root.read_bytes() + issuer.read_bytes())
        url = self._access(AuthorityInformationAccessOID.OCSP)
        record = self.folder / "leaf.pem"
        return openssl("ocsp", "-issuer", issuer, "-cert", record, "-url", url, "-CAfile", trusted)

    def is_good(self) -> bool:
        """Whether both ways say good."""
        said, list_said = self.ocsp(), self.verify()
        assert "Response verify OK" in said, said
        assert f"{self.folder / 'leaf.pem'}: good" in said, said
        assert list_said == f"{self.folder / 'leaf.pem'}: OK\n", list_said
        return True

    def becomes_revoked(self) -> bool:
        """Whether both ways say revoked soon."""
        for _ in range(LOOKS):
            if f"{self.folder / 'leaf.pem'}: revoked" in self.ocsp() and "certificate revoked" in self.verify():
                return True
        return False
