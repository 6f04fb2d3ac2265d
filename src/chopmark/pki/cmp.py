"""CMP messages (RFC 9810, profile RFC 9483) as a registration authority writes and reads them, protected by a MAC.

Pure: time, nonces and salt are arguments. Written with our own DER, and read strictly, so that the MAC is computed over
the very octets that came.
"""

import hashlib
import hmac
from dataclasses import dataclass, field
from datetime import datetime
from enum import IntEnum

from cryptography import x509

from chopmark.core.types import Secret
from chopmark.pki.der import NotDer, Part, parts, require_der, tlv

MAX_MESSAGE_BYTES = 256 * 1024
ITERATIONS = 10_000
_SEQUENCE, _INTEGER, _BITS, _OCTETS, _NULL, _OID, _ENUM, _TIME = 0x30, 0x02, 0x03, 0x04, 0x05, 0x06, 0x0A, 0x18
_PBM = bytes.fromhex("06092A864886F67D07420D")  # 1.2.840.113533.7.66.13
_OLD_CERT_ID = bytes.fromhex("06092B0601050507050105")  # 1.3.6.1.5.5.7.5.1.5
_REASON_CODE = bytes.fromhex("0603551D15")  # 2.5.29.21
_SHA256 = bytes.fromhex("0609608648016503040201")
_OWFS = {
    _SHA256: "sha256",
    bytes.fromhex("0609608648016503040202"): "sha384",
    bytes.fromhex("0609608648016503040203"): "sha512",
}
_ONE_WAY = {"sha256": hashlib.sha256, "sha384": hashlib.sha384, "sha512": hashlib.sha512}
_HMAC_SHA256 = bytes.fromhex("06082A864886F70D0209")
_MACS = {
    _HMAC_SHA256: "sha256",
    bytes.fromhex("06082A864886F70D020A"): "sha384",
    bytes.fromhex("06082A864886F70D020B"): "sha512",
    bytes.fromhex("06082A864886F70D0207"): "sha1",  # as a MAC, HMAC-SHA-1 holds (RFC 9481 s.6.2.1)
    bytes.fromhex("06082B06010505080102"): "sha1",
}
_LEAST_ROUNDS, _MOST_ROUNDS = 100, 200_000


class BadMessage(ValueError):
    """A message that must not be believed; `code` is a stable word."""

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
    """What we share with the CA: the reference value that names us, and the secret that the MAC is made of."""

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
    """A message whose MAC held: `content` is the body's, `nonce` the sender's; `extra` is not protected."""

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
    algorithm = _pbm_algorithm(salt, ITERATIONS)
    fields = [
        integer(2),
        tlv(0xA4, name.public_bytes()),
        tlv(0xA4, header.recipient),
        tlv(0xA0, tlv(_TIME, header.at.strftime("%Y%m%d%H%M%SZ").encode())),
        tlv(0xA1, algorithm),
        tlv(0xA2, tlv(_OCTETS, shared.reference.encode())),
        tlv(0xA4, tlv(_OCTETS, header.transaction)),
        tlv(0xA5, tlv(_OCTETS, header.nonce)),
    ]
    if header.answers:
        fields.append(tlv(0xA6, tlv(_OCTETS, header.answers)))
    head = tlv(_SEQUENCE, *fields)
    wrapped = tlv(0xA0 | body, content)
    mac = _mac(shared.secret, salt, ITERATIONS, "sha256", "sha256", tlv(_SEQUENCE, head, wrapped))
    return tlv(_SEQUENCE, head, wrapped, tlv(0xA0, tlv(_BITS, b"\x00", mac)))


