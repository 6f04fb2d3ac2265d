"""The bodies of EST messages (RFC 7030, 8951, 9908): base64, certs-only messages, and which request is wanted.

Pure: bytes in, bytes and verdicts out.
"""

import binascii
from base64 import b64decode, b64encode
from collections.abc import Sequence
from typing import Annotated

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat import asn1
from cryptography.hazmat.primitives.serialization import Encoding, pkcs7
from cryptography.x509 import ObjectIdentifier
from cryptography.x509.oid import ExtensionOID, PublicKeyAlgorithmOID

from chopmark.pki.algorithms import KeyKind
from chopmark.pki.cms import Attribute
from chopmark.pki.draft import key_usage
from chopmark.pki.profile import Profile
from chopmark.pki.x509 import Extension

_CURVES = {
    KeyKind.P256: ObjectIdentifier("1.2.840.10045.3.1.7"),  # secp256r1, RFC 5480 s.2.1.1.1
    KeyKind.P384: ObjectIdentifier("1.3.132.0.34"),  # secp384r1
}
_EXTENSION_REQUEST = ObjectIdentifier("1.2.840.113549.1.9.14")  # RFC 2985 s.5.4.2
_REQUEST_TEMPLATE = ObjectIdentifier("1.2.840.113549.1.9.16.2.61")  # RFC 9908 s.3.4
_CHANGE_SUBJECT_NAME = ObjectIdentifier("1.3.6.1.5.5.7.7.36")  # RFC 6402 s.2.8


@asn1.sequence
class _EcAlgorithm:
    algorithm: ObjectIdentifier
    curve: ObjectIdentifier


@asn1.sequence
class _KeyTemplate:
    """RFC 9908 SubjectPublicKeyInfoTemplate with its key left out: the client fills it in."""

    algorithm: _EcAlgorithm


@asn1.sequence
class _RequestTemplate:
    """RFC 9908 CertificationRequestInfoTemplate without a subject: ours is decided by the firm's records."""

    version: int
    key: Annotated[_KeyTemplate, asn1.Implicit(0)]
    attributes: Annotated[asn1.SetOf[Attribute], asn1.Implicit(1)]


@asn1.sequence
class _Extensions:
    key_usage: Extension
    extended_key_usage: Extension


@asn1.sequence
class _CsrAttributes:
    """RFC 8951 s.3.4 CsrAttrs: a SEQUENCE OF whose members are an attribute each, or an identifier."""

    key: Attribute
    signature: ObjectIdentifier
    extensions: Attribute
    template: Attribute


def _attribute(kind: ObjectIdentifier, value: object) -> Attribute:
    return Attribute(type=kind, values=asn1.SetOf([asn1.decode_der(asn1.TLV, asn1.encode_der(value))]))


def to_base64(der: bytes) -> bytes:
    """Return DER as an EST body: base64 in one line (RFC 8951 s.3.1)."""
    return b64encode(der)


def from_base64(body: bytes) -> bytes | None:
    """Return the bytes of an EST body; None for anything but base64. White space is tolerated (RFC 8951 s.3.1)."""
    try:
        return b64decode(b"".join(body.split()), validate=True) or None
    except (binascii.Error, ValueError):
        return None


def certs_only(certificates: Sequence[bytes]) -> bytes:
    """Return a certs-only CMC Simple PKI Response of these certificates, all DER (RFC 5272 s.4.1, RFC 7030 s.4.2.3)."""
    return pkcs7.serialize_certificates([x509.load_der_x509_certificate(der) for der in certificates], Encoding.DER)


def csr_attributes(profile: Profile) -> bytes | None:
    """Return the DER CsrAttrs that say which request a profile wants; None when it takes no key on a curve.

    The smallest permitted curve, the signature that goes with it, and the extensions of the certificate: once as the
    list that older clients read (RFC 7030 s.4.5.2), once as the template that newer ones prefer (RFC 9908 s.3.4). From
    a request only its key is used.
    """
    kind = next((kind for kind in _CURVES if kind in profile.keys), None)
    if kind is None:
        return None
    curve = _CURVES[kind]
    wanted = _Extensions(
        key_usage=Extension(
            id=ExtensionOID.KEY_USAGE, critical=True, value=key_usage(*profile.key_usage).public_bytes()
        ),
        extended_key_usage=Extension(
            id=ExtensionOID.EXTENDED_KEY_USAGE,
            critical=False,
            value=x509.ExtendedKeyUsage([ObjectIdentifier(oid) for oid in profile.eku]).public_bytes(),
        ),
    )
    extensions = _attribute(_EXTENSION_REQUEST, wanted)
    key = _KeyTemplate(algorithm=_EcAlgorithm(algorithm=PublicKeyAlgorithmOID.EC_PUBLIC_KEY, curve=curve))
    template = _RequestTemplate(version=0, key=key, attributes=asn1.SetOf([extensions]))
    return asn1.encode_der(
        _CsrAttributes(
            key=_attribute(PublicKeyAlgorithmOID.EC_PUBLIC_KEY, curve),
            signature=kind.signature_oid,
            extensions=extensions,
            template=_attribute(_REQUEST_TEMPLATE, template),
        )
    )


def names_the_same(csr_der: bytes, certificate_der: bytes) -> bool:
    """Tell whether a request asks for the names of the certificate that it renews (RFC 7030 s.4.2.2).

    Subject and subject alternative name are compared by value, whatever the string types; a request that wants
    another name by ChangeSubjectName (RFC 6402 s.2.8), or that cannot be read, asks for something else.
    """
    try:
        request, certificate = x509.load_der_x509_csr(csr_der), x509.load_der_x509_certificate(certificate_der)
        if any(attribute.oid == _CHANGE_SUBJECT_NAME for attribute in request.attributes):
            return False
        same = request.subject == certificate.subject
        return same and _alternative_names(request.extensions) == _alternative_names(certificate.extensions)
    except (ValueError, UnsupportedAlgorithm, x509.DuplicateExtension, x509.UnsupportedGeneralNameType):
        return False


def _alternative_names(extensions: x509.Extensions) -> x509.SubjectAlternativeName | None:
    try:
        return extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return None
