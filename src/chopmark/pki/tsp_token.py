"""Read and verify a time-stamp token that another authority may have made (RFC 3161 s.2.4.2).

Accepted are the algorithms that public authorities use: RSA PKCS #1 v1.5 or ECDSA with SHA-256, SHA-384 or SHA-512,
certificates included, any further attributes. RSASSA-PSS is not read.
"""

import hashlib
import hmac
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import Annotated

from cryptography import x509
from cryptography.hazmat import asn1
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509 import ObjectIdentifier
from cryptography.x509.oid import ExtendedKeyUsageOID

from chopmark.pki import path, signing
from chopmark.pki.cms import Attribute, IssuerAndSerial
from chopmark.pki.der import AlgorithmIdentifier, encoded, tlv
from chopmark.pki.tsp import HASHES, SIGNING_CERTIFICATE_V2, TST_INFO, Response, TstInfo

MAX_TOKEN_BYTES = 64 * 1024
_SIGNED_DATA = "1.2.840.113549.1.7.2"
_CONTENT_TYPE = "1.2.840.113549.1.9.3"
_MESSAGE_DIGEST = "1.2.840.113549.1.9.4"
_SIGNING_CERTIFICATE = "1.2.840.113549.1.9.16.2.12"
_HASH_OF = {"sha256": hashes.SHA256(), "sha384": hashes.SHA384(), "sha512": hashes.SHA512()}
_RSA = "1.2.840.113549.1.1.1"
_RSA_WITH = {
    "1.2.840.113549.1.1.11": "sha256",
    "1.2.840.113549.1.1.12": "sha384",
    "1.2.840.113549.1.1.13": "sha512",
}
_ECDSA_WITH = {"1.2.840.10045.4.3.2": "sha256", "1.2.840.10045.4.3.3": "sha384", "1.2.840.10045.4.3.4": "sha512"}


class Fault(StrEnum):
    """What is wrong with an answer or a token."""

    REJECTED = "rejected"
    MALFORMED = "malformed"
    IMPRINT = "imprint"
    NONCE = "nonce"
    SIGNER = "signer"
    PURPOSE = "purpose"
    ATTRIBUTES = "attributes"
    SIGNATURE = "signature"
    CHAIN = "chain"


class TokenError(ValueError):
    """The token is not valid; `fault` says why."""

    def __init__(self, fault: Fault) -> None:
        super().__init__(fault)
        self.fault = fault


@dataclass(frozen=True, slots=True)
class Stamp:
    """What a valid token says: data with this imprint existed at `at`, give or take `accuracy`."""

    at: datetime
    accuracy: timedelta
    authority: str
    nonce: int | None


@asn1.sequence
class _SignerInfo:
    version: int
    sid: IssuerAndSerial | Annotated[bytes, asn1.Implicit(0)]
    digest_algorithm: AlgorithmIdentifier
    signed_attributes: Annotated[list[asn1.TLV], asn1.Implicit(0)]
    signature_algorithm: AlgorithmIdentifier
    signature: bytes
    unsigned_attributes: Annotated[list[asn1.TLV] | None, asn1.Implicit(1)]


@asn1.sequence
class _Encapsulated:
    type: ObjectIdentifier
    content: Annotated[bytes, asn1.Explicit(0)]


@asn1.sequence
class _SignedData:
    version: int
    digest_algorithms: asn1.TLV
    encapsulated: _Encapsulated
    certificates: Annotated[list[asn1.TLV] | None, asn1.Implicit(0)]
    crls: Annotated[list[asn1.TLV] | None, asn1.Implicit(1)]
    signers: asn1.SetOf[_SignerInfo]


@asn1.sequence
class _ContentInfo:
    type: ObjectIdentifier
    content: Annotated[_SignedData, asn1.Explicit(0)]


@asn1.sequence
class _CertificateId:
    """ESSCertID and ESSCertIDv2 (RFC 5035): the algorithm is absent for the version's default."""

    algorithm: AlgorithmIdentifier | None
    digest: bytes
    issuer_serial: list[asn1.TLV] | None


