"""X.509 structures, what an issuer's certificate says, and times as RFC 5280 encodes them."""

import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Annotated, TypeAlias

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat import asn1
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509 import ObjectIdentifier
from cryptography.x509.oid import NameOID

from chopmark.core.types import IssuerId, Serial
from chopmark.pki import signing
from chopmark.pki.algorithms import KeyKind
from chopmark.pki.der import parts

Time: TypeAlias = asn1.UTCTime | asn1.GeneralizedTime
RDN_OIDS = {
    "C": NameOID.COUNTRY_NAME,
    "O": NameOID.ORGANIZATION_NAME,
    "OU": NameOID.ORGANIZATIONAL_UNIT_NAME,
    "CN": NameOID.COMMON_NAME,
    "serialNumber": NameOID.SERIAL_NUMBER,
}
MAX_RDN_CHARACTERS = 64
_VERSION = 0xA0
_FORBIDDEN_CATEGORIES = frozenset({"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"})


@asn1.sequence
class Extension:
    """RFC 5280 s.4.1 Extension; `value` is the DER inside the OCTET STRING."""

    id: ObjectIdentifier
    critical: Annotated[bool, asn1.Default(False)]
    value: bytes


@asn1.sequence
class AskedExtension:
    """An extension of a request; some clients encode `critical FALSE`, which DER omits."""

    id: ObjectIdentifier
    critical: bool | None
    value: bytes


@asn1.sequence
class Validity:
    """RFC 5280 s.4.1.2.5; both ends belong to the validity."""

    not_before: Time
    not_after: Time


@asn1.sequence
class Attribute:
    """RFC 5280 s.4.1.2.4 AttributeTypeAndValue."""

    type: ObjectIdentifier
    value: asn1.TLV


@asn1.sequence
class TbsCertificate:
    """RFC 5280 s.4.1 TBSCertificate, version 3, without unique identifiers."""

    version: Annotated[int, asn1.Explicit(0)]
    serial: int
    signature: asn1.TLV
    issuer: asn1.TLV
    validity: Validity
    subject: list[asn1.SetOf[Attribute]]
    public_key: asn1.TLV
    extensions: Annotated[list[Extension], asn1.Explicit(3)]


@dataclass(frozen=True, slots=True)
class IssuerView:
    """What an issuing CA's certificate says, read once."""

    id: IssuerId
    certificate_der: bytes
    name_der: bytes
    spki_der: bytes
    key: KeyKind
    key_identifier: bytes
    not_before: datetime
    not_after: datetime

    @classmethod
    def read(cls, issuer_id: IssuerId, certificate_der: bytes) -> "IssuerView":
        """Return the view of a CA certificate; ValueError when it is none or has no key identifier."""
        certificate = x509.load_der_x509_certificate(certificate_der)
        try:
            constraints = certificate.extensions.get_extension_for_class(x509.BasicConstraints).value
            identifier = certificate.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value
        except x509.ExtensionNotFound as error:
            raise ValueError("the issuer's certificate lacks basic constraints or its key identifier") from error
        if not constraints.ca:
            raise ValueError("the issuer's certificate is not a CA certificate")
        public = signing.public_key(signing.spki_of(certificate))
        return cls(
            id=issuer_id,
            certificate_der=certificate_der,
            name_der=certificate.subject.public_bytes(),
            spki_der=signing.spki(public),
            key=signing.kind_of(public),
            key_identifier=identifier.digest,
            not_before=certificate.not_valid_before_utc,
            not_after=certificate.not_valid_after_utc,
        )


def time(moment: datetime) -> Time:
    """Return the moment as RFC 5280 s.4.1.2.5 encodes it: UTCTime through 2049, then GeneralizedTime."""
    require_whole_utc(moment)
    return asn1.UTCTime(moment) if moment.year < 2050 else asn1.GeneralizedTime(moment)


def moment(value: Time) -> datetime:
    """Return the aware UTC datetime of a decoded time."""
    return value.as_datetime().astimezone(UTC)


