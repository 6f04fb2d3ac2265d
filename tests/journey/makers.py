"""Who makes certificate files: each program writes one of a customer's key and certificate, under any pass-phrase."""

import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    KeySerializationEncryption,
    NoEncryption,
    load_pem_private_key,
    pkcs12,
)

from tests.journey.engines import Engine, firefox
from tests.journey.layouts import in_pieces, windows
from tests.machine import program

JARS = ("bcprov", "bcpkix", "bcutil")
THEIRS = "Abc-1234-xyz"
"""The pass-phrase of the file from which Java and NSS take the key."""


class Unmade(Exception):
    """The program makes no such file: its own words."""


@dataclass(frozen=True)
class Holder:
    """A key with its certificate in a folder of its own: `key.pem`, `own.pem`, `chain.pem`, and `source.p12`."""

    folder: Path

    @classmethod
    def of(cls, file: Path, passphrase: str, folder: Path) -> "Holder":
        """Take a demo customer's key out of their file."""
        folder.mkdir(parents=True)
        made = cls(folder)
        wanted = {"key": ("-nocerts", "-noenc"), "own": ("-nokeys", "-clcerts"), "chain": ("-nokeys", "-cacerts")}
        for name, options in wanted.items():
            secret = f"pass:{passphrase}"
            run("openssl", "pkcs12", "-in", file, "-passin", secret, *options, "-out", made.path(name))
        made.openssl(THEIRS, folder / "source.p12", "-name", "own")
        return made

    def path(self, name: str) -> Path:
        """Return the address of a PEM file."""
        return self.folder / f"{name}.pem"

    @property
    def source(self) -> Path:
        """The file that other programs import."""
        return self.folder / "source.p12"

    def openssl(self, passphrase: str, made: Path, *options: str) -> None:
        """Write a file of `openssl pkcs12 -export`."""
        parts = ("-inkey", self.path("key"), "-in", self.path("own"), "-certfile", self.path("chain"))
        run("openssl", "pkcs12", "-export", *parts, "-passout", f"pass:{passphrase}", "-out", made, *options)

    def leave_authorities_out(self) -> None:
        """Let other programs import the key with its own certificate and no CA's."""
        parts = ("-inkey", self.path("key"), "-in", self.path("own"), "-name", "own")
        run("openssl", "pkcs12", "-export", *parts, "-passout", f"pass:{THEIRS}", "-out", self.source)


def run(*command: str | Path) -> None:
    """Run a program; Unmade with what it said when it fails."""
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise Unmade(f"{command[0]} ended with {done.returncode}: {done.stdout}{done.stderr}")


Make = Callable[[Holder, str, Path], None]
_OLD = ("-legacy", "-keypbe", "PBE-SHA1-3DES", "-macalg", "sha1")


def openssl_1(holder: Holder, passphrase: str, made: Path) -> None:
    """As OpenSSL 1.1 and before: Triple DES, RC2 with 40 bits, SHA-1."""
    holder.openssl(passphrase, made, *_OLD, "-certpbe", "PBE-SHA1-RC2-40", "-iter", "2048")


def openssl_3(holder: Holder, passphrase: str, made: Path) -> None:
    """As OpenSSL 3 does by itself."""
    holder.openssl(passphrase, made)


def windows_like(holder: Holder, passphrase: str, made: Path) -> None:
    """Triple DES for both, 2000 rounds, the key first, with Microsoft's attributes."""
    marks = ("-LMK", "-CSP", "Microsoft Enhanced Cryptographic Provider v1.0")
    holder.openssl(passphrase, made, *_OLD, "-certpbe", "PBE-SHA1-3DES", "-iter", "2000", *marks)
    made.write_bytes(windows(made.read_bytes(), passphrase))


def macos_like(holder: Holder, passphrase: str, made: Path) -> None:
    """A name in Chinese, a seal of one round, BER in pieces."""
    options = ("-certpbe", "PBE-SHA1-RC2-40", "-iter", "2048", "-nomaciter", "-name", "王小明的憑證")
    holder.openssl(passphrase, made, *_OLD, *options)
    made.write_bytes(in_pieces(made.read_bytes(), passphrase))


def keytool(holder: Holder, passphrase: str, made: Path) -> None:
    """Java's own program."""
    made.unlink(missing_ok=True)
    source = ("-srckeystore", holder.source, "-srcstoretype", "PKCS12", "-srcstorepass", THEIRS)
    target = ("-destkeystore", made, "-deststoretype", "PKCS12", "-deststorepass", passphrase)
    run("keytool", "-importkeystore", *source, *target, "-noprompt")


