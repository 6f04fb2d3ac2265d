"""Reading another CA's revocation list (RFC 5280 s.5) of any size: first its header and signature, then entry by entry.

A list of a million entries is 40 MB. It is read from a `Source` in windows of 1 MiB, so that memory does not grow with
it. No entry may be used before the signature over the whole list was verified.
"""

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final, Protocol

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed448, ed25519, padding, rsa, utils
from cryptography.x509.oid import ExtensionOID

from chopmark.pki import der
from chopmark.pki.der import NotDer

WINDOW: Final = 1 << 20
MAX_HEAD: Final = 256 * 1024
"""Everything of a list but its entries: names, times, extensions, signature."""
MAX_ENTRY: Final = 64 * 1024
MAX_UNHASHED: Final = 32 << 20
"""Ed25519 and Ed448 sign the list itself and not a digest of it, so the whole list has to be in memory."""
_SEQUENCE, _INTEGER = 0x30, 0x02
_REASON_OID = bytes.fromhex("0603551d15")
_TIMES = (0x17, 0x18)
_STRONG = (hashes.SHA256, hashes.SHA384, hashes.SHA512, hashes.SHA3_256, hashes.SHA3_384, hashes.SHA3_512)
_UNDERSTOOD = frozenset(
    {
        ExtensionOID.AUTHORITY_KEY_IDENTIFIER,
        ExtensionOID.CRL_NUMBER,
        ExtensionOID.ISSUING_DISTRIBUTION_POINT,
        ExtensionOID.DELTA_CRL_INDICATOR,
    }
)
_REASONS = {
    1: "key_compromise",
    2: "ca_compromise",
    3: "affiliation_changed",
    4: "superseded",
    5: "cessation_of_operation",
    6: "certificate_hold",
    8: "remove_from_crl",
    9: "privilege_withdrawn",
    10: "aa_compromise",
}


class Source(Protocol):
    """The bytes of a list, in memory or in a file."""

    @property
    def size(self) -> int:
        """How many bytes there are."""
        ...

    def read(self, offset: int, size: int) -> bytes:
        """Return `size` bytes from `offset` on, fewer only at the end."""
        ...


@dataclass(frozen=True, slots=True)
class Revoked:
    """One entry of a list: `serial` as `serial_hex` writes it, `at` aware UTC, `reason` in the words of CrlReason."""

    serial: str
    at: datetime
    reason: str


@dataclass(frozen=True, slots=True)
class Outline:
    """A list without its entries. Nothing of it is verified; `verified_by` does that.

    `body` and `entries` are offsets in the source, first and behind the last byte. `scope_urls` are the addresses of
    the issuing distribution point, None where the list has none.
    """

    issuer_der: bytes
    this_update: datetime
    next_update: datetime | None
    number: int | None
    scope_urls: tuple[str, ...] | None
    unfit: str
    """Why the list cannot tell the status of customers' certificates, as a stable word; empty if it can."""
    body: tuple[int, int]
    entries: tuple[int, int] | None
    head: x509.CertificateRevocationList


def outline(source: Source) -> Outline:
    """Return a list's fields other than its entries; ValueError for bytes that are no list of RFC 5280."""
    whole = _element(source, 0, source.size, _SEQUENCE)
    if whole[1] != source.size:
        raise NotDer("bytes follow the list")
    body = _element(source, whole[0], whole[1], _SEQUENCE)
    at, end = body
    parts: list[bytes] = []
    entries = None
    while at < end:
        tag, start, stop = _header(source, at, end)
        if tag == _SEQUENCE and parts and parts[-1][0] in _TIMES:
            entries = (start, stop)  # the only SEQUENCE that follows a time
        else:
            parts.append(_small(source, at, stop))
        at = stop
    rest = _small(source, body[1], whole[1])
    behind = der.parts(rest)
    if not behind or not der.is_whole(behind[-1]):
        raise NotDer("the signature is not made of whole octets")
    try:
        head = x509.load_der_x509_crl(der.tlv(_SEQUENCE, der.tlv(_SEQUENCE, *parts), rest))
        number, scope, unfit = _extensions(head)
        next_update = head.next_update_utc
        return Outline(
            issuer_der=head.issuer.public_bytes(),
            this_update=head.last_update_utc,
            next_update=next_update,
            number=number,
            scope_urls=scope,
            unfit=unfit,
            body=(whole[0], body[1]),
            entries=entries,
            head=head,
        )
    except (x509.DuplicateExtension, x509.UnsupportedGeneralNameType, x509.InvalidVersion) as error:
        raise NotDer(str(error)) from error


