"""The only form of CMS SignedData that is made and accepted here (RFC 5652): DER, content attached, one signer."""

import hashlib
import hmac
from collections.abc import Callable, Sequence
from enum import StrEnum
from typing import Annotated

from cryptography import x509
from cryptography.hazmat import asn1
from cryptography.hazmat.primitives import hashes
from cryptography.x509 import ObjectIdentifier

from chopmark.pki import signing
from chopmark.pki.algorithms import KeyKind
from chopmark.pki.der import AlgorithmIdentifier, encoded
from chopmark.pki.signing import IssuerKey

_SIGNED_DATA = ObjectIdentifier("1.2.840.113549.1.7.2")
_CONTENT_TYPE = ObjectIdentifier("1.2.840.113549.1.9.3")
_MESSAGE_DIGEST = ObjectIdentifier("1.2.840.113549.1.9.4")
_SIGNING_TIME = ObjectIdentifier("1.2.840.113549.1.9.5")
_SHA256 = ObjectIdentifier("2.16.840.1.101.3.4.2.1")
_RSA = ObjectIdentifier("1.2.840.113549.1.1.1")
_RSA_SHA256 = ObjectIdentifier("1.2.840.113549.1.1.11")
_ECDSA_SHA256 = ObjectIdentifier("1.2.840.10045.4.3.2")


class Fault(StrEnum):
    """What is wrong with a CMS message."""

    CONTENT_TYPE = "content_type"
    NOT_ATTACHED = "not_attached"
    ONE_SIGNER = "one_signer"
    VERSION = "version"
    DIGEST_ALGORITHM = "digest_algorithm"
    SIGNATURE_ALGORITHM = "signature_algorithm"
    SIGNER = "signer"
    ATTRIBUTES = "attributes"
    MESSAGE_DIGEST = "message_digest"
    SIGNATURE = "signature"


class CmsError(ValueError):
    """The message is well-formed but not acceptable; `fault` says why."""

    def __init__(self, fault: Fault) -> None:
        super().__init__(fault)
        self.fault = fault


@asn1.sequence
class Attribute:
    """One signed or unsigned attribute (RFC 5652 s.5.3)."""

    type: ObjectIdentifier
    values: asn1.SetOf[asn1.TLV]


@asn1.sequence
class IssuerAndSerial:
    """How a signer is named (RFC 5652 s.10.2.4)."""

    issuer: asn1.TLV
    serial: int


@asn1.sequence
class _SignerInfo:
    version: int
    sid: IssuerAndSerial | Annotated[bytes, asn1.Implicit(0)]
    digest_algorithm: AlgorithmIdentifier
    signed_attributes: Annotated[asn1.SetOf[Attribute] | None, asn1.Implicit(0)]
    signature_algorithm: AlgorithmIdentifier
    signature: bytes


@asn1.sequence
class _Encapsulated:
    type: ObjectIdentifier
    content: Annotated[bytes | None, asn1.Explicit(0)]


@asn1.sequence
class _SignedData:
    version: int
    digest_algorithms: asn1.SetOf[AlgorithmIdentifier]
    encapsulated: _Encapsulated
    certificates: Annotated[asn1.SetOf[asn1.TLV] | None, asn1.Implicit(0)]
    signers: asn1.SetOf[_SignerInfo]


@asn1.sequence
class _ContentInfo:
    type: ObjectIdentifier
    content: Annotated[_SignedData, asn1.Explicit(0)]


def sign(
    content: bytes,
    content_type: str,
    key: IssuerKey,
    certificate_der: bytes,
    more: Sequence[tuple[str, bytes]] = (),
    included: Sequence[bytes] = (),
) -> bytes:
    """Return SignedData with the content attached, DER: SHA-256, signed attributes contentType and messageDigest.

    `more` are further signed attributes as (type, DER of the only value); `included` are certificates to put into the
    message.
    """
    certificate = x509.load_der_x509_certificate(certificate_der)
    named = IssuerAndSerial(
        issuer=asn1.decode_der(asn1.TLV, certificate.issuer.public_bytes()), serial=certificate.serial_number
    )
    return _sign(content, content_type, key, named, more, included)


def sign_by_key(content: bytes, content_type: str, key: IssuerKey) -> bytes:
    """Return SignedData like `sign`, made by a key without a certificate: the SHA-256 of its SPKI names the key.

    RFC 5652 s.5.3 (subjectKeyIdentifier, version 3) and RFC 7093 s.2, method 4.
    """
    return _sign(content, content_type, key, _key_identifier(signing.spki(key.public_key())), (), ())


def _key_identifier(spki_der: bytes) -> bytes:
    return hashlib.sha256(spki_der).digest()


def _sign(
    content: bytes,
    content_type: str,
    key: IssuerKey,
    named: IssuerAndSerial | bytes,
    more: Sequence[tuple[str, bytes]],
    included: Sequence[bytes],
) -> bytes:
    attributes = _attributes(content, content_type, more)
    algorithm = (
        AlgorithmIdentifier(algorithm=_ECDSA_SHA256, parameters=None)
        if signing.kind_of(key).is_ec
        else AlgorithmIdentifier(algorithm=_RSA_SHA256, parameters=asn1.Null())
    )
    signer = _SignerInfo(
        version=1 if isinstance(named, IssuerAndSerial) else 3,
        sid=named,
        digest_algorithm=AlgorithmIdentifier(algorithm=_SHA256, parameters=None),
        signed_attributes=attributes,
        signature_algorithm=algorithm,
        signature=signing.sign_with(key, asn1.encode_der(attributes), hashes.SHA256()),
    )
    data = _SignedData(
        version=3,
        digest_algorithms=asn1.SetOf([AlgorithmIdentifier(algorithm=_SHA256, parameters=None)]),
        encapsulated=_Encapsulated(type=ObjectIdentifier(content_type), content=content),
        certificates=asn1.SetOf([asn1.decode_der(asn1.TLV, one) for one in included]) if included else None,
        signers=asn1.SetOf([signer]),
    )
    return asn1.encode_der(_ContentInfo(type=_SIGNED_DATA, content=data))


