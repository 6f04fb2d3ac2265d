"""A certificate before it is signed: the bytes to be signed, built from profile, issuer, key and our records."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import lru_cache
from typing import NamedTuple

from cryptography import x509
from cryptography.hazmat import asn1
from cryptography.x509 import ObjectIdentifier
from cryptography.x509.oid import ExtensionOID

from chopmark.core.types import IssuerId
from chopmark.pki import der, key_checks, signing
from chopmark.pki.algorithms import KeyKind
from chopmark.pki.profile import Profile
from chopmark.pki.x509 import Extension, IssuerView, TbsCertificate, Validity, name, require_whole_utc, time

SERIAL_RANDOM_BYTES = 17


class DraftError(ValueError):
    """No draft can be made; `code` is a stable word for the reason."""

    def __init__(self, code: str, reason: str) -> None:
        super().__init__(reason)
        self.code = code


@dataclass(frozen=True, slots=True)
class Urls:
    """Where relying parties ask about a certificate: absolute http addresses; `crl` is the serial's shard."""

    ocsp: str
    ca_issuers: str
    crl: str


class LintingCertificateKey(NamedTuple):
    """What drafts have in common that share one linting certificate."""

    profile: str
    version: int
    issuer: IssuerId
    key: KeyKind


@dataclass(frozen=True, slots=True)
class Draft:
    """An unsigned certificate; `tbs_der` is the exact TBSCertificate that will be signed."""

    tbs_der: bytes
    serial: int
    not_before: datetime
    not_after: datetime
    spki_sha256: str
    issuer: IssuerView
    linting_certificate_key: LintingCertificateKey

    @property
    def signature_algorithm_der(self) -> bytes:
        """The DER AlgorithmIdentifier that the issuer's key signs with."""
        return der.signature_algorithm(self.issuer.key)


def make_serial(node: int, random: bytes) -> int:
    """Return a serial number: an 8-bit node prefix and 136 random bits (RFC 5280 s.4.1.2.2: at most 20 octets).

    `node` is 1 to 0x7f, unique among the nodes that issue under one CA; `random` is 17 fresh random bytes.
    """
    if not 1 <= node <= 0x7F:
        raise ValueError("node must be from 1 to 127")
    if len(random) != SERIAL_RANDOM_BYTES:
        raise ValueError("a serial takes 17 random bytes")
    return node << 136 | int.from_bytes(random, "big")


def shard(serial: int, shards: int) -> int:
    """Return the number of the CRL shard of a serial, 0 to shards - 1, which never changes."""
    return serial % shards


def draft(
    profile: Profile,
    issuer: IssuerView,
    serial: int,
    spki_der: bytes,
    subject: Mapping[str, str],
    now: datetime,
    urls: Urls,
) -> Draft:
    """Return the draft of a customer's certificate.

    `subject` has at least the values that `profile.needs` names; `now` is aware UTC. Raises DraftError with a code:
    serial, key, subject, issuer_not_yet_valid, outlives_issuer.
    """
    # 1 the serial fits, the key is of a kind that the profile allows
    if not 0 < serial < 1 << 159:
        raise DraftError("serial", "a serial number must be positive and have at most 20 octets")
    kind = _kind(profile, spki_der)
    # 2 the validity lies within the issuer's
    not_before, not_after = _validity(profile, issuer, now)
    # 3 the subject comes from our records
    try:
        subject_der = der.tlv(0x30, *(_rdn(line.attribute, line.fill(subject)) for line in profile.subject))
    except ValueError as error:
        raise DraftError("subject", str(error)) from error
    # 4 what is this draft's own between the octets that all drafts of this kind share
    spki = _spki(spki_der)
    tbs_der = _template(profile, issuer, urls.ocsp, urls.ca_issuers).fill(
        serial,
        asn1.encode_der(Validity(not_before=time(not_before), not_after=time(not_after))),
        subject_der,
        spki,
        urls,
    )
    return Draft(
        tbs_der=tbs_der,
        serial=serial,
        not_before=not_before,
        not_after=not_after,
        spki_sha256=hashlib.sha256(spki_der).hexdigest(),
        issuer=issuer,
        linting_certificate_key=LintingCertificateKey(profile.name, profile.version, issuer.id, kind),
    )


