"""Throw-away certificates of servers, each its own CA."""

from datetime import UTC, datetime
from ipaddress import ip_address
from string import ascii_lowercase

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec


def certified(*addresses: str) -> tuple[bytes, bytes]:
    """Return a new key and a certificate for these IP addresses or names, both PEM."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "a server of the tests")])
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(datetime(2000, 1, 1, tzinfo=UTC))
        .not_valid_after(datetime(2100, 1, 1, tzinfo=UTC))
        .add_extension(x509.SubjectAlternativeName([_named(one) for one in addresses]), critical=False)
        .sign(key, hashes.SHA256())
    )
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    return private, made.public_bytes(serialization.Encoding.PEM)


def _named(address: str) -> x509.GeneralName:
    return x509.DNSName(address) if address[-1] in ascii_lowercase else x509.IPAddress(ip_address(address))