def _extensions(head: x509.CertificateRevocationList) -> tuple[int | None, tuple[str, ...] | None, str]:
    """Return a list's number, the addresses of its scope, and what makes it unfit."""
    number, scope, unfit = None, None, ""
    for extension in head.extensions:
        if extension.oid == ExtensionOID.DELTA_CRL_INDICATOR:
            unfit = "delta"
        elif extension.critical and extension.oid not in _UNDERSTOOD:
            unfit = "critical_extension"
        value = extension.value
        if isinstance(value, x509.CRLNumber):
            number = value.crl_number
        elif isinstance(value, x509.IssuingDistributionPoint):
            scope, unfit = _scope(value), unfit or _unfit_scope(value)
    return number, scope, unfit


def _scope(point: x509.IssuingDistributionPoint) -> tuple[str, ...]:
    names = point.full_name or ()
    return tuple(one.value for one in names if isinstance(one, x509.UniformResourceIdentifier))


def _unfit_scope(point: x509.IssuingDistributionPoint) -> str:
    if point.indirect_crl:
        return "indirect"
    if point.only_contains_ca_certs or point.only_contains_attribute_certs:
        return "not_for_customers"
    return "some_reasons" if point.only_some_reasons is not None else ""


def may_sign(certificate: x509.Certificate) -> bool:
    """Tell whether a certificate's key may sign revocation lists (RFC 5280 s.6.3.3 f); one without keyUsage may."""
    try:
        return certificate.extensions.get_extension_for_class(x509.KeyUsage).value.crl_sign
    except x509.ExtensionNotFound:
        return True


def verified_by(source: Source, found: Outline, keys: Sequence[object]) -> bool:
    """Tell whether one of the public keys has signed the list; False, too, for MD5, SHA-1 and unknown algorithms."""
    try:
        algorithm = found.head.signature_hash_algorithm
    except UnsupportedAlgorithm:
        return False
    if algorithm is not None and not isinstance(algorithm, _STRONG):
        return False
    digest = None if algorithm is None else _digest(source, found.body, algorithm)
    return any(_signed(source, found, key, algorithm, digest) for key in keys)


def _signed(
    source: Source, found: Outline, key: object, algorithm: hashes.HashAlgorithm | None, digest: bytes | None
) -> bool:
    signature = found.head.signature
    try:
        if isinstance(key, ed25519.Ed25519PublicKey | ed448.Ed448PublicKey) and algorithm is None:
            start, stop = found.body
            if stop - start > MAX_UNHASHED:
                return False
            key.verify(signature, source.read(start, stop - start))
            return True
        if algorithm is None or digest is None:
            return False
        ready = utils.Prehashed(algorithm)
        parameters = found.head.signature_algorithm_parameters
        if isinstance(key, ec.EllipticCurvePublicKey) and isinstance(parameters, ec.ECDSA):
            key.verify(signature, digest, ec.ECDSA(ready))
            return True
        if isinstance(key, rsa.RSAPublicKey) and isinstance(parameters, padding.PKCS1v15 | padding.PSS):
            key.verify(signature, digest, parameters, ready)
            return True
    except (InvalidSignature, UnsupportedAlgorithm, ValueError):
        return False
    return False


def _digest(source: Source, span: tuple[int, int], algorithm: hashes.HashAlgorithm) -> bytes:
    state = hashes.Hash(algorithm)
    for piece in pieces(source, span):
        state.update(piece)
    return state.finalize()


def pieces(source: Source, span: tuple[int, int]) -> Iterator[bytes]:
    """Yield a part of the source, at most 1 MiB at a time."""
    at, end = span
    while at < end:
        piece = source.read(at, min(WINDOW, end - at))
        if not piece:
            raise NotDer("the list ends too early")
        at += len(piece)
        yield piece


