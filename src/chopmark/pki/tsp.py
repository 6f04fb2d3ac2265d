"""The time-stamp protocol (RFC 3161, RFC 5816): requests read strictly and written, answers made and signed."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import IntEnum
from typing import Annotated

from cryptography import x509
from cryptography.hazmat import asn1
from cryptography.x509 import ObjectIdentifier

from chopmark.pki import cms, signing
from chopmark.pki.der import AlgorithmIdentifier, NotDer, require_der, tlv
from chopmark.pki.signing import IssuerKey
from chopmark.pki.x509 import AskedExtension, Extension, require_whole_utc

MAX_REQUEST_BYTES = 4 * 1024
POLICY = "1.3.6.1.4.1.99999.17.3"
"""The policy that tokens name, in the example arc."""
ACCURACY_S = 2
"""Seconds: genTime has no fractions, and the clock may be wrong by a second."""
TST_INFO = "1.2.840.113549.1.9.16.1.4"
SIGNING_CERTIFICATE_V2 = "1.2.840.113549.1.9.16.2.47"
HASHES = {
    "2.16.840.1.101.3.4.2.1": "sha256",
    "2.16.840.1.101.3.4.2.2": "sha384",
    "2.16.840.1.101.3.4.2.3": "sha512",
}
"""The hash algorithms that an imprint may use (PKI-18), by OID."""


class FailInfo(IntEnum):
    """Why there is no token: the bit of PKIFailureInfo (RFC 3161 s.2.4.2)."""

    BAD_ALG = 0
    BAD_REQUEST = 2
    BAD_DATA_FORMAT = 5
    TIME_NOT_AVAILABLE = 14
    UNACCEPTED_POLICY = 15
    UNACCEPTED_EXTENSION = 16
    SYSTEM_FAILURE = 25


SAID = {
    FailInfo.BAD_ALG: "The imprint's hash is not accepted here: SHA-256, SHA-384 and SHA-512 are.",
    FailInfo.BAD_REQUEST: "The request's version is not 1.",
    FailInfo.BAD_DATA_FORMAT: (
        "This is no RFC 3161 request in DER of at most 4096 octets, or its imprint has not its hash's length."
    ),
    FailInfo.TIME_NOT_AVAILABLE: "This authority's clock cannot be believed now. Please ask again later.",
    FailInfo.UNACCEPTED_POLICY: f"The policy asked for is not ours: ask for {POLICY}, or for none.",
    FailInfo.UNACCEPTED_EXTENSION: "The request has an extension: none is understood here.",
    FailInfo.SYSTEM_FAILURE: "This authority cannot sign now. Please ask again later.",
}
"""The text that a refusal contains beside its bit, for readers of the client's log."""


@dataclass(frozen=True, slots=True)
class Ask:
    """A request that may get a token; `hash_name` is one of `HASHES`, `imprint` has that hash's length.

    `with_null`: the hash's parameters are NULL and not absent; the token repeats the imprint as it was asked for.
    """

    hash_name: str
    imprint: bytes
    nonce: int | None = None
    wants_certificate: bool = True
    with_null: bool = False


@asn1.sequence
class Imprint:
    """RFC 3161 s.2.4.1 MessageImprint."""

    algorithm: AlgorithmIdentifier
    digest: bytes


@asn1.sequence
class _Request:
    """RFC 3161 s.2.4.1; some clients encode `certReq FALSE`, which DER omits."""

    version: int
    imprint: Imprint
    policy: ObjectIdentifier | None
    nonce: int | None
    wants_certificate: bool | None
    extensions: Annotated[list[AskedExtension] | None, asn1.Implicit(0)]


@asn1.sequence
class Accuracy:
    """RFC 3161 s.2.4.2: the accuracy is the sum of the three."""

    seconds: int | None
    millis: Annotated[int | None, asn1.Implicit(0)]
    micros: Annotated[int | None, asn1.Implicit(1)]


@asn1.sequence
class TstInfo:
    """RFC 3161 s.2.4.2; `tsa`, one element under an explicit tag, is a list of one."""

    version: int
    policy: ObjectIdentifier
    imprint: Imprint
    serial: int
    time: asn1.GeneralizedTime
    accuracy: Accuracy | None
    ordering: bool | None
    nonce: int | None
    tsa: Annotated[list[asn1.TLV] | None, asn1.Implicit(0)]
    extensions: Annotated[list[Extension] | None, asn1.Implicit(1)]


@asn1.sequence
class _IssuerSerial:
    issuer: list[asn1.TLV]
    serial: int


@asn1.sequence
class _CertificateId:
    """RFC 5035 ESSCertIDv2; the hash is SHA-256, its default."""

    digest: bytes
    issuer_serial: _IssuerSerial


@asn1.sequence
class _SigningCertificate:
    certificates: list[_CertificateId]


@asn1.sequence
class StatusInfo:
    """RFC 3161 s.2.4.2 PKIStatusInfo."""

    status: int
    text: list[str] | None
    failure: asn1.BitString | None


@asn1.sequence
class AnyContent:
    """RFC 5652 s.3 ContentInfo; its content, one element under an explicit tag, is a list of one."""

    type: ObjectIdentifier
    content: Annotated[list[asn1.TLV], asn1.Implicit(0)]


