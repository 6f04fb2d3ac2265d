"""CMP messages (RFC 9810, profile RFC 9483) as a registration authority writes and reads them, protected by a MAC.

Pure: time, nonces and salt are arguments. The structures are declared in `cmp_asn1`. Messages are read strictly. Header
and body keep their original octets, because the MAC is computed over these.
"""

import hashlib
import hmac
from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import IntEnum
from typing import TypeVar

from cryptography import x509
from cryptography.hazmat import asn1
from cryptography.x509 import ObjectIdentifier

from chopmark.core.types import Secret
from chopmark.pki.cmp_asn1 import (
    CertId,
    CertRepMessage,
    CertReqMsg,
    CertRequest,
    CertStatus,
    CertTemplate,
    ErrorContent,
    OldCertId,
    OneCertReqMsg,
    OneCertStatus,
    OnePollRep,
    OnePollReq,
    OneRevDetails,
    PbmAlgorithm,
    PbmParameter,
    PkiHeader,
    PkiMessage,
    PollReq,
    ProtectedPart,
    RevDetails,
    RevocationReply,
    RevokedTemplate,
    StatusInfo,
)
from chopmark.pki.der import AlgorithmIdentifier, NotDer, Part, PublicKeyInfo, encoded, parts, require_der, tlv
from chopmark.pki.x509 import Extension

MAX_MESSAGE_BYTES = 256 * 1024
ITERATIONS = 10_000
_PBM = ObjectIdentifier("1.2.840.113533.7.66.13")
_OLD_CERT_ID = ObjectIdentifier("1.3.6.1.5.5.7.5.1.5")
_REASON_CODE = ObjectIdentifier("2.5.29.21")
_SHA256 = ObjectIdentifier("2.16.840.1.101.3.4.2.1")
_HMAC_SHA256 = ObjectIdentifier("1.2.840.113549.2.9")
_OWFS = {
    _SHA256: "sha256",
    ObjectIdentifier("2.16.840.1.101.3.4.2.2"): "sha384",
    ObjectIdentifier("2.16.840.1.101.3.4.2.3"): "sha512",
}
_ONE_WAY = {"sha256": hashlib.sha256, "sha384": hashlib.sha384, "sha512": hashlib.sha512}
_MACS = {
    _HMAC_SHA256: "sha256",
    ObjectIdentifier("1.2.840.113549.2.10"): "sha384",
    ObjectIdentifier("1.2.840.113549.2.11"): "sha512",
    ObjectIdentifier("1.2.840.113549.2.7"): "sha1",  # SHA-1 is still secure within an HMAC (RFC 9481 s.6.2.1)
    ObjectIdentifier("1.3.6.1.5.5.8.1.2"): "sha1",
}
_LEAST_ROUNDS, _MOST_ROUNDS = 100, 200_000
_ENUMERATED = 0x0A
_T = TypeVar("_T")


class BadMessage(ValueError):
    """A message that must be rejected; `code` is a stable word for the reason."""

    def __init__(self, code: str) -> None:
        super().__init__(code)
        self.code = code


class Body(IntEnum):
    """The kinds of body that are used (RFC 9810 s.5.1.2)."""

    IR = 0
    IP = 1
    KUR = 7
    KUP = 8
    RR = 11
    RP = 12
    PKICONF = 19
    ERROR = 23
    CERT_CONF = 24
    POLL_REQ = 25
    POLL_REP = 26


class Status(IntEnum):
    """PKIStatus (RFC 9810 s.5.2.3)."""

    ACCEPTED = 0
    GRANTED_WITH_MODS = 1
    REJECTION = 2
    WAITING = 3
    REVOCATION_WARNING = 4
    REVOCATION_NOTIFICATION = 5


@dataclass(frozen=True, slots=True)
class Shared:
    """What we share with the CA: the reference value that names us, and the secret behind the MAC key."""

    reference: str
    secret: Secret = field(repr=False)


@dataclass(frozen=True, slots=True)
class Header:
    """What a request's header says; nonces and transaction are 16 octets, `recipient` is the CA's Name, DER."""

    recipient: bytes
    transaction: bytes
    nonce: bytes
    answers: bytes
    at: datetime


@dataclass(frozen=True, slots=True)
class Message:
    """A message whose MAC was verified: `content` is the body's, `nonce` the sender's; `extra` is not protected."""

    body: int
    content: bytes
    nonce: bytes
    extra: tuple[bytes, ...]


@dataclass(frozen=True, slots=True)
class Verdict:
    """A PKIStatusInfo: the status and the numbers of the failure bits."""

    status: int
    failures: frozenset[int]