def _attributes(content: bytes, content_type: str, more: Sequence[tuple[str, bytes]]) -> asn1.SetOf[Attribute]:
    values = (
        (_CONTENT_TYPE, asn1.encode_der(ObjectIdentifier(content_type))),
        (_MESSAGE_DIGEST, asn1.encode_der(hashlib.sha256(content).digest())),
        *((ObjectIdentifier(oid), value) for oid, value in more),
    )
    return asn1.SetOf(
        [Attribute(type=oid, values=asn1.SetOf([asn1.decode_der(asn1.TLV, value)])) for oid, value in values]
    )


def verified_content(cms_der: bytes, content_type: str, certificate_der: bytes) -> bytes:
    """Return the content that the certificate's key has signed (RFC 5652 s.5.4 and 5.6).

    Accepts: version 3, the given content type, content attached, one signer identified by issuer and serial or by key
    identifier, SHA-256 with ECDSA (P-256, P-384) or RSASSA-PKCS1-v1_5, and the signed attributes contentType,
    messageDigest and, optionally, signingTime, without any other. Certificates in the message are ignored. Raises
    CmsError with the fault, and ValueError when the bytes are no such structure.
    """
    certificate = x509.load_der_x509_certificate(certificate_der)
    return _content(cms_der, content_type, signing.spki_of(certificate), lambda signer: _names(signer, certificate))


def content_by_key(cms_der: bytes, content_type: str, spki_der: bytes) -> bytes:
    """Return the content that this key has signed, named as by `sign_by_key`; otherwise as `verified_content`."""
    expected = _key_identifier(spki_der)
    return _content(
        cms_der,
        content_type,
        spki_der,
        lambda signer: isinstance(signer.sid, bytes) and hmac.compare_digest(signer.sid, expected),
    )


def _content(cms_der: bytes, content_type: str, spki_der: bytes, names: Callable[[_SignerInfo], bool]) -> bytes:
    info = asn1.decode_der(_ContentInfo, cms_der)
    if info.type != _SIGNED_DATA or info.content.encapsulated.type.dotted_string != content_type:
        raise CmsError(Fault.CONTENT_TYPE)
    data = info.content
    if data.encapsulated.content is None:
        raise CmsError(Fault.NOT_ATTACHED)
    signers = data.signers.as_list()
    if len(signers) != 1:
        raise CmsError(Fault.ONE_SIGNER)
    signer = signers[0]
    if data.version != 3 or signer.version != (1 if isinstance(signer.sid, IssuerAndSerial) else 3):
        raise CmsError(Fault.VERSION)
    if [a.algorithm for a in (*data.digest_algorithms.as_list(), signer.digest_algorithm)] != [_SHA256, _SHA256]:
        raise CmsError(Fault.DIGEST_ALGORITHM)
    if not names(signer):
        raise CmsError(Fault.SIGNER)
    attributes = signer.signed_attributes
    _require_attributes(attributes, content_type, data.encapsulated.content)
    key = signing.public_key(spki_der)
    if not _suits(signer.signature_algorithm, signing.kind_of(key)):
        raise CmsError(Fault.SIGNATURE_ALGORITHM)
    if not signing.verifies(key, signer.signature, asn1.encode_der(attributes), hashes.SHA256()):
        raise CmsError(Fault.SIGNATURE)
    return data.encapsulated.content


def _names(signer: _SignerInfo, certificate: x509.Certificate) -> bool:
    if isinstance(signer.sid, IssuerAndSerial):
        named = (encoded(signer.sid.issuer), signer.sid.serial)
        return named == (certificate.issuer.public_bytes(), certificate.serial_number)
    try:
        identifier = certificate.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value.digest
    except x509.ExtensionNotFound:
        return False
    return hmac.compare_digest(signer.sid, identifier)


def _suits(algorithm: AlgorithmIdentifier, kind: KeyKind) -> bool:
    if kind.is_ec:
        return algorithm.algorithm == _ECDSA_SHA256 and algorithm.parameters is None
    return algorithm.algorithm in (_RSA, _RSA_SHA256)


def _require_attributes(attributes: asn1.SetOf[Attribute] | None, content_type: str, content: bytes) -> None:
    """RFC 5652 s.5.3: contentType and messageDigest are mandatory, each with one value."""
    values: dict[ObjectIdentifier, bytes] = {}
    for attribute in attributes.as_list() if attributes is not None else []:
        single = attribute.values.as_list()
        if len(single) != 1 or attribute.type in values:
            raise CmsError(Fault.ATTRIBUTES)
        values[attribute.type] = encoded(single[0])
    optional = {_SIGNING_TIME} & values.keys()
    if values.keys() != {_CONTENT_TYPE, _MESSAGE_DIGEST} | optional:
        raise CmsError(Fault.ATTRIBUTES)
    if optional and values[_SIGNING_TIME][:1] not in (b"\x17", b"\x18"):
        raise CmsError(Fault.ATTRIBUTES)
    if values[_CONTENT_TYPE] != asn1.encode_der(ObjectIdentifier(content_type)):
        raise CmsError(Fault.CONTENT_TYPE)
    if values[_MESSAGE_DIGEST] != asn1.encode_der(hashlib.sha256(content).digest()):
        raise CmsError(Fault.MESSAGE_DIGEST)