@asn1.sequence
class _SigningCertificate:
    certificates: list[_CertificateId]
    policies: list[asn1.TLV] | None


def token_of(response_der: bytes) -> bytes:
    """Return the token of an answer, DER; TokenError when there is none (RFC 3161: status granted or with mods)."""
    try:
        response = asn1.decode_der(Response, response_der)
    except ValueError as error:
        raise TokenError(Fault.MALFORMED) from error
    if response.status.status not in (0, 1) or response.token is None:
        raise TokenError(Fault.REJECTED)
    return asn1.encode_der(response.token)


def verify(
    token_der: bytes, imprint_sha256: bytes, roots: Sequence[bytes] | None, *, nonce: int | None = None
) -> Stamp:
    """Return what a token over this SHA-256 imprint says; TokenError with the first fault.

    1 its form  2 imprint, and the nonce if one was asked  3 one signer, whose certificate is in the token  4 which is
    for time-stamping alone, and says so critically (RFC 3161 s.2.3)  5 the signed attributes name content and
    certificate  6 the signature  7 the chain from there to one of `roots` (DER) held at the token's time; None leaves
    this one out. Revocation is the caller's business.
    """
    data, info = _read(token_der)  # 1
    imprint = HASHES.get(info.imprint.algorithm.algorithm.dotted_string)  # 2
    if imprint != "sha256" or not hmac.compare_digest(info.imprint.digest, imprint_sha256):
        raise TokenError(Fault.IMPRINT)
    if nonce is not None and info.nonce != nonce:
        raise TokenError(Fault.NONCE)
    signers, certificates = data.signers.as_list(), _certificates(data)  # 3
    named = [one for one in certificates if len(signers) == 1 and _names(signers[0], one)]
    if len(named) != 1:
        raise TokenError(Fault.SIGNER)
    signer, certificate = signers[0], named[0]
    if not _is_for_time_stamping(certificate):  # 4
        raise TokenError(Fault.PURPOSE)
    digest_name = _require_attributes(signer, data.encapsulated.content, certificate)  # 5
    if not _signed_by(signer, digest_name, certificate):  # 6
        raise TokenError(Fault.SIGNATURE)
    at = info.time.as_datetime().astimezone(UTC)
    if roots is not None and not _trusted(certificate, certificates, roots, at):  # 7
        raise TokenError(Fault.CHAIN)
    return Stamp(at, _accuracy(info), certificate.subject.rfc4514_string(), info.nonce)


def _read(token_der: bytes) -> tuple[_SignedData, TstInfo]:
    if len(token_der) > MAX_TOKEN_BYTES:
        raise TokenError(Fault.MALFORMED)
    try:
        content = asn1.decode_der(_ContentInfo, token_der)
        data = content.content
        info = asn1.decode_der(TstInfo, data.encapsulated.content)
    except ValueError as error:
        raise TokenError(Fault.MALFORMED) from error
    types = (content.type.dotted_string, data.encapsulated.type.dotted_string)
    if types != (_SIGNED_DATA, TST_INFO) or data.version != 3 or info.version != 1:
        raise TokenError(Fault.MALFORMED)
    return data, info


def _certificates(data: _SignedData) -> list[x509.Certificate]:
    """The included certificates, each once; what is no certificate that we can read is left out."""
    found = []
    for der in dict.fromkeys(encoded(one) for one in data.certificates or []):
        try:
            certificate = x509.load_der_x509_certificate(der)
            certificate.issuer, certificate.subject, certificate.extensions  # noqa: B018 - read now or never
        except (ValueError, x509.InvalidVersion, x509.DuplicateExtension, x509.UnsupportedGeneralNameType):
            continue
        found.append(certificate)
    return found


def _names(signer: _SignerInfo, certificate: x509.Certificate) -> bool:
    if isinstance(signer.sid, IssuerAndSerial):
        named = (encoded(signer.sid.issuer), signer.sid.serial)
        return named == (certificate.issuer.public_bytes(), certificate.serial_number)
    try:
        identifier = certificate.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value.digest
    except x509.ExtensionNotFound:
        return False
    return signer.sid == identifier