def integer(value: int) -> bytes:
    """Return an INTEGER, DER."""
    return tlv(_INTEGER, value.to_bytes(value.bit_length() // 8 + 1, "big"))


def certificate_request(subject: bytes, spki_der: bytes, replaces: bytes | None) -> bytes:
    """Return the content of ir or kur: our name, the key, possession verified by us (RFC 4211 s.4, s.6.5)."""
    template = tlv(_SEQUENCE, tlv(0xA5, subject), tlv(0xA6, parts(spki_der)[0].content))
    request = [integer(0), template]
    if replaces is not None:
        old = x509.load_der_x509_certificate(replaces)
        issuer = tlv(0xA4, old.issuer.public_bytes())
        identifier = tlv(_SEQUENCE, issuer, integer(old.serial_number))
        request.append(tlv(_SEQUENCE, tlv(_SEQUENCE, _OLD_CERT_ID, identifier)))
    ra_verified = tlv(0x80)
    return tlv(_SEQUENCE, tlv(_SEQUENCE, tlv(_SEQUENCE, *request), ra_verified))


def poll_request() -> bytes:
    """Return the content of pollReq for the only request of a transaction."""
    return tlv(_SEQUENCE, tlv(_SEQUENCE, integer(0)))


def confirmation(certificate_der: bytes, *, accepted: bool) -> bytes:
    """Return the content of certConf; the digest is the certificate's signature's (RFC 9810 s.5.3.18)."""
    algorithm = x509.load_der_x509_certificate(certificate_der).signature_hash_algorithm
    digest = hashlib.new("sha256" if algorithm is None else algorithm.name, certificate_der).digest()
    status = [tlv(_OCTETS, digest), integer(0)]
    if not accepted:
        incorrect_data = tlv(_BITS, b"\x00\x01")
        status.append(tlv(_SEQUENCE, integer(Status.REJECTION), incorrect_data))
    return tlv(_SEQUENCE, tlv(_SEQUENCE, *status))


def revocation_request(certificate_der: bytes, reason: int) -> bytes:
    """Return the content of rr for one certificate; `reason` is a CRLReason (RFC 5280 s.5.3.1)."""
    leaf = x509.load_der_x509_certificate(certificate_der)
    serial = tlv(0x81, parts(integer(leaf.serial_number))[0].content)
    template = tlv(_SEQUENCE, serial, tlv(0xA3, leaf.issuer.public_bytes()))
    extension = tlv(_SEQUENCE, _REASON_CODE, tlv(_OCTETS, tlv(_ENUM, bytes((reason,)))))
    return tlv(_SEQUENCE, tlv(_SEQUENCE, template, tlv(_SEQUENCE, extension)))


# reading ---------------------------------------------------------------------------------------------------------


def read(der: bytes, shared: Shared, sent: Header) -> Message:
    """Return the answer to a message; raises BadMessage when it is none of ours.

    1 strict DER  2 the MAC, by the same secret  3 the same transaction  4 it answers our nonce  5 a nonce of its own of
    at least 16 octets (RFC 9483 s.3.5).
    """
    try:
        return _read(der, shared, sent)
    except (NotDer, IndexError, ValueError) as error:
        if isinstance(error, BadMessage):
            raise
        raise BadMessage("garbage") from error


def _read(der: bytes, shared: Shared, sent: Header) -> Message:
    if len(der) > MAX_MESSAGE_BYTES:
        raise BadMessage("too_large")
    require_der(der)
    head, body, *rest = parts(parts(der)[0].content)
    optional = {part.tag: part for part in rest}
    fields = parts(head.content)
    if [part.tag for part in fields[:1]] != [_INTEGER] or fields[0].content not in (b"\x02", b"\x03"):
        raise BadMessage("version")
    named = {part.tag: parts(part.content)[0] for part in fields[3:] if part.tag != 0xA7}
    if 0xA0 not in optional or 0xA1 not in named:
        raise BadMessage("unprotected")
    mac = parts(optional[0xA0].content)[0]
    if mac.tag != _BITS or not hmac.compare_digest(mac.content[1:], _expected(shared, named[0xA1], head, body)):
        raise BadMessage("protection")
    if _octets(named, 0xA4) != sent.transaction:
        raise BadMessage("transaction")
    if _octets(named, 0xA6) != sent.nonce:
        raise BadMessage("nonce")
    nonce = _octets(named, 0xA5)
    if not 16 <= len(nonce) <= 64:
        raise BadMessage("nonce")
    extra = optional.get(0xA1)
    certificates = () if extra is None else tuple(part.der for part in parts(parts(extra.content)[0].content))
    return Message(body.tag & 0x1F, body.content, nonce, certificates)


def reply_of(message: Message) -> Reply:
    """Return what ip or kup says of our one request; raises BadMessage."""
    try:
        fields = parts(parts(message.content)[0].content)
        authorities: tuple[bytes, ...] = ()
        if fields[0].tag == 0xA1:
            authorities = tuple(part.der for part in parts(parts(fields[0].content)[0].content))
            fields = fields[1:]
        (response,) = parts(fields[0].content)
        number, status, *more = parts(response.content)
        if number.der != integer(0):
            raise BadMessage("request_id")
        certificate = None
        if more and more[0].tag == _SEQUENCE:
            held = parts(more[0].content)[0]
            certificate = held.content if held.tag == 0xA0 else None
        return Reply(_verdict(status), certificate, authorities)
    except (NotDer, IndexError, ValueError) as error:
        raise BadMessage("garbage") from error


def check_after(message: Message) -> int:
    """Return the seconds that pollRep asks to wait; raises BadMessage."""
    try:
        (one,) = parts(parts(message.content)[0].content)
        _, seconds, *_ = parts(one.content)
        return int.from_bytes(seconds.content, "big", signed=True)
    except (NotDer, IndexError, ValueError) as error:
        raise BadMessage("garbage") from error


def error_of(message: Message) -> Verdict:
    """Return what an error message says; raises BadMessage."""
    try:
        return _verdict(parts(parts(message.content)[0].content)[0])
    except (NotDer, IndexError, ValueError) as error:
        raise BadMessage("garbage") from error


def revoked_of(message: Message) -> Verdict:
    """Return what rp says of our one certificate; raises BadMessage."""
    try:
        (status,) = parts(parts(parts(message.content)[0].content)[0].content)
        return _verdict(status)
    except (NotDer, IndexError, ValueError) as error:
        raise BadMessage("garbage") from error


def _verdict(info: Part) -> Verdict:
    status, *more = parts(info.content)
    bits = next((part.content for part in more if part.tag == _BITS), b"\x00")
    flags = "".join(f"{octet:08b}" for octet in bits[1:])
    failures = frozenset(number for number, bit in enumerate(flags) if bit == "1")
    return Verdict(int.from_bytes(status.content, "big", signed=True), failures)


def _octets(named: dict[int, Part], tag: int) -> bytes:
    part = named.get(tag)
    return b"" if part is None or part.tag != _OCTETS else part.content


# protection ------------------------------------------------------------------------------------------------------


def _pbm_algorithm(salt: bytes, rounds: int) -> bytes:
    """Return the AlgorithmIdentifier of a password-based MAC (RFC 9810 s.5.1.3.1, RFC 9481 s.6.1.1)."""
    null = tlv(_NULL)
    parameters = tlv(
        _SEQUENCE,
        tlv(_OCTETS, salt),
        tlv(_SEQUENCE, _SHA256, null),
        integer(rounds),
        tlv(_SEQUENCE, _HMAC_SHA256, null),
    )
    return tlv(_SEQUENCE, _PBM, parameters)


def _expected(shared: Shared, algorithm: Part, head: Part, body: Part) -> bytes:
    oid, parameters = parts(algorithm.content)
    if oid.der != _PBM:
        raise BadMessage("protection_algorithm")
    salt, owf, rounds, mac = parts(parameters.content)
    count = int.from_bytes(rounds.content, "big", signed=True)
    names = _OWFS.get(parts(owf.content)[0].der), _MACS.get(parts(mac.content)[0].der)
    if names[0] is None or names[1] is None or not _LEAST_ROUNDS <= count <= _MOST_ROUNDS or len(salt.content) > 128:
        raise BadMessage("protection_algorithm")
    return _mac(shared.secret, salt.content, count, names[0], names[1], tlv(_SEQUENCE, head.der, body.der))


def _mac(secret: Secret, salt: bytes, rounds: int, owf: str, mac: str, protected: bytes) -> bytes:
    one_way = _ONE_WAY[owf]
    key = secret.reveal().encode() + salt
    for _ in range(rounds):
        key = one_way(key).digest()
    return hmac.new(key, protected, mac).digest()
