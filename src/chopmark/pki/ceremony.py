"""The installation's own certificates, made at the ceremony: root, issuing CA, OCSP responder, time-stamp authority.

Names are (short name, value) pairs, most significant first; times are aware UTC, whole seconds, both inclusive; every
result is one DER certificate. Raises ValueError for a value that is not allowed in a name, and for times that are not
in order.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TypeAlias

from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.x509 import ObjectIdentifier
from cryptography.x509.oid import ExtendedKeyUsageOID

from chopmark.pki import signing
from chopmark.pki.draft import Urls, access, distribution_point, key_usage
from chopmark.pki.signing import IssuerKey
from chopmark.pki.x509 import IssuerView, name, require_whole_utc

Attributes: TypeAlias = Sequence[tuple[str, str]]
_ANY_POLICY = "2.5.29.32.0"


@dataclass(frozen=True, slots=True)
class SerialAndValidity:
    """What each certificate of the ceremony needs: serial number, first and last second of validity."""

    serial: int
    not_before: datetime
    not_after: datetime


def root_certificate(key: IssuerKey, subject: Attributes, terms: SerialAndValidity) -> bytes:
    """Return the self-signed root of `key` (RFC 5280 s.4.2): CA, keyCertSign, cRLSign."""
    spki_der = signing.spki(key.public_key())
    builder = _builder(name(subject), name(subject), spki_der, terms)
    builder = (
        builder.add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .add_extension(key_usage("keyCertSign", "cRLSign"), critical=True)
        .add_extension(_key_identifier(spki_der), critical=False)
    )
    return _signed(builder, key)


def issuing_certificate(
    root_key: IssuerKey,
    root: IssuerView,
    spki_der: bytes,
    subject: Attributes,
    terms: SerialAndValidity,
    urls: Urls,
    policy_oid: str = _ANY_POLICY,
) -> bytes:
    """Return the certificate of the issuing CA that has the key `spki_der`: path length 0, under the root.

    `urls.crl` is the root's list; `urls.ocsp` and `urls.ca_issuers` may be empty.
    """
    _require_issuer(root_key, root, terms)
    policy = x509.PolicyInformation(ObjectIdentifier(policy_oid), None)
    builder = (
        _builder(_subject_of(root), name(subject), spki_der, terms)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(key_usage("keyCertSign", "cRLSign"), critical=True)
        .add_extension(x509.CertificatePolicies([policy]), critical=False)
        .add_extension(distribution_point(urls.crl), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier(root.key_identifier, None, None), critical=False)
        .add_extension(_key_identifier(spki_der), critical=False)
    )
    if urls.ocsp or urls.ca_issuers:
        builder = builder.add_extension(access(urls), critical=False)
    return _signed(builder, root_key)


def ocsp_responder_certificate(
    issuer_key: IssuerKey, issuer: IssuerView, spki_der: bytes, subject: Attributes, terms: SerialAndValidity
) -> bytes:
    """Return the certificate of a delegated OCSP responder (RFC 6960 s.4.2.2.2): OCSPSigning and ocsp-nocheck."""
    _require_issuer(issuer_key, issuer, terms)
    builder = (
        _builder(_subject_of(issuer), name(subject), spki_der, terms)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(key_usage("digitalSignature"), critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.OCSP_SIGNING]), critical=False)
        .add_extension(x509.OCSPNoCheck(), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier(issuer.key_identifier, None, None), critical=False)
        .add_extension(_key_identifier(spki_der), critical=False)
    )
    return _signed(builder, issuer_key)


def timestamp_certificate(
    issuer_key: IssuerKey,
    issuer: IssuerView,
    spki_der: bytes,
    subject: Attributes,
    terms: SerialAndValidity,
    urls: Urls,
) -> bytes:
    """Return the certificate of a time-stamp authority (RFC 3161 s.2.3): timeStamping alone, critical.

    `urls.crl` is the issuer's list; `urls.ca_issuers` may be empty, and OCSP is not named.
    """
    _require_issuer(issuer_key, issuer, terms)
    builder = (
        _builder(_subject_of(issuer), name(subject), spki_der, terms)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(key_usage("digitalSignature"), critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.TIME_STAMPING]), critical=True)
        .add_extension(distribution_point(urls.crl), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier(issuer.key_identifier, None, None), critical=False)
        .add_extension(_key_identifier(spki_der), critical=False)
    )
    if urls.ca_issuers:
        builder = builder.add_extension(access(Urls("", urls.ca_issuers, "")), critical=False)
    return _signed(builder, issuer_key)


def _builder(
    issuer: x509.Name, subject: x509.Name, spki_der: bytes, terms: SerialAndValidity
) -> x509.CertificateBuilder:
    require_whole_utc(terms.not_before)
    require_whole_utc(terms.not_after)
    return (
        x509.CertificateBuilder(issuer_name=issuer, subject_name=subject)
        .serial_number(terms.serial)
        .not_valid_before(terms.not_before)
        .not_valid_after(terms.not_after)
        .public_key(signing.public_key(spki_der))
    )


def _signed(builder: x509.CertificateBuilder, key: IssuerKey) -> bytes:
    certificate = builder.sign(key, signing.kind_of(key).hash_algorithm)
    return certificate.public_bytes(serialization.Encoding.DER)


def _require_issuer(key: IssuerKey, issuer: IssuerView, terms: SerialAndValidity) -> None:
    if signing.spki(key.public_key()) != issuer.spki_der:
        raise ValueError("the key is not the issuer's")
    if not issuer.not_before <= terms.not_before < terms.not_after <= issuer.not_after:
        raise ValueError("the validity does not lie within the issuer's")


def _subject_of(issuer: IssuerView) -> x509.Name:
    return x509.load_der_x509_certificate(issuer.certificate_der).subject


def _key_identifier(spki_der: bytes) -> x509.SubjectKeyIdentifier:
    return x509.SubjectKeyIdentifier.from_public_key(signing.public_key(spki_der))
