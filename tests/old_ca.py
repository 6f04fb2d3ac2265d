"""A former issuer as strangers make one: key, certificate, revocation lists and OCSP answers, all by openssl."""

import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

KEYS = {
    "p256": ("EC", "ec_paramgen_curve:P-256"),
    "p384": ("EC", "ec_paramgen_curve:P-384"),
    "rsa2048": ("RSA", "rsa_keygen_bits:2048"),
    "ed25519": ("ED25519", ""),
}
BEGINS, ENDS = "20200101000000Z", "20991231235959Z"
_CONFIG = """
[ca]
default_ca = here
[here]
database = {folder}/index.txt
serial = {folder}/serial
crlnumber = {folder}/crlnumber
new_certs_dir = {folder}
certificate = {folder}/ca.pem
private_key = {folder}/ca.key
default_md = {digest}
policy = any
unique_subject = no
copy_extensions = none
email_in_dn = no
preserve = yes
[any]
countryName = optional
organizationName = optional
organizationalUnitName = optional
commonName = supplied
[req]
distinguished_name = dn
prompt = no
utf8 = yes
[dn]
[authority]
basicConstraints = critical, CA:TRUE, pathlen:0
keyUsage = critical, keyCertSign, cRLSign
subjectKeyIdentifier = hash
[customer]
basicConstraints = critical, CA:FALSE
keyUsage = critical, digitalSignature, nonRepudiation
[responder]
basicConstraints = critical, CA:FALSE
extendedKeyUsage = OCSPSigning
[lists]
basicConstraints = critical, CA:FALSE
keyUsage = critical, cRLSign
[crl]
authorityKeyIdentifier = keyid
{crl}
"""


def openssl(*words: str, data: bytes = b"") -> bytes:
    """Run openssl and return what it says; what it complains of is shown when it fails."""
    done = subprocess.run(["openssl", *words], input=data, capture_output=True, check=False)
    assert done.returncode == 0, done.stderr.decode()
    return done.stdout


@dataclass
class OldCa:
    """A CA in a folder of its own. `revoked` maps serial numbers to (moment, reason in openssl's words)."""

    folder: Path
    name: str = "/C=TW/O=Old Certification Company/CN=Old Customer CA"
    key: str = "p256"
    digest: str = "sha256"
    crl_extensions: str = ""
    number: int = 1
    revoked: dict[int, tuple[datetime, str]] = field(default_factory=dict)
    good: list[int] = field(default_factory=list)
    serial: int = 0x1000

    def __post_init__(self) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        self.configure()
        self.new_key("ca.key", self.key)
        self._index()
        request = ["req", "-new", "-config", self.path("ca.cnf"), "-key", self.path("ca.key"), "-subj", self.name]
        openssl(*request, "-utf8", "-out", self.path("ca.csr"))
        sign = ["ca", "-batch", "-config", self.path("ca.cnf"), "-selfsign", "-in", self.path("ca.csr"), "-notext"]
        openssl(*sign, "-extensions", "authority", *self._life(), "-out", self.path("ca.pem"))

    def path(self, name: str) -> str:
        """A file of the CA."""
        return str(self.folder / name)

    @property
    def certificate(self) -> bytes:
        """Its certificate, DER."""
        return openssl("x509", "-in", self.path("ca.pem"), "-outform", "DER")

    def configure(self) -> None:
        """Write openssl's configuration and the file of serial numbers."""
        written = _CONFIG.format(folder=self.folder, digest=self.digest, crl=self.crl_extensions)
        (self.folder / "ca.cnf").write_text(written, encoding="utf-8")
        (self.folder / "serial").write_text(f"{self.serial:04X}\n")

    def new_key(self, name: str, kind: str = "p256") -> None:
        """Make a key."""
        algorithm, option = KEYS[kind]
        openssl("genpkey", "-algorithm", algorithm, *(["-pkeyopt", option] if option else []), "-out", self.path(name))

    def issue(
        self, name: str, subject: str, extensions: str = "customer", life: tuple[str, str] = (BEGINS, ENDS)
    ) -> int:
        """Issue a certificate for a new key as NAME.key and NAME.pem; return its serial number."""
        self.new_key(f"{name}.key")
        request = ["req", "-new", "-config", self.path("ca.cnf"), "-key", self.path(f"{name}.key"), "-subj", subject]
        openssl(*request, "-utf8", "-out", self.path(f"{name}.csr"))
        self.serial += 1
        self.configure()
        (self.folder / "index.txt").write_text("")
        sign = ["ca", "-batch", "-config", self.path("ca.cnf"), "-in", self.path(f"{name}.csr"), "-notext"]
        openssl(*sign, "-extensions", extensions, *self._life(life), "-out", self.path(f"{name}.pem"))
        return self.serial

    def crl(
        self,
        this_update: datetime,
        next_update: datetime,
        *,
        number: int | None = None,
        by: tuple[str, str] | None = None,
    ) -> bytes:
        """Return a list that it signs, DER; `by` are the files of another certificate and key that sign it."""
        self.configure()
        self._index()
        self.number = self.number + 1 if number is None else number
        (self.folder / "crlnumber").write_text(f"{self.number:04X}\n")
        times = ["-crl_lastupdate", f"{this_update:%Y%m%d%H%M%SZ}", "-crl_nextupdate", f"{next_update:%Y%m%d%H%M%SZ}"]
        signer = [] if by is None else ["-cert", self.path(by[0]), "-keyfile", self.path(by[1])]
        pem = openssl("ca", "-gencrl", "-config", self.path("ca.cnf"), "-crlexts", "crl", *times, *signer)
        return openssl("crl", "-outform", "DER", data=pem)

    def answers(self, request_der: bytes, signer: str = "ca", days: int | None = 1) -> bytes:
        """Return openssl's OCSP answer to a request, signed by one of its certificates."""
        self._index()
        (self.folder / "request.der").write_bytes(request_der)
        openssl(
            *("ocsp", "-index", self.path("index.txt"), "-CA", self.path("ca.pem")),
            *("-rsigner", self.path(f"{signer}.pem"), "-rkey", self.path(f"{signer}.key")),
            *(() if days is None else ("-ndays", str(days))),
            *("-reqin", self.path("request.der"), "-respout", self.path("answer.der")),
        )
        return (self.folder / "answer.der").read_bytes()

    def _index(self) -> None:
        lines = [_line("R", serial, f"{at:%y%m%d%H%M%SZ},{reason}") for serial, (at, reason) in self.revoked.items()]
        lines += [_line("V", serial, "") for serial in self.good]
        (self.folder / "index.txt").write_text("".join(lines))
        (self.folder / "index.txt.attr").write_text("unique_subject = no\n")

    @staticmethod
    def _life(life: Sequence[str] = (BEGINS, ENDS)) -> list[str]:
        return ["-startdate", life[0], "-enddate", life[1]]


def _line(state: str, serial: int, revoked: str) -> str:
    number = f"{serial:X}"
    return f"{state}\t491231235959Z\t{revoked}\t{'0' * (len(number) % 2)}{number}\tunknown\t/CN={serial}\n"


REASONS: Mapping[str, str] = {
    "superseded": "superseded",
    "keyCompromise": "key_compromise",
    "certificateHold": "certificate_hold",
}
"""openssl's words for reasons, and ours."""