def _is_for_time_stamping(certificate: x509.Certificate) -> bool:
    try:
        usage = certificate.extensions.get_extension_for_class(x509.ExtendedKeyUsage)
    except x509.ExtensionNotFound:
        return False
    return usage.critical and list(usage.value) == [ExtendedKeyUsageOID.TIME_STAMPING]


def _require_attributes(signer: _SignerInfo, content: bytes, certificate: x509.Certificate) -> str:
    """Return the name of the digest; TokenError unless the attributes name type, digest and signing certificate."""
    digest_name = HASHES.get(signer.digest_algorithm.algorithm.dotted_string)
    values: dict[str, bytes] = {}
    try:
        for one in signer.signed_attributes:
            attribute = one.parse(Attribute)
            (value,) = attribute.values.as_list()
            if attribute.type.dotted_string in values:
                raise TokenError(Fault.ATTRIBUTES)
            values[attribute.type.dotted_string] = encoded(value)
        content_type = asn1.decode_der(ObjectIdentifier, values[_CONTENT_TYPE]).dotted_string
        digest = asn1.decode_der(bytes, values[_MESSAGE_DIGEST])
        named = _names_certificate(values, certificate)
    except (ValueError, KeyError) as error:
        raise TokenError(Fault.ATTRIBUTES) from error
    if digest_name is None or content_type != TST_INFO or not named:
        raise TokenError(Fault.ATTRIBUTES)
    if not hmac.compare_digest(digest, hashlib.new(digest_name, content).digest()):
        raise TokenError(Fault.SIGNATURE)
    return digest_name


def _names_certificate(values: dict[str, bytes], certificate: x509.Certificate) -> bool:
    """True when signing-certificate-v2, or the older attribute by SHA-1, names the signer's certificate first."""
    newer = values.get(SIGNING_CERTIFICATE_V2)
    first = asn1.decode_der(_SigningCertificate, newer or values[_SIGNING_CERTIFICATE]).certificates[0]
    if newer is None:
        name: str | None = "sha1"
    else:
        name = "sha256" if first.algorithm is None else HASHES.get(first.algorithm.algorithm.dotted_string)
    if name is None:
        return False
    digest = hashlib.new(name, certificate.public_bytes(Encoding.DER), usedforsecurity=name != "sha1").digest()
    return hmac.compare_digest(first.digest, digest)


def _signed_by(signer: _SignerInfo, digest_name: str, certificate: x509.Certificate) -> bool:
    """RFC 5652 s.5.4: the signature covers the attributes as a SET OF, whose octets are taken as they stood."""
    attributes = tlv(0x31, b"".join(encoded(one) for one in signer.signed_attributes))
    algorithm = signer.signature_algorithm.algorithm.dotted_string
    try:
        key = signing.public_key(signing.spki_of(certificate))
    except ValueError:
        return False
    if isinstance(key, rsa.RSAPublicKey):
        hash_name = digest_name if algorithm == _RSA else _RSA_WITH.get(algorithm)
    else:
        hash_name = _ECDSA_WITH.get(algorithm)
    return hash_name is not None and signing.verifies(key, signer.signature, attributes, _HASH_OF[hash_name])


def _trusted(
    certificate: x509.Certificate, others: Sequence[x509.Certificate], roots: Sequence[bytes], at: datetime
) -> bool:
    """True when some path over the included certificates leads to a root; paths have at most five certificates."""
    paths: list[tuple[x509.Certificate, ...]] = [(certificate,)]
    while paths:
        found = paths.pop()
        leaf, *chain = [one.public_bytes(Encoding.DER) for one in found]
        if any(not path.chain_findings(leaf, chain, root, at) for root in roots):
            return True
        if len(found) < path.MAX_CHAIN:
            paths += [(*found, one) for one in others if one not in found and one.subject == found[-1].issuer]
    return False


def _accuracy(info: TstInfo) -> timedelta:
    if info.accuracy is None:
        return timedelta(0)
    parts = info.accuracy
    return timedelta(seconds=parts.seconds or 0, milliseconds=parts.millis or 0, microseconds=parts.micros or 0)