@dataclass(frozen=True, slots=True)
class Reply:
    """The answer to a certificate request: its verdict, and the certificates that came with it."""

    verdict: Verdict
    certificate: bytes | None
    ca_certificates: tuple[bytes, ...]


# writing ---------------------------------------------------------------------------------------------------------


def write(shared: Shared, header: Header, body: Body, content: bytes, salt: bytes) -> bytes:
    """Return a protected PKIMessage; sender and senderKID are the reference value (RFC 9483 s.3.1)."""
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, shared.reference)])
    head = PkiHeader(
        version=2,
        sender=_directory_name(name.public_bytes()),
        recipient=_directory_name(header.recipient),
        at=asn1.GeneralizedTime(header.at.astimezone(UTC).replace(microsecond=0)),
        protection=_protection(salt),
        sender_kid=shared.reference.encode(),
        recipient_kid=None,
        transaction=header.transaction,
        nonce=header.nonce,
        answers=header.answers or None,
        text=None,
        information=None,
    )
    protected = ProtectedPart(header=_element(asn1.encode_der(head)), body=_element(tlv(0xA0 | body, content)))
    mac = _mac(shared.secret, salt, ITERATIONS, "sha256", "sha256", asn1.encode_der(protected))
    message = PkiMessage(header=protected.header, body=protected.body, protection=asn1.BitString(mac, 0), extra=None)
    return asn1.encode_der(message)


def certificate_request(subject: bytes, spki_der: bytes, replaces: bytes | None) -> bytes:
    """Return the content of ir or kur: our name, the key, possession verified by us (RFC 4211 s.4, s.6.5)."""
    template = CertTemplate(subject=_element(subject), key=asn1.decode_der(PublicKeyInfo, spki_der))
    controls = None
    if replaces is not None:
        old = x509.load_der_x509_certificate(replaces)
        named = CertId(issuer=_directory_name(old.issuer.public_bytes()), serial=old.serial_number)
        controls = [OldCertId(type=_OLD_CERT_ID, value=named)]
    request = CertRequest(number=0, template=template, controls=controls)
    return asn1.encode_der(OneCertReqMsg(one=CertReqMsg(request=request, possession=asn1.Null())))


def poll_request() -> bytes:
    """Return the content of pollReq for the only request of a transaction."""
    return asn1.encode_der(OnePollReq(one=PollReq(number=0)))


def confirmation(certificate_der: bytes, *, accepted: bool) -> bytes:
    """Return the content of certConf; the digest is the certificate's signature's (RFC 9810 s.5.3.18)."""
    algorithm = x509.load_der_x509_certificate(certificate_der).signature_hash_algorithm
    digest = hashlib.new("sha256" if algorithm is None else algorithm.name, certificate_der).digest()
    incorrect_data = asn1.BitString(b"\x01", 0)
    status = None if accepted else StatusInfo(status=Status.REJECTION.value, text=None, failures=incorrect_data)
    return asn1.encode_der(OneCertStatus(one=CertStatus(digest=digest, number=0, status=status)))


def revocation_request(certificate_der: bytes, reason: int) -> bytes:
    """Return the content of rr for one certificate; `reason` is a CRLReason (RFC 5280 s.5.3.1)."""
    leaf = x509.load_der_x509_certificate(certificate_der)
    template = RevokedTemplate(serial=leaf.serial_number, issuer=_element(leaf.issuer.public_bytes()))
    extension = Extension(id=_REASON_CODE, critical=False, value=tlv(_ENUMERATED, bytes((reason,))))
    return asn1.encode_der(OneRevDetails(one=RevDetails(template=template, extensions=[extension])))


def _element(der: bytes) -> asn1.TLV:
    return asn1.decode_der(asn1.TLV, der)


def _directory_name(name_der: bytes) -> asn1.TLV:
    """Return a Name as a GeneralName (RFC 5280 s.4.2.1.6)."""
    return _element(tlv(0xA4, name_der))


# reading ---------------------------------------------------------------------------------------------------------