def entries(source: Source, span: tuple[int, int] | None) -> Iterator[Revoked]:
    """Yield the entries of a list that was verified, in its order.

    Raises NotDer for an entry that cannot be read or has an unknown critical extension: then the whole list must not be
    used (RFC 5280 s.5.3).
    """
    left = b""
    for piece in pieces(source, span or (0, 0)):
        window, at = left + piece, 0
        while True:
            stop = _complete(window, at)
            if stop is None:
                break
            yield _entry(window, at, stop)
            at = stop
        left = window[at:]
        if len(left) > MAX_ENTRY:
            raise NotDer("an entry is too long")
    if left:
        raise NotDer("the last entry is cut off")


def _complete(window: bytes, at: int) -> int | None:
    """Return the end of the element at `at`, None when it is not whole in this window."""
    if at + 4 > len(window):
        return None
    if window[at] != _SEQUENCE:
        raise NotDer("an entry is no SEQUENCE")
    length = window[at + 1]
    start = at + 2
    if length >= 0x80:
        size = length & 0x7F
        if size not in (1, 2, 3):
            raise NotDer("an entry is too long")
        length = int.from_bytes(window[start : start + size], "big")
        start += size
    stop = start + length
    return stop if stop <= len(window) else None


def _entry(window: bytes, at: int, stop: int) -> Revoked:
    inner = der.parts(window[at:stop])[0].content
    found = der.parts(inner)
    if not 2 <= len(found) <= 3 or found[0].tag != _INTEGER or found[1].tag not in _TIMES or not found[0].content:
        raise NotDer("an entry has not serial number, time and extensions")
    reason = _reason(found[2].content) if len(found) == 3 else "unspecified"
    number = found[0].content
    serial = number[1:] if len(number) > 1 and number[0] == 0 else number
    return Revoked(serial.hex().upper(), _moment(found[1].tag, found[1].content), reason)


def _reason(content: bytes) -> str:
    said = "unspecified"
    for extension in der.parts(content):
        inner = der.parts(extension.content)
        oid = inner[0].der
        if oid == _REASON_OID:
            value = der.parts(inner[-1].content)[0]
            said = _REASONS.get(value.content[0] if len(value.content) == 1 else 0, "unspecified")
        elif len(inner) == 3 and inner[1].content != b"\x00":
            raise NotDer("an entry has a critical extension that is not understood")
    return said


def _moment(tag: int, content: bytes) -> datetime:
    written = content if tag == _TIMES[1] else (b"19" if content[:1] >= b"5" else b"20") + content  # s.4.1.2.5.1
    if len(written) != 15 or written[-1:] != b"Z" or not written[:-1].isdigit():
        raise NotDer("a time is not written in whole seconds of UTC")
    year, *rest = (int(written[first:last]) for first, last in itertools.pairwise((0, 4, 6, 8, 10, 12, 14)))
    month, day, hour, minute, second = rest
    return datetime(year, month, day, hour, minute, second, tzinfo=UTC)


def _header(source: Source, at: int, end: int) -> tuple[int, int, int]:
    """Return tag, start and end of the content of the element at `at`, which ends at `end` at the latest."""
    head = source.read(at, 6)
    if len(head) < 2:
        raise NotDer("the list ends too early")
    tag, length, start = head[0], head[1], at + 2
    if length >= 0x80:
        size = length & 0x7F
        if size not in (1, 2, 3, 4) or len(head) < 2 + size:
            raise NotDer("a length cannot be read")
        length = int.from_bytes(head[2 : 2 + size], "big")
        start += size
    if start + length > end:
        raise NotDer("the list ends too early")
    return tag, start, start + length


def _element(source: Source, at: int, end: int, tag: int) -> tuple[int, int]:
    found, start, stop = _header(source, at, end)
    if found != tag:
        raise NotDer("this is no revocation list")
    return start, stop


def _small(source: Source, at: int, stop: int) -> bytes:
    if stop - at > MAX_HEAD:
        raise NotDer("a part of the list is too large")
    return source.read(at, stop - at)