@dataclass(frozen=True, slots=True)
class _Template:
    """The octets that all TBSCertificates of a profile, an issuer and its addresses share.

    Of the `extensions` two are not DER, because each certificate has its own: subject key identifier and CRL
    distribution point.
    """

    signature: bytes
    issuer: bytes
    extensions: tuple[bytes | Extension, ...]

    def fill(self, serial: int, validity: bytes, subject: bytes, spki: bytes, urls: Urls) -> bytes:
        """Return a TBSCertificate, DER, of what is its own, DER."""
        number = serial.to_bytes(serial.bit_length() // 8 + 1, "big")
        extensions = [one if isinstance(one, bytes) else _own(one, spki, urls) for one in self.extensions]
        return der.tlv(
            0x30,
            _VERSION_3,
            der.tlv(0x02, number),
            self.signature,
            self.issuer,
            validity,
            subject,
            spki,
            der.tlv(0xA3, der.tlv(0x30, *extensions)),
        )


_OWN = frozenset({ExtensionOID.SUBJECT_KEY_IDENTIFIER, ExtensionOID.CRL_DISTRIBUTION_POINTS})


def _own(extension: Extension, spki: bytes, urls: Urls) -> bytes:
    """Return the extension with this certificate's value, DER."""
    if extension.id == ExtensionOID.SUBJECT_KEY_IDENTIFIER:
        return _extension(extension, _key_identifier(spki))
    return _extension(extension, distribution_point_der(urls.crl))


_VERSION_3 = b"\xa0\x03\x02\x01\x02"
_CRITICAL = b"\x01\x01\xff"


@lru_cache(maxsize=64)
def _template(profile: Profile, issuer: IssuerView, ocsp_url: str, ca_issuers_url: str) -> _Template:
    """Let `cryptography` build one certificate of this kind with an empty signature, and cut it into its parts."""
    urls = Urls(ocsp_url, ca_issuers_url, ca_issuers_url)
    builder = x509.CertificateBuilder(issuer_name=_issuer_name(issuer), subject_name=_issuer_name(issuer))
    builder = (
        builder.serial_number(1)
        .not_valid_before(issuer.not_before)
        .not_valid_after(issuer.not_after)
        .public_key(signing.public_key(issuer.spki_der))
    )
    for extension, critical in _extensions(profile, issuer, issuer.spki_der, urls):
        builder = builder.add_extension(extension, critical=critical)
    unsigned = builder.sign(signing.key_from(issuer.spki_der, _no_signature), issuer.key.hash_algorithm)
    written = asn1.decode_der(TbsCertificate, unsigned.tbs_certificate_bytes)
    extensions = tuple(one if one.id in _OWN else _extension(one, one.value) for one in written.extensions)
    return _Template(der.encoded(written.signature), der.encoded(written.issuer), extensions)


def _extension(extension: Extension, value: bytes) -> bytes:
    critical = _CRITICAL if extension.critical else b""
    return der.tlv(0x30, _oid(extension.id), critical, der.tlv(0x04, value))


@lru_cache(maxsize=64)
def _oid(oid: ObjectIdentifier) -> bytes:
    return asn1.encode_der(oid)


@lru_cache(maxsize=1024)
def _rdn(attribute: str, value: str) -> bytes:
    """Return one RDN of a subject, DER; ValueError as `name`. Most of them are the firm's and the same each time."""
    (whole,) = der.parts(name([(attribute, value)]).public_bytes())
    return whole.content


def _spki(spki_der: bytes) -> bytes:
    """Return the key as the builder would write it; DraftError when it is none."""
    try:
        return signing.spki(signing.public_key(spki_der))
    except ValueError as error:
        raise DraftError("key", "the public key cannot be read") from error


def _key_identifier(spki_der: bytes) -> bytes:
    """RFC 5280 s.4.2.1.2 method (1): SHA-1 of the key's bits, as the extension's value."""
    info = asn1.decode_der(der.PublicKeyInfo, spki_der)
    return der.tlv(0x04, hashlib.sha1(info.key.as_bytes(), usedforsecurity=False).digest())


def assemble(tbs_der: bytes, signature_algorithm_der: bytes, signature: bytes) -> bytes:
    """Return the certificate, DER; ValueError when the TBS names another signature algorithm."""
    (tbs,) = der.parts(tbs_der)
    _, _, named, *_ = der.parts(tbs.content)
    if named.der != signature_algorithm_der:
        raise ValueError("the contents name another signature algorithm")
    return der.signed(tbs_der, signature_algorithm_der, signature)


def _no_signature(_: bytes) -> bytes:
    return b"\x00"


def _kind(profile: Profile, spki_der: bytes) -> KeyKind:
    try:
        kind = key_checks.kind(spki_der)
    except ValueError as error:
        raise DraftError("key", "the public key cannot be read") from error
    if kind not in profile.keys:
        raise DraftError("key", f"the profile {profile.name} does not allow a {kind} key")
    return kind


def _validity(profile: Profile, issuer: IssuerView, now: datetime) -> tuple[datetime, datetime]:
    now = now.replace(microsecond=0)
    require_whole_utc(now)
    if now < issuer.not_before:
        raise DraftError("issuer_not_yet_valid", "the issuer's certificate is not valid yet")
    not_before = max(now - timedelta(seconds=profile.backdate_s), issuer.not_before)
    not_after = profile.validity.after(not_before)
    if not_after > issuer.not_after:
        raise DraftError("outlives_issuer", "the certificate would be valid longer than its issuer's")
    return not_before, not_after


def _issuer_name(issuer: IssuerView) -> x509.Name:
    return x509.load_der_x509_certificate(issuer.certificate_der).subject


def _extensions(
    profile: Profile, issuer: IssuerView, spki_der: bytes, urls: Urls
) -> tuple[tuple[x509.ExtensionType, bool], ...]:
    cps = [profile.cps_uri] if profile.cps_uri else None
    policy = x509.PolicyInformation(ObjectIdentifier(profile.policy_oid), cps)
    return (
        (x509.BasicConstraints(ca=False, path_length=None), True),
        (key_usage(*profile.key_usage), True),
        (x509.ExtendedKeyUsage([ObjectIdentifier(oid) for oid in profile.eku]), False),
        (x509.CertificatePolicies([policy]), False),
        (access(urls), False),
        (distribution_point(urls.crl), False),
        (x509.AuthorityKeyIdentifier(issuer.key_identifier, None, None), False),
        (x509.SubjectKeyIdentifier.from_public_key(signing.public_key(spki_der)), False),
    )


def key_usage(*names: str) -> x509.KeyUsage:
    """Return the key usage with the named bits of RFC 5280 s.4.2.1.3 set."""
    return x509.KeyUsage(
        digital_signature="digitalSignature" in names,
        content_commitment="nonRepudiation" in names,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign="keyCertSign" in names,
        crl_sign="cRLSign" in names,
        encipher_only=False,
        decipher_only=False,
    )


def access(urls: Urls) -> x509.AuthorityInformationAccess:
    """Return the authority information access with the addresses that are not empty (RFC 5280 s.4.2.2.1)."""
    pairs = ((x509.oid.AuthorityInformationAccessOID.OCSP, urls.ocsp), (_CA_ISSUERS, urls.ca_issuers))
    return x509.AuthorityInformationAccess(
        [x509.AccessDescription(oid, x509.UniformResourceIdentifier(url)) for oid, url in pairs if url]
    )


def distribution_point(url: str) -> x509.CRLDistributionPoints:
    """Return the CRL distribution point with one address (RFC 5280 s.4.2.1.13)."""
    return x509.CRLDistributionPoints([x509.DistributionPoint([x509.UniformResourceIdentifier(url)], None, None, None)])


@lru_cache(maxsize=8192)
def distribution_point_der(url: str) -> bytes:
    """Return the value of the extension with one address, DER."""
    return distribution_point(url).public_bytes()


_CA_ISSUERS = x509.oid.AuthorityInformationAccessOID.CA_ISSUERS
