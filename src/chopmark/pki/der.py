"""DER structures that several modules use, and a check that bytes are DER and not merely BER."""

import re
from collections.abc import Set
from typing import NamedTuple

from cryptography.hazmat import asn1
from cryptography.x509 import ObjectIdentifier

from chopmark.pki.algorithms import KeyKind

MAX_DEPTH = 24
BIT_STRING = 0x03
_TIMES = {0x17: re.compile(rb"[0-9]{12}Z"), 0x18: re.compile(rb"[0-9]{14}Z")}


class NotDer(ValueError):
    """The bytes are not DER; the message says where and why."""


@asn1.sequence
class AlgorithmIdentifier:
    """RFC 5280 s.4.1.1.2, for algorithms whose parameters are NULL or absent."""

    algorithm: ObjectIdentifier
    parameters: asn1.Null | None


@asn1.sequence
class AnyAlgorithm:
    """RFC 5280 s.4.1.1.2 with parameters present, of any type."""

    algorithm: ObjectIdentifier
    parameters: asn1.TLV


@asn1.sequence
class PublicKeyInfo:
    """RFC 5280 s.4.1.2.7 SubjectPublicKeyInfo with its algorithm unread."""

    algorithm: asn1.TLV
    key: asn1.BitString


@asn1.sequence
class Signed:
    """What Certificate, CertificateList and CertificationRequest have in common."""

    body: asn1.TLV
    algorithm: asn1.TLV
    signature: asn1.BitString


def encoded(value: asn1.TLV) -> bytes:
    """Return the original octets of a decoded element: tag, length and content."""
    return asn1.encode_der(value)


def signature_algorithm(kind: KeyKind) -> bytes:
    """Return the DER AlgorithmIdentifier that a key of this kind signs X.509 structures with."""
    null = None if kind.is_ec else asn1.Null()
    return asn1.encode_der(AlgorithmIdentifier(algorithm=kind.signature_oid, parameters=null))


def signed(body_der: bytes, algorithm_der: bytes, signature: bytes) -> bytes:
    """Return SEQUENCE {body, algorithm, BIT STRING signature}, DER; NotDer unless both are one element each."""
    for one in (body_der, algorithm_der):
        if _header(one, 0, len(one))[2] != len(one):
            raise NotDer("not one element")
    return tlv(0x30, body_der, algorithm_der, tlv(BIT_STRING, b"\0", signature))


def require_whole_signature(signed_der: bytes) -> None:
    """Raise NotDer unless the signature of a `Signed` structure is made of whole octets.

    Libraries drop the unused bits that a BIT STRING declares, so that one signature would hold under two encodings.
    """
    found = parts(signed_der)
    inside = parts(found[0].content) if found else ()
    if len(inside) != 3 or not is_whole(inside[2]):
        raise NotDer("a signature is not made of whole octets")


def is_whole(bits: "Part") -> bool:
    """Tell whether an element is a BIT STRING without unused bits, as every signature and its copy in a message is."""
    return bits.tag == BIT_STRING and bits.content[:1] == b"\0"


def require_der(data: bytes, known: Set[bytes] = frozenset()) -> None:
    """Do nothing if `data` is exactly one DER element; raise NotDer otherwise (X.690 s.10, 11).

    Checks every constructed element: definite minimal lengths, single-byte tags, minimal integers, BOOLEAN 00 or FF,
    whole-second Zulu times, SET OF in ascending order, nesting up to 24. The contents of OCTET STRINGs and BIT STRINGs
    are not checked. `known` are elements that were found to be DER before; what equals one to the octet is not looked
    into again.
    """
    end = _element(data, 0, len(data), 0, known)
    if end != len(data):
        raise NotDer(f"trailing data after octet {end}")


