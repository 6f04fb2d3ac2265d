"""OCSP (RFC 6960, nonce RFC 9654): read requests strictly, and sign answers about one or more certificates."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import IntEnum
from typing import Annotated, Literal, TypeAlias

from cryptography import x509
from cryptography.hazmat import asn1
from cryptography.hazmat.primitives import serialization
from cryptography.x509 import ObjectIdentifier
from cryptography.x509.oid import OCSPExtensionOID

from chopmark.pki import der, signing
from chopmark.pki.crl import CrlReason
from chopmark.pki.der import AlgorithmIdentifier, NotDer, PublicKeyInfo, encoded, require_der
from chopmark.pki.signing import IssuerKey
from chopmark.pki.x509 import AskedExtension, Extension, IssuerView, require_whole_utc

MAX_REQUEST_BYTES = 16 * 1024
MAX_CERT_IDS = 32
MAX_NONCE_BYTES = 128
_HASHES = {"1.3.14.3.2.26": "sha1", "2.16.840.1.101.3.4.2.1": "sha256"}
_BASIC = ObjectIdentifier("1.3.6.1.5.5.7.48.1.1")


@asn1.sequence
class _CertId:
    hash_algorithm: AlgorithmIdentifier
    issuer_name_hash: bytes
    issuer_key_hash: bytes
    serial: int


@asn1.sequence
class _Request:
    cert_id: asn1.TLV
    extensions: Annotated[list[AskedExtension] | None, asn1.Explicit(0)]


@asn1.sequence
class _TbsRequest:
    """The requestor's name has an explicit tag and is therefore read as a list with one element; it is ignored.

    The version may be written out, though DER leaves a default out: clients exist that write it.
    """

    version: Annotated[int | None, asn1.Explicit(0)]
    requestor: Annotated[list[asn1.TLV] | None, asn1.Implicit(1)]
    requests: list[_Request]
    extensions: Annotated[list[AskedExtension] | None, asn1.Explicit(2)]


@asn1.sequence
class _OcspRequest:
    body: _TbsRequest
    signature: Annotated[list[asn1.TLV] | None, asn1.Implicit(0)]


@asn1.sequence
class _RevokedInfo:
    at: asn1.GeneralizedTime
    reason: Annotated[list[asn1.TLV] | None, asn1.Implicit(0)]


_Good: TypeAlias = Annotated[asn1.Variant[asn1.Null, Literal["good"]], asn1.Implicit(0)]
_Revoked: TypeAlias = Annotated[asn1.Variant[_RevokedInfo, Literal["revoked"]], asn1.Implicit(1)]
_Unknown: TypeAlias = Annotated[asn1.Variant[asn1.Null, Literal["unknown"]], asn1.Implicit(2)]


@asn1.sequence
class _Single:
    cert_id: asn1.TLV
    status: _Good | _Revoked | _Unknown
    this_update: asn1.GeneralizedTime
    next_update: Annotated[asn1.GeneralizedTime, asn1.Explicit(0)]


@asn1.sequence
class _ResponseData:
    responder: Annotated[bytes, asn1.Explicit(2)]
    produced_at: asn1.GeneralizedTime
    responses: list[_Single]
    extensions: Annotated[list[Extension] | None, asn1.Explicit(1)]


@asn1.sequence
class _Basic:
    body: asn1.TLV
    algorithm: asn1.TLV
    signature: asn1.BitString
    certificates: Annotated[list[asn1.TLV], asn1.Explicit(0)]


@asn1.sequence
class _ResponseBytes:
    type: ObjectIdentifier
    response: bytes


@asn1.sequence
class _Successful:
    status: asn1.TLV
    bytes: Annotated[_ResponseBytes, asn1.Explicit(0)]


@dataclass(frozen=True, slots=True)
class CertId:
    """Which certificate is asked about; `der` is the CertID as received, because the answer repeats its octets.

    `hash_algorithm` is "sha1", "sha256", or the dotted OID of an algorithm that we do not support.
    """

    hash_algorithm: str
    issuer_name_hash: bytes
    issuer_key_hash: bytes
    serial: int
    der: bytes


@dataclass(frozen=True, slots=True)
class OcspRequest:
    """A well-formed request about 1 to 32 certificates; `nonce` has 1 to 128 octets."""

    cert_ids: tuple[CertId, ...]
    nonce: bytes | None


@dataclass(frozen=True, slots=True)
class Malformed:
    """A request to be answered malformedRequest; `reason` is for logs."""

    reason: str


@dataclass(frozen=True, slots=True)
class Good:
    """Issued and not revoked."""


@dataclass(frozen=True, slots=True)
class Revoked:
    """Revoked at a moment (aware UTC, whole seconds), for a reason."""

    at: datetime
    reason: CrlReason


@dataclass(frozen=True, slots=True)
class Unknown:
    """Not issued here."""


Status: TypeAlias = Good | Revoked | Unknown


@dataclass(frozen=True, slots=True)
class Answer:
    """The status of one certificate; `cert_id_der` is as in the request; times are aware UTC, whole seconds."""

    cert_id_der: bytes
    status: Status
    this_update: datetime
    next_update: datetime


class ErrorStatus(IntEnum):
    """RFC 6960 s.4.2.1: the unsigned answers."""

    MALFORMED_REQUEST = 1
    INTERNAL_ERROR = 2
    TRY_LATER = 3
    SIG_REQUIRED = 5
    UNAUTHORIZED = 6


def error_response(status: ErrorStatus) -> bytes:
    """Return the unsigned OCSPResponse of an error, DER."""
    return bytes((0x30, 3, 0x0A, 1, status))


def parse_request(der_bytes: bytes) -> OcspRequest | Malformed:
    """Return what an OCSPRequest asks; never raises.

    Malformed: more than 16 KiB, not DER, no or over 32 CertIDs, an unknown critical extension, a nonce that is
    empty or has more than 128 octets (RFC 9654 s.2.1). A signature on the request is not looked at.
    """
    if len(der_bytes) > MAX_REQUEST_BYTES:
        return Malformed("too large")
    try:
        require_der(der_bytes)
        body = asn1.decode_der(_OcspRequest, der_bytes).body
        cert_ids = tuple(_cert_id(encoded(request.cert_id)) for request in body.requests)
        extensions = [e for request in body.requests for e in request.extensions or []]
        nonce = _nonce(body.extensions or [])
    except (NotDer, ValueError) as error:
        return Malformed(str(error))
    if (body.version or 0) != 0 or not 1 <= len(cert_ids) <= MAX_CERT_IDS:
        return Malformed("version or number of certificates")
    if any(extension.critical for extension in extensions):
        return Malformed("unknown critical extension")
    return OcspRequest(cert_ids, nonce)


def _cert_id(cert_id_der: bytes) -> CertId:
    read = asn1.decode_der(_CertId, cert_id_der)
    oid = read.hash_algorithm.algorithm.dotted_string
    return CertId(_HASHES.get(oid, oid), read.issuer_name_hash, read.issuer_key_hash, read.serial, cert_id_der)


def _nonce(extensions: Sequence[AskedExtension]) -> bytes | None:
    if len({extension.id for extension in extensions}) != len(extensions):
        raise ValueError("an extension stands twice")
    nonce = None
    for extension in extensions:
        if extension.id == OCSPExtensionOID.NONCE:
            nonce = _octets(extension.value)
            if not 1 <= len(nonce) <= MAX_NONCE_BYTES:
                raise ValueError("nonce length")
        elif extension.critical:
            raise ValueError("unknown critical extension")
    return nonce


def _octets(value_der: bytes) -> bytes:
    read = asn1.decode_der(asn1.TLV, value_der)
    if read.tag_bytes != b"\x04":
        raise ValueError("the nonce is no OCTET STRING")
    return bytes(read.data)


def cert_id(issuer: IssuerView, serial: int, hash_algorithm: Literal["sha1", "sha256"]) -> CertId:
    """Return the CertID of a certificate of this issuer (RFC 6960 s.4.1.1)."""
    oid = ObjectIdentifier({name: oid for oid, name in _HASHES.items()}[hash_algorithm])
    name_hash, key_hash = _hashes(issuer, hash_algorithm)
    encoded_id = asn1.encode_der(
        _CertId(
            hash_algorithm=AlgorithmIdentifier(algorithm=oid, parameters=asn1.Null()),
            issuer_name_hash=name_hash,
            issuer_key_hash=key_hash,
            serial=serial,
        )
    )
    return CertId(hash_algorithm, name_hash, key_hash, serial, encoded_id)


def matches(asked: CertId, issuer: IssuerView) -> bool:
    """True when the CertID, by SHA-1 or SHA-256, names a certificate of this issuer."""
    if asked.hash_algorithm not in ("sha1", "sha256"):
        return False
    return (asked.issuer_name_hash, asked.issuer_key_hash) == _hashes(issuer, asked.hash_algorithm)


def _hashes(issuer: IssuerView, algorithm: str) -> tuple[bytes, bytes]:
    digest = hashlib.sha256 if algorithm == "sha256" else _sha1
    return digest(issuer.name_der).digest(), digest(_key_bits(issuer.spki_der)).digest()


def _sha1(data: bytes) -> "hashlib._Hash":
    return hashlib.sha1(data, usedforsecurity=False)


def _key_bits(spki_der: bytes) -> bytes:
    return asn1.decode_der(PublicKeyInfo, spki_der).key.as_bytes()


def build_response(
    key: IssuerKey,
    responder_certificate_der: bytes,
    answers: Sequence[Answer],
    produced_at: datetime,
    nonce: bytes | None = None,
) -> bytes:
    """Return a signed, successful OCSPResponse, DER: one SingleResponse an answer, in the order given.

    The responder is named by its key, and its certificate is included. ValueError when there is no answer, when the
    certificate is not of this key, or when an answer's times are not in this order: thisUpdate <= producedAt <
    nextUpdate.
    """
    spki_der = signing.spki(key.public_key())
    responder = x509.load_der_x509_certificate(responder_certificate_der)
    if signing.spki_of(responder) != spki_der:
        raise ValueError("the responder's certificate is of another key")
    if not answers or not all(a.this_update <= produced_at < a.next_update for a in answers):
        raise ValueError("no answer, or its times do not hold")
    body = asn1.encode_der(
        _ResponseData(
            responder=_sha1(_key_bits(spki_der)).digest(),
            produced_at=_time(produced_at),
            responses=[_single(answer) for answer in answers],
            extensions=None if nonce is None else [_nonce_extension(nonce)],
        )
    )
    algorithm_der = der.signature_algorithm(signing.kind_of(key))
    basic = _Basic(
        body=asn1.decode_der(asn1.TLV, body),
        algorithm=asn1.decode_der(asn1.TLV, algorithm_der),
        signature=asn1.BitString(signing.sign(key, body), 0),
        certificates=[asn1.decode_der(asn1.TLV, responder.public_bytes(serialization.Encoding.DER))],
    )
    response = _ResponseBytes(type=_BASIC, response=asn1.encode_der(basic))
    return asn1.encode_der(_Successful(status=_enumerated(0), bytes=response))


def _single(answer: Answer) -> _Single:
    status: _Good | _Revoked | _Unknown
    match answer.status:
        case Good():
            status = asn1.Variant(asn1.Null(), "good")
        case Unknown():
            status = asn1.Variant(asn1.Null(), "unknown")
        case Revoked(at, reason):
            given = None if reason is CrlReason.UNSPECIFIED else [_enumerated(reason)]
            status = asn1.Variant(_RevokedInfo(at=_time(at), reason=given), "revoked")
    return _Single(
        cert_id=asn1.decode_der(asn1.TLV, answer.cert_id_der),
        status=status,
        this_update=_time(answer.this_update),
        next_update=_time(answer.next_update),
    )


def _enumerated(value: int) -> asn1.TLV:
    return asn1.decode_der(asn1.TLV, bytes((0x0A, 1, value)))


def _time(moment: datetime) -> asn1.GeneralizedTime:
    require_whole_utc(moment)
    return asn1.GeneralizedTime(moment)


def _nonce_extension(nonce: bytes) -> Extension:
    return Extension(id=OCSPExtensionOID.NONCE, critical=False, value=x509.OCSPNonce(nonce).public_bytes())