def require_whole_utc(moment: datetime) -> None:
    """Do nothing for an aware UTC time in whole seconds; raise ValueError otherwise."""
    if moment.utcoffset() != timedelta(0) or moment.microsecond:
        raise ValueError("a time must be aware, UTC, in whole seconds")


def name(attributes: Sequence[tuple[str, str]]) -> x509.Name:
    """Return a Name of (short name, value) pairs, one RDN each, in the order given.

    Raises ValueError for an unknown short name and for a value that `require_value` refuses.
    """
    pairs = []
    for short, value in attributes:
        if short not in RDN_OIDS:
            raise ValueError(f"{short} is no known name attribute")
        require_value(short, value)
        pairs.append(x509.NameAttribute(RDN_OIDS[short], value))
    return x509.Name(pairs)


def require_value(short: str, value: str) -> None:
    """Do nothing for a value that a name may contain; raise ValueError otherwise (RFC 5280 appendix A.1, PKI-03).

    1 to 64 characters (C: two capital letters), no control, format (bidi), private or unassigned character, and
    no white space at either end.
    """
    if short == "C" and not (len(value) == 2 and value.isascii() and value.isupper()):
        raise ValueError("C is not a two-letter country code")
    if not 1 <= len(value) <= MAX_RDN_CHARACTERS:
        raise ValueError(f"{short} does not have 1 to {MAX_RDN_CHARACTERS} characters")
    if value != value.strip():
        raise ValueError(f"{short} begins or ends with white space")
    if value.isascii() and value.isprintable():
        return
    if any(unicodedata.category(character) in _FORBIDDEN_CATEGORIES for character in value):
        raise ValueError(f"{short} contains a character that cannot be printed")


def serial_hex(serial: int) -> str:
    """Return a serial number's octets as upper-case hexadecimal: an even number of digits, as openssl prints them."""
    return serial.to_bytes((serial.bit_length() + 7) // 8 or 1, "big").hex().upper()


def serial_in(certificate: x509.Certificate) -> Serial:
    """Return a certificate's serial number as `serial_hex` writes it.

    Some CAs forget the zero before a number whose first bit is set, so that it is negative. Their lists do the same,
    and most programs show the octets. So the octets are its number.
    """
    number = certificate.serial_number
    if number >= 0:
        return Serial(serial_hex(number))
    return Serial(number.to_bytes(((~number).bit_length() + 8) // 8, "big", signed=True).hex().upper())


def serial_of(certificate_der: bytes) -> Serial:
    """Return a certificate's serial number, as `serial_in` writes it; ValueError for what is no certificate."""
    return serial_in(x509.load_der_x509_certificate(certificate_der))


def spki_der(certificate_der: bytes) -> bytes:
    """Return a certificate's SubjectPublicKeyInfo, DER."""
    return signing.spki_of(x509.load_der_x509_certificate(certificate_der))


def any_spki(certificate: x509.Certificate) -> bytes:
    """Return a certificate's SubjectPublicKeyInfo, also of a kind of key that no library here knows.

    One that can be read is returned in its one encoding, so that the same key is recognised however it was written.
    """
    try:
        return signing.spki_of(certificate)
    except (ValueError, UnsupportedAlgorithm):
        return _spki_as_written(certificate.tbs_certificate_bytes)


def _spki_as_written(tbs_der: bytes) -> bytes:
    """Return the seventh part of a TBSCertificate; the sixth where the version (RFC 5280 s.4.1.2.1) is left out."""
    (body,) = parts(tbs_der)
    inside = parts(body.content)
    return inside[6 if inside[0].tag == _VERSION else 5].der


def not_after(certificate_der: bytes) -> datetime:
    """Return the last moment of a certificate's validity, aware UTC."""
    return x509.load_der_x509_certificate(certificate_der).not_valid_after_utc


def read_certificates(data: bytes) -> tuple[bytes, ...]:
    """Return the certificates of a PEM file, DER, or the one of a DER file; ValueError when there is none."""
    if b"-----BEGIN" not in data:
        return (x509.load_der_x509_certificate(data).public_bytes(Encoding.DER),)
    return tuple(one.public_bytes(Encoding.DER) for one in x509.load_pem_x509_certificates(data))