def _header(data: bytes, at: int, end: int) -> tuple[int, int, int]:
    """Return tag, start of the content and end of the content."""
    if at + 2 > end:
        raise NotDer(f"truncated at octet {at}")
    tag, length = data[at], data[at + 1]
    if tag & 0x1F == 0x1F:
        raise NotDer(f"tag of more than one octet at {at}")
    start = at + 2
    if length < 0x80 and start + length <= end:
        return tag, start, start + length
    if length >= 0x80:
        size = length & 0x7F
        if size == 0 or size > 4 or start + size > end:
            raise NotDer(f"indefinite or oversized length at octet {at}")
        length = int.from_bytes(data[start : start + size], "big")
        if length < 0x80 or length >> (8 * (size - 1)) == 0:
            raise NotDer(f"length not minimal at octet {at}")
        start += size
    if start + length > end:
        raise NotDer(f"content beyond the end at octet {at}")
    return tag, start, start + length


def _element(data: bytes, at: int, end: int, depth: int, known: Set[bytes]) -> int:
    if depth > MAX_DEPTH:
        raise NotDer("nested too deeply")
    tag, start, stop = _header(data, at, end)
    if not tag & 0x20:
        if tag in _CHECKED:
            _primitive(tag, data[start:stop], at)
        return stop
    if tag < 0x40 and tag not in (0x30, 0x31):
        raise NotDer(f"constructed string at octet {at}")
    if known and data[at:stop] in known:
        return stop
    previous = b""
    while start < stop:
        following = _element(data, start, stop, depth + 1, known)
        if tag == 0x31:
            current = data[start:following]
            if current < previous:
                raise NotDer(f"SET OF out of order at octet {start}")
            previous = current
        start = following
    return stop


_CHECKED = frozenset({0x01, 0x02, 0x05, 0x0A, 0x10, 0x11, *_TIMES})
"""The primitive types whose content can be wrong."""


def _primitive(tag: int, content: bytes, at: int) -> None:
    if tag in (0x10, 0x11):
        raise NotDer(f"primitive SEQUENCE or SET at octet {at}")
    if tag == 0x01 and content not in (b"\x00", b"\xff"):
        raise NotDer(f"BOOLEAN neither 00 nor FF at octet {at}")
    if tag in (0x02, 0x0A):
        if not content:
            raise NotDer(f"empty INTEGER at octet {at}")
        if len(content) > 1 and content[0] == 0 and content[1] < 0x80:
            raise NotDer(f"INTEGER not minimal at octet {at}")
        if len(content) > 1 and content[0] == 0xFF and content[1] >= 0x80:
            raise NotDer(f"INTEGER not minimal at octet {at}")
    if tag == 0x05 and content:
        raise NotDer(f"NULL with content at octet {at}")
    if tag in _TIMES and not _TIMES[tag].fullmatch(content):
        raise NotDer(f"time not in whole Zulu seconds at octet {at}")


class Part(NamedTuple):
    """One element: its tag octet, all of it, and its content."""

    tag: int
    der: bytes
    content: bytes


def parts(content: bytes) -> tuple[Part, ...]:
    """Return the elements that a content consists of, one level deep; NotDer when it does not end with one."""
    found: list[Part] = []
    at = 0
    while at < len(content):
        tag, start, stop = _header(content, at, len(content))
        found.append(Part(tag, content[at:stop], content[start:stop]))
        at = stop
    return tuple(found)


def constructed(data: bytes) -> frozenset[bytes]:
    """Return every constructed element of which the data consists, at any depth; NotDer as `parts`."""
    found: set[bytes] = set()
    waiting = [data]
    while waiting:
        for part in parts(waiting.pop()):
            if part.tag & 0x20:
                found.add(part.der)
                waiting.append(part.content)
    return frozenset(found)


def tlv(tag: int, *content: bytes) -> bytes:
    """Return one element with the content given, DER; `tag` is a single octet."""
    body = b"".join(content)
    if len(body) < 0x80:
        return bytes((tag, len(body))) + body
    size = (len(body).bit_length() + 7) // 8
    return bytes((tag, 0x80 | size)) + len(body).to_bytes(size, "big") + body
