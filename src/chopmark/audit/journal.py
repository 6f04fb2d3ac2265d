"""One line of the journal: what a CA is about to do, written outside the database, so that a restore does not lose it.

A line is JSON, keys sorted, no spaces. Its MAC is HMAC-SHA-256 over a label and the line without the MAC, under a key
that is derived from the audit key. Its body is compressed and encrypted (AES-256-GCM, with the rest of the line as
associated data) under a key that is derived from the data key, because certificates contain names of persons and the
directory may be shared with other programs.
"""

import hmac
import json
import zlib
from base64 import b64decode, b64encode
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from chopmark.audit.record import parse_stamp, stamp
from chopmark.core.types import IssuerId, OrderId, Serial

NONCE_BYTES = 12
LARGEST_BODY = 1 << 20
"""The most octets of a body; a certificate with the records of its order has about ten thousand."""
_MAC_LABEL = b"chopmark-journal-1\n"
_BODY, _AFTER_BODY = ',"body":"', ',"deed":'
_MAC, _AFTER_MAC = ',"mac":"', ',"order":'
"""How two members begin in a line, and the members that follow them. No value holds such text: it would be escaped."""


class Deed(StrEnum):
    """What a line is about."""

    RESERVED = "reserved"  # written after the reservation has committed, before the CA's key is used
    ISSUED = "issued"  # written after the signature, before it is stored; the body has the certificate
    PROVED = "proved"  # written when the customer has proved the new key, before the certificate becomes active
    REVOKED = "revoked"  # written before the change of status commits, as for the next two
    HELD = "held"
    RELEASED = "released"


TURNS = frozenset({Deed.REVOKED, Deed.HELD, Deed.RELEASED})
"""The kinds of line that change the status of a certificate in the CRL and in OCSP answers."""


@dataclass(frozen=True, slots=True)
class Line:
    """What is done to one certificate of one CA; `at` and `until` (the end of its validity) are aware UTC.

    `reason` is a name from RFC 5280 s.5.3.1, or None where the deed has no reason. `shard` is the number of the
    revocation list that the serial number belongs to. The CA decides what `body` contains.
    """

    deed: Deed
    at: datetime
    issuer: IssuerId
    serial: Serial
    order: OrderId
    shard: int
    until: datetime
    reason: str | None = None
    body: bytes = b""


class JournalDamaged(Exception):
    """A line is incomplete, was edited, or was written by another installation."""


class JournalKey:
    """The keys for journal lines, derived (HKDF) from the secrets of the audit key and of the data key, 32 bytes each.

    Both secrets are kept outside the database.
    """

    __slots__ = ("_mac_key", "cipher")

    def __init__(self, audit_secret: bytes, data_secret: bytes) -> None:
        self._mac_key = _derive(audit_secret, b"chopmark-journal-mac-1")
        self.cipher = AESGCM(_derive(data_secret, b"chopmark-journal-seal-1"))
        """Encrypts and decrypts bodies."""

    def mac(self, canonical: bytes) -> bytes:
        """Return HMAC-SHA-256 over the label and the canonical bytes: 32 octets."""
        return hmac.digest(self._mac_key, _MAC_LABEL + canonical, "sha256")


def encode_line(line: Line, key: JournalKey, nonce: bytes) -> str:
    """Return the line as text, without a line end; `nonce` is 12 fresh random bytes, never used before."""
    if len(nonce) != NONCE_BYTES:
        raise ValueError(f"the nonce must have {NONCE_BYTES} bytes")
    # The text is put together from the few members that are encoded: body and MAC need no JSON, and the body is long.
    beside = _compact(_members(line))
    sealed = nonce + key.cipher.encrypt(nonce, zlib.compress(line.body), beside.encode()) if line.body else b""
    unsigned = _inserted(beside, _AFTER_BODY, f'{_BODY}{b64encode(sealed).decode()}"')
    return _inserted(unsigned, _AFTER_MAC, f'{_MAC}{key.mac(unsigned.encode()).hex()}"')


def decode_line(text: str, key: JournalKey, *, with_body: bool = True) -> Line:
    """Return the line that `encode_line` wrote; raises JournalDamaged for everything else.

    Without `with_body` the line's MAC is checked all the same, but the body is not decrypted, and the result has none.
    """
    try:
        unsigned, mac = _cut(text, _MAC, _AFTER_MAC)
        if not hmac.compare_digest(bytes.fromhex(mac), key.mac(unsigned.encode())):
            raise JournalDamaged("the line does not match its MAC")
        beside, body = _cut(unsigned, _BODY, _AFTER_BODY)  # the MAC was right, so `encode_line` put this together
        members = json.loads(beside)
        return Line(
            Deed(members["deed"]),
            parse_stamp(members["at"]),
            IssuerId(members["issuer"]),
            Serial(members["serial"]),
            OrderId(members["order"]),
            int(members["shard"]),
            parse_stamp(members["until"]),
            members["reason"],
            _opened(b64decode(body), key, beside.encode()) if body and with_body else b"",
        )
    except (ValueError, InvalidTag, zlib.error) as error:
        raise JournalDamaged("the line cannot be read") from error


def _inserted(text: str, after: str, part: str) -> str:
    """Return JSON text with `part` before its member `after`."""
    at = text.index(after)
    return f"{text[:at]}{part}{text[at:]}"


def _cut(text: str, begin: str, after: str) -> tuple[str, str]:
    """Return JSON text without the member that stands before the member `after`, and that member's value.

    Raises ValueError when `begin` (its name and the quote before its value) is not where `_inserted` puts it.
    """
    at = text.index(begin)
    end = text.index('"', at + len(begin)) + 1
    rest = text[:at] + text[end:]
    if rest.index(after) != at:
        raise ValueError("the member is not in its place")
    return rest, text[at + len(begin) : end - 1]


def _members(line: Line) -> dict[str, object]:
    return {
        "at": stamp(line.at),
        "deed": line.deed.value,
        "issuer": line.issuer,
        "order": line.order,
        "reason": line.reason,
        "serial": line.serial,
        "shard": line.shard,
        "until": stamp(line.until),
    }


def _opened(sealed: bytes, key: JournalKey, beside: bytes) -> bytes:
    plain = key.cipher.decrypt(sealed[:NONCE_BYTES], sealed[NONCE_BYTES:], beside)
    reader = zlib.decompressobj()
    body = reader.decompress(plain, LARGEST_BODY)
    if not reader.eof:
        raise JournalDamaged("the body is larger than any that is written here")
    return body


_compact = json.JSONEncoder(separators=(",", ":"), sort_keys=True).encode


def _derive(secret: bytes, label: bytes) -> bytes:
    return HKDF(algorithm=SHA256(), length=32, salt=None, info=label).derive(secret)