def read(der: bytes, shared: Shared, sent: Header) -> Message:
    """Return the answer to our message; raises BadMessage if it does not belong to it.

    The MAC must be made with the same secret, the transaction id must be the same, `recipNonce` must be our nonce, and
    `senderNonce` must have at least 16 octets (RFC 9483 s.3.5).
    """
    # 1. strict DER, of the declared structure
    if len(der) > MAX_MESSAGE_BYTES:
        raise BadMessage("too_large")
    message = _declared(PkiMessage, der)
    header = _declared(PkiHeader, encoded(message.header))
    if header.version not in (2, 3):
        raise BadMessage("version")
    # 2. the MAC
    if message.protection is None or header.protection is None:
        raise BadMessage("unprotected")
    protected = asn1.encode_der(ProtectedPart(header=message.header, body=message.body))
    expected = _expected(shared, header.protection, protected)
    if not hmac.compare_digest(message.protection.as_bytes(), expected):
        raise BadMessage("protection")
    # 3. our transaction, our nonce, and one of its own
    if header.transaction != sent.transaction:
        raise BadMessage("transaction")
    if header.answers != sent.nonce:
        raise BadMessage("nonce")
    if header.nonce is None or not 16 <= len(header.nonce) <= 64:
        raise BadMessage("nonce")
    (body,) = _parts(encoded(message.body))
    extra = () if message.extra is None else tuple(map(encoded, message.extra))
    return Message(body.tag & 0x1F, body.content, header.nonce, extra)


def reply_of(message: Message) -> Reply:
    """Return what ip or kup says of our one request; raises BadMessage."""
    said = _declared(CertRepMessage, message.content)
    if len(said.responses) != 1:
        raise BadMessage("garbage")
    (response,) = said.responses
    if response.number != 0:
        raise BadMessage("request_id")
    certificate = None
    if response.key_pair:
        held = _parts(encoded(response.key_pair[0]))[0]
        certificate = held.content if held.tag == 0xA0 else None
    return Reply(_verdict(response.status), certificate, tuple(map(encoded, said.authorities or ())))


def check_after(message: Message) -> int:
    """Return how many seconds pollRep asks us to wait; raises BadMessage."""
    return _declared(OnePollRep, message.content).one.seconds


def error_of(message: Message) -> Verdict:
    """Return what an error message says; raises BadMessage."""
    return _verdict(_declared(ErrorContent, message.content).status)


def revoked_of(message: Message) -> Verdict:
    """Return what rp says of our one certificate; raises BadMessage."""
    statuses = _declared(RevocationReply, message.content).statuses
    if len(statuses) != 1:
        raise BadMessage("garbage")
    return _verdict(statuses[0])


def _declared(kind: type[_T], der: bytes) -> _T:
    """Decode what was sent as the structure that the RFC declares; raises BadMessage."""
    try:
        require_der(der)
        return asn1.decode_der(kind, der)
    except (NotDer, ValueError, OverflowError) as error:
        raise BadMessage("garbage") from error


def _parts(der: bytes) -> tuple[Part, ...]:
    try:
        return parts(der)
    except NotDer as error:
        raise BadMessage("garbage") from error


def _verdict(info: StatusInfo) -> Verdict:
    flags = "" if info.failures is None else "".join(f"{octet:08b}" for octet in info.failures.as_bytes())
    return Verdict(info.status, frozenset(number for number, bit in enumerate(flags) if bit == "1"))


# protection ------------------------------------------------------------------------------------------------------


def _protection(salt: bytes) -> PbmAlgorithm:
    """Return the AlgorithmIdentifier of our password-based MAC (RFC 9810 s.5.1.3.1, RFC 9481 s.6.1.1)."""
    parameters = PbmParameter(
        salt=salt,
        owf=AlgorithmIdentifier(algorithm=_SHA256, parameters=asn1.Null()),
        rounds=ITERATIONS,
        mac=AlgorithmIdentifier(algorithm=_HMAC_SHA256, parameters=asn1.Null()),
    )
    return PbmAlgorithm(algorithm=_PBM, parameters=_element(asn1.encode_der(parameters)))


def _expected(shared: Shared, protection: PbmAlgorithm, protected: bytes) -> bytes:
    """Return the MAC that the message must have; raises BadMessage for an algorithm or a cost out of range."""
    if protection.algorithm != _PBM:
        raise BadMessage("protection_algorithm")
    named = _declared(PbmParameter, encoded(protection.parameters))
    owf, mac = _OWFS.get(named.owf.algorithm), _MACS.get(named.mac.algorithm)
    if owf is None or mac is None or not _LEAST_ROUNDS <= named.rounds <= _MOST_ROUNDS or len(named.salt) > 128:
        raise BadMessage("protection_algorithm")
    return _mac(shared.secret, named.salt, named.rounds, owf, mac, protected)


def _mac(secret: Secret, salt: bytes, rounds: int, owf: str, mac: str, protected: bytes) -> bytes:
    one_way = _ONE_WAY[owf]
    key = secret.reveal().encode() + salt
    for _ in range(rounds):
        key = one_way(key).digest()
    return hmac.new(key, protected, mac).digest()