@asn1.sequence
class Response:
    """RFC 3161 s.2.4.2 TimeStampResp."""

    status: StatusInfo
    token: AnyContent | None


def parse_request(request_der: bytes) -> Ask | FailInfo:
    """Return the request, or why it gets no token. Never raises.

    Well-formed DER of version 1, an imprint by SHA-256, SHA-384 or SHA-512 of the right length, our policy or none, and
    no extension, because RFC 3161 s.2.4.1 demands that unknown ones are refused.
    """
    if len(request_der) > MAX_REQUEST_BYTES:
        return FailInfo.BAD_DATA_FORMAT
    try:
        require_der(request_der)
        request = asn1.decode_der(_Request, request_der)
    except (NotDer, ValueError):
        return FailInfo.BAD_DATA_FORMAT
    hash_name = HASHES.get(request.imprint.algorithm.algorithm.dotted_string)
    if request.version != 1:
        return FailInfo.BAD_REQUEST
    if hash_name is None:
        return FailInfo.BAD_ALG
    if len(request.imprint.digest) != hashlib.new(hash_name).digest_size:
        return FailInfo.BAD_DATA_FORMAT
    if request.policy is not None and request.policy.dotted_string != POLICY:
        return FailInfo.UNACCEPTED_POLICY
    if request.extensions is not None:
        return FailInfo.UNACCEPTED_EXTENSION
    with_null = request.imprint.algorithm.parameters is not None
    return Ask(hash_name, request.imprint.digest, request.nonce, bool(request.wants_certificate), with_null)


def build_request(imprint_sha256: bytes, nonce: int) -> bytes:
    """Return a request for a token with its certificate over a SHA-256 imprint, DER."""
    return asn1.encode_der(
        _Request(
            version=1,
            imprint=_imprint(Ask("sha256", imprint_sha256)),
            policy=None,
            nonce=nonce,
            wants_certificate=True,
            extensions=None,
        )
    )


def build_token(
    key: IssuerKey, certificate_der: bytes, above: Sequence[bytes], ask: Ask, serial: int, at: datetime
) -> bytes:
    """Return the signed TimeStampToken, DER: who signed is named by signing-certificate-v2 (RFC 5816).

    `at` is aware UTC in whole seconds, at which the certificate is valid; `above` are the CA certificates that go
    along when the request wants them. ValueError when the certificate is of another key or not valid at the moment.
    """
    require_whole_utc(at)
    certificate = x509.load_der_x509_certificate(certificate_der)
    if signing.spki_of(certificate) != signing.spki(key.public_key()):
        raise ValueError("the authority's certificate is of another key")
    if not certificate.not_valid_before_utc <= at <= certificate.not_valid_after_utc:
        raise ValueError("the authority's certificate is not valid at this time")
    content = TstInfo(
        version=1,
        policy=ObjectIdentifier(POLICY),
        imprint=_imprint(ask),
        serial=serial,
        time=asn1.GeneralizedTime(at),
        accuracy=Accuracy(seconds=ACCURACY_S, millis=None, micros=None),
        ordering=None,
        nonce=ask.nonce,
        tsa=[_directory_name(certificate.subject)],
        extensions=None,
    )
    attribute = asn1.encode_der(_SigningCertificate(certificates=[_certificate_id(certificate_der, certificate)]))
    included = (certificate_der, *above) if ask.wants_certificate else ()
    return cms.sign(
        asn1.encode_der(content), TST_INFO, key, certificate_der, [(SIGNING_CERTIFICATE_V2, attribute)], included
    )


def granted(token_der: bytes) -> bytes:
    """Return the answer that carries a token, DER: status granted (0)."""
    status = StatusInfo(status=0, text=None, failure=None)
    return asn1.encode_der(Response(status=status, token=asn1.decode_der(AnyContent, token_der)))


def rejection(why: FailInfo) -> bytes:
    """Return the answer without a token, DER: status rejection (2), a sentence, and one bit of why."""
    octets = bytearray(why // 8 + 1)
    octets[-1] = 0x80 >> why % 8
    status = StatusInfo(status=2, text=[SAID[why]], failure=asn1.BitString(bytes(octets), 7 - why % 8))
    return asn1.encode_der(Response(status=status, token=None))


def _imprint(ask: Ask) -> Imprint:
    (oid,) = (oid for oid, name in HASHES.items() if name == ask.hash_name)
    parameters = asn1.Null() if ask.with_null else None
    algorithm = AlgorithmIdentifier(algorithm=ObjectIdentifier(oid), parameters=parameters)
    return Imprint(algorithm=algorithm, digest=ask.imprint)


def _directory_name(name: x509.Name) -> asn1.TLV:
    """A GeneralName of the kind directoryName: [4], explicit because Name is a CHOICE (RFC 5280 s.4.2.1.6)."""
    return asn1.decode_der(asn1.TLV, tlv(0xA4, name.public_bytes()))


def _certificate_id(certificate_der: bytes, certificate: x509.Certificate) -> _CertificateId:
    return _CertificateId(
        digest=hashlib.sha256(certificate_der).digest(),
        issuer_serial=_IssuerSerial(issuer=[_directory_name(certificate.issuer)], serial=certificate.serial_number),
    )