def bouncy_castle(holder: Holder, passphrase: str, made: Path) -> None:
    """BouncyCastle's key store, by a program of twenty lines."""
    secret = holder.folder / "secret.txt"
    secret.write_text(passphrase)
    jars = ":".join(f"/usr/share/java/{jar}.jar" for jar in JARS)
    classes = holder.folder / "classes"
    if not classes.exists():
        run("javac", "-cp", jars, "-d", classes, Path(__file__).parent / "java" / "Bundle.java")
    run("java", "-Dfile.encoding=UTF-8", "-cp", f"{jars}:{classes}", "Bundle", holder.source, THEIRS, made, secret)


def nss(holder: Holder, passphrase: str, made: Path) -> None:
    """NSS's pk12util, which Thunderbird's and Chromium's stores on Linux are handled with."""
    database = f"sql:{holder.folder}"
    if not (holder.folder / "cert9.db").exists():
        run("certutil", "-N", "-d", database, "--empty-password")
        run("pk12util", "-i", holder.source, "-d", database, "-W", THEIRS, "-K", "")
    run("pk12util", "-o", made, "-n", "own", "-d", database, "-W", passphrase, "-K", "")


def gnutls(holder: Holder, passphrase: str, made: Path) -> None:
    """GnuTLS's certtool."""
    made.unlink(missing_ok=True)
    parts = ("--load-privkey", holder.path("key"), "--load-certificate", holder.path("own"), "--p12-name", "own")
    secret = ("--password", passphrase) if passphrase else ("--empty-password",)
    run(
        "certtool",
        "--to-p12",
        *parts,
        "--load-ca-certificate",
        holder.path("chain"),
        *secret,
        "--outder",
        "--outfile",
        made,
    )


def cryptography(holder: Holder, passphrase: str, made: Path) -> None:
    """Python's cryptography with its best encryption; without a pass-phrase, with none."""
    key = load_pem_private_key(holder.path("key").read_bytes(), None)
    own = x509.load_pem_x509_certificate(holder.path("own").read_bytes())
    chain = x509.load_pem_x509_certificates(holder.path("chain").read_bytes())
    how: KeySerializationEncryption = NoEncryption()
    if passphrase:
        how = BestAvailableEncryption(passphrase.encode())
    if not isinstance(key, ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey):
        raise TypeError("a key of another kind")
    made.write_bytes(pkcs12.serialize_key_and_certificates(b"own", key, own, chain, how))


_BACK_UP = """
const [source, theirs, made, secret] = arguments;
const store = Cc["@mozilla.org/security/x509certdb;1"].getService(Ci.nsIX509CertDB);
const file = (path) => {
  const made = Cc["@mozilla.org/file/local;1"].createInstance(Ci.nsIFile);
  made.initWithPath(path);
  return made;
};
const owned = () => store.getCerts().filter((one) => one.certType & Ci.nsIX509Cert.USER_CERT);
for (const old of owned()) store.deleteCertificate(old);
const read = store.importPKCS12File(file(source), theirs);
return [read, owned().length, store.exportPKCS12File(file(made), owned(), secret)];
"""


@dataclass(frozen=True)
class Backups:
    """Firefox's "Backup": the function behind its button in the certificate manager."""

    engine: Engine

    def __call__(self, holder: Holder, passphrase: str, made: Path) -> None:
        """Import the source, and write what the button writes."""
        made.unlink(missing_ok=True)
        said = self.engine.script(_BACK_UP, str(holder.source), THEIRS, str(made), passphrase)
        if said != [0, 1, 0]:
            raise Unmade(f"Firefox says {said}")


@contextmanager
def backups(folder: Path) -> Iterator[Backups]:
    """Give a Firefox whose own code may be called."""
    with firefox(folder) as engine:
        engine.wire.command("Marionette:SetContext", value="chrome")
        yield Backups(engine)


PROGRAMS: dict[str, Make] = {
    "OpenSSL, as 1.1 did": openssl_1,
    "OpenSSL 3": openssl_3,
    "Java's keytool": keytool,
    "BouncyCastle": bouncy_castle,
    "NSS (pk12util)": nss,
    "GnuTLS (certtool)": gnutls,
    "Python's cryptography": cryptography,
    "layout of Windows": windows_like,
    "layout of macOS, BER": macos_like,
}
PASSPHRASES = {
    "ASCII": "Abc-1234-xyz",
    "Chinese": "憑證密碼一二三四",
    "240 characters": "aB3-" * 60,
    "emoji": "🔑🍵👍🏽🔑🍵",
    "none": "",
}
FIREFOX = "Firefox (Backup)"
UNMADE = {
    ("Java's keytool", "Chinese"): "Password is not ASCII",
    ("Java's keytool", "emoji"): "Password is not ASCII",
    ("Java's keytool", "none"): "Keystore password must be at least 6 characters",
}
"""What a program refuses to write, in its own words."""


def require() -> None:
    """Skip, and in CI fail, where a program is not installed."""
    for name in ("keytool", "javac", "pk12util", "certutil", "certtool"):
        program(name)
