"""A CA that is not ours, kept by openssl: a root, an issuing CA, and customers' certificates right and wrong."""

import subprocess
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import serialization

from tests.machine import program

SUBJECT = "/C=TW/O={firm}/OU=Investors/CN={customer}"
GOOD = """
basicConstraints=critical,CA:FALSE
keyUsage=critical,digitalSignature,nonRepudiation
extendedKeyUsage=clientAuth,emailProtection
subjectKeyIdentifier=hash
authorityKeyIdentifier=keyid
authorityInfoAccess=OCSP;URI:http://ocsp.stranger.example
crlDistributionPoints=URI:http://crl.stranger.example/1.crl
"""
CA_EXTENSIONS = """
basicConstraints=critical,CA:TRUE
keyUsage=critical,keyCertSign,cRLSign
subjectKeyIdentifier=hash
authorityKeyIdentifier=keyid
"""


def openssl(*words: object, given: bytes | None = None) -> bytes:
    """Run openssl and return what it writes; its complaint is the test's."""
    line = [str(program("openssl")), *map(str, words)]
    done = subprocess.run(line, input=given, capture_output=True, check=False)
    assert done.returncode == 0, done.stderr.decode()
    return done.stdout


@dataclass
class Ca:
    """A CA's certificate and key in a folder; `chain` is issuer first, root last."""

    folder: Path
    name: str
    chain: tuple[Path, ...] = field(default=())

    @property
    def certificate(self) -> Path:
        return self.folder / f"{self.name}.pem"

    @property
    def key(self) -> Path:
        return self.folder / f"{self.name}.key"

    @property
    def anchors(self) -> Path:
        """The operator's file: every certificate of the chain."""
        made = self.folder / f"{self.name}.anchors.pem"
        made.write_bytes(b"".join(path.read_bytes() for path in self.chain))
        return made

    def issue(
        self,
        public: Path,
        subject: str,
        extensions: str = GOOD,
        days: int = 365,
        serial: str | None = None,
        name: str = "customer",
    ) -> Path:
        """Make a certificate of a public key under a name."""
        made, issuance, asked = (self.folder / f"{name}.{kind}" for kind in ("pem", "cnf", "csr"))
        issuance.write_text(extensions)
        throw_away = self.folder / "throw-away.key"
        if not throw_away.exists():
            new_key(throw_away)
        openssl("req", "-new", "-utf8", "-key", throw_away, "-subj", subject, "-out", asked)
        number = ["-set_serial", serial] if serial else ["-CAcreateserial", "-CAserial", self.folder / "serial"]
        openssl(
            "x509", "-req", "-in", asked, "-force_pubkey", public, "-CA", self.certificate, "-CAkey", self.key,
            "-extfile", issuance, "-days", days, *number, "-out", made,
        )  # fmt: skip
        return made


def new_key(path: Path) -> None:
    openssl("genpkey", "-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256", "-out", path)


def found(folder: Path, name: str) -> Ca:
    """Make a root and an issuing CA under it."""
    root = Ca(folder, f"{name}-root")
    new_key(root.key)
    root_words = folder / "root.cnf"
    root_words.write_text(f"[req]\ndistinguished_name=dn\nx509_extensions=ca\n[dn]\n[ca]\n{CA_EXTENSIONS}")
    openssl(
        "req", "-x509", "-new", "-key", root.key, "-subj", f"/C=TW/O=Stranger/CN={name} Root", "-days", 3650,
        "-config", root_words, "-out", root.certificate,
    )  # fmt: skip
    issuing = Ca(folder, name)
    new_key(issuing.key)
    public = folder / f"{name}.pub"
    public.write_bytes(openssl("pkey", "-in", issuing.key, "-pubout"))
    root.issue(public, f"/C=TW/O=Stranger/CN={name}", CA_EXTENSIONS, 3000, name=name)
    issuing.chain = (issuing.certificate, root.certificate)
    return issuing


def tls_identity(folder: Path, name: str) -> tuple[Path, Path]:
    """Make a self-signed TLS certificate and its key for this machine's own address."""
    certificate, key = folder / f"{name}.tls.pem", folder / f"{name}.tls.key"
    new_key(key)
    openssl(
        "req", "-x509", "-new", "-key", key, "-subj", f"/CN={name}", "-days", 30, "-addext",
        "subjectAltName=IP:127.0.0.1", "-out", certificate,
    )  # fmt: skip
    return certificate, key


def moment(folder: Path) -> datetime:
    """The strangers' present moment: that of a certificate which they make now."""
    certificate, _ = tls_identity(folder, "moment")
    return x509.load_der_x509_certificate(der(certificate)).not_valid_before_utc


def der(path: Path) -> bytes:
    return x509.load_pem_x509_certificate(path.read_bytes()).public_bytes(serialization.Encoding.DER)


def public_pem(spki_der: bytes) -> bytes:
    key = serialization.load_der_public_key(spki_der)
    return key.public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
