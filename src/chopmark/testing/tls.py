"""Certificates for test servers on this machine, valid or expired. Do not use them for anything else."""

import ssl
from dataclasses import dataclass
from datetime import UTC, datetime
from ipaddress import ip_address
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

_BEGAN = datetime(2020, 1, 1, tzinfo=UTC)
_ENDED = datetime(2021, 1, 1, tzinfo=UTC)
_FAR = datetime(2099, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class ServerIdentity:
    """What a server of a test shows, and the PEM file by which a client trusts it."""

    server: ssl.SSLContext
    trust: Path
    until: datetime = _FAR


def server_identity(folder: Path, *, expired: bool = False) -> ServerIdentity:
    """Return a self-signed identity for localhost; its files are written into the folder."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "localhost")])
    names = x509.SubjectAlternativeName([x509.DNSName("localhost"), x509.IPAddress(ip_address("127.0.0.1"))])
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(_BEGAN)
        .not_valid_after(_ENDED if expired else _FAR)
        .add_extension(names, critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    word = "expired" if expired else "good"
    trust, secret = folder / f"{word}.pem", folder / f"{word}.key"
    trust.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    secret.write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(trust, secret)
    return ServerIdentity(context, trust, _ENDED if expired else _FAR)
