"""Certificate files in the layouts of Windows and macOS, made of OpenSSL's: those systems do not run here.

Windows puts the key before the certificates, protects both by Triple DES and counts 2000 rounds. Programs on macOS and
older ones write BER: lengths that are not said before, and strings in pieces (X.690 s.8.1.3.6 and s.8.7.3).
"""

import hashlib
import hmac
from dataclasses import dataclass
from itertools import pairwise

SEQUENCE, OCTETS, EXPLICIT, IMPLICIT_OCTETS = 0x30, 0x04, 0xA0, 0x80
PIECE = 1000


@dataclass(frozen=True)
class Value:
    """One value of DER."""

    tag: int
    contents: bytes
    whole: bytes


def values(der: bytes) -> list[Value]:
    """Return the values that stand one after the other."""
    found = []
    while der:
        size, begin = der[1], 2
        if size & 0x80:
            begin += size & 0x7F
            size = int.from_bytes(der[2:begin])
        found.append(Value(der[0], der[begin : begin + size], der[: begin + size]))
        der = der[begin + size :]
    return found


def der(tag: int, *parts: bytes) -> bytes:
    """Return one value."""
    contents = b"".join(parts)
    if len(contents) < 0x80:
        return bytes([tag, len(contents)]) + contents
    size = len(contents).to_bytes((len(contents).bit_length() + 7) // 8)
    return bytes([tag, 0x80 | len(size)]) + size + contents


@dataclass(frozen=True)
class Pfx:
    """A file's parts: its safes (ContentInfo), and of its seal the algorithm, the salt and the rounds."""

    version: bytes
    data: bytes
    safes: tuple[Value, ...]
    algorithm: bytes
    salt: bytes
    rounds: int

    @classmethod
    def read(cls, file: bytes) -> "Pfx":
        """Take apart a file that OpenSSL made with a SHA-1 seal."""
        version, safe, seal = values(values(file)[0].contents)
        data, content = values(safe.contents)
        digest, salt, *rounds = values(seal.contents)
        inner = values(values(content.contents)[0].contents)[0]
        times = int.from_bytes(rounds[0].contents) if rounds else 1
        algorithm = values(digest.contents)[0].whole
        return cls(version.whole, data.whole, tuple(values(inner.contents)), algorithm, salt.contents, times)

    def sealed(self, content: bytes, passphrase: str, wrapped: bytes) -> bytes:
        """Return the file over `content`, which stands in it as `wrapped`."""
        key = mac_key(passphrase, self.salt, self.rounds)
        mac = hmac.digest(key, content, "sha1")
        rounds = b"" if self.rounds == 1 else der(0x02, self.rounds.to_bytes(self.rounds.bit_length() // 8 + 1))
        seal = der(SEQUENCE, der(SEQUENCE, self.algorithm, der(OCTETS, mac)), der(OCTETS, self.salt), rounds)
        return self.version + wrapped + seal


def windows(file: bytes, passphrase: str) -> bytes:
    """Return the file with its key first."""
    pfx = Pfx.read(file)
    content = der(SEQUENCE, *(safe.whole for safe in reversed(pfx.safes)))
    return der(SEQUENCE, pfx.sealed(content, passphrase, der(SEQUENCE, pfx.data, der(EXPLICIT, der(OCTETS, content)))))


def in_pieces(file: bytes, passphrase: str) -> bytes:
    """Return the file as BER: no length is said before, and long strings come in pieces."""
    pfx = Pfx.read(file)
    content = open_ended(SEQUENCE, *(_safe(safe) for safe in pfx.safes))
    wrapped = open_ended(SEQUENCE, pfx.data, open_ended(EXPLICIT, pieces(OCTETS, content)))
    return open_ended(SEQUENCE, pfx.sealed(content, passphrase, wrapped))


def _safe(safe: Value) -> bytes:
    kind, content = values(safe.contents)
    inner = values(content.contents)[0]
    if inner.tag == OCTETS:
        return open_ended(SEQUENCE, kind.whole, open_ended(EXPLICIT, pieces(OCTETS, inner.contents)))
    version, info = values(inner.contents)
    data, scheme, secret = values(info.contents)
    within = open_ended(SEQUENCE, data.whole, scheme.whole, pieces(IMPLICIT_OCTETS, secret.contents))
    return open_ended(SEQUENCE, kind.whole, open_ended(EXPLICIT, open_ended(SEQUENCE, version.whole, within)))


def open_ended(tag: int, *parts: bytes) -> bytes:
    """Return one value of BER whose length is not said."""
    return bytes([tag, 0x80]) + b"".join(parts) + b"\0\0"


def pieces(tag: int, contents: bytes) -> bytes:
    """Return a string in pieces."""
    ends = [*range(0, len(contents), PIECE), len(contents)]
    return open_ended(tag | 0x20, *(der(OCTETS, contents[start:end]) for start, end in pairwise(ends)))


def mac_key(passphrase: str, salt: bytes, rounds: int) -> bytes:
    """Return the key of a SHA-1 seal (RFC 7292 app. B.2); its one block needs no more than the first digest."""
    secret = passphrase.encode("utf-16-be") + b"\0\0"
    digest = b"\x03" * 64 + _stretched(salt) + _stretched(secret)
    for _ in range(rounds):
        digest = hashlib.sha1(digest).digest()  # what the format prescribes
    return digest


def _stretched(octets: bytes) -> bytes:
    size = -(-len(octets) // 64) * 64
    return (octets * (size // len(octets) + 1))[:size]
