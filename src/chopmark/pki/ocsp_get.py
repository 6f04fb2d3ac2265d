"""Read OCSP requests from the path of a GET (RFC 6960 A.1), also in the wrong forms that clients and proxies send.

The RFC demands base64 with +, / and = escaped. Real clients and proxies also send: nothing escaped, everything escaped
twice, base64url, line breaks, no padding, a space instead of +, and one slash instead of several.
"""

import binascii
import re
from base64 import b64decode
from collections.abc import Iterator
from itertools import combinations_with_replacement, islice

from chopmark.pki.ocsp import MAX_REQUEST_BYTES

MOST_READINGS = 256
"""At most so many ways to insert missing slashes are tried; a request with more possible ways is not read."""
_UNESCAPED_AT_MOST = 3
_ALPHABET = re.compile(r"[A-Za-z0-9+/]+")
_ESCAPED = re.compile(r"%([0-9A-Fa-f]{2})")
_SPELT = str.maketrans({"-": "+", "_": "/", " ": "+", "\r": None, "\n": None})


def requests_in(spelt: str) -> tuple[bytes, ...]:
    """Return the requests that a path may mean, likeliest first: none, one, or several if slashes were lost.

    The first octets of a request say how long it is, so we know how many characters are missing. Proxies merge
    neighbouring slashes, so the missing characters are slashes beside those that are left. Only the issuer can tell
    which reading is right, because it knows its certificates.
    """
    if len(spelt) > 4 * MAX_REQUEST_BYTES:
        return ()
    text, wanted = _base64(spelt), 0
    if text is not None:
        wanted = _characters(text)
    if text is None or not wanted:
        return ()
    if len(text) > wanted and not text[wanted:].strip("/"):
        text = text[:wanted]  # a slash that a proxy or a person has appended
    readings = list(islice(_with_slashes(text, wanted - len(text)), MOST_READINGS + 1))
    if len(readings) > MOST_READINGS:
        return ()
    return tuple(der for reading in readings if (der := _octets(reading)) is not None)


def _base64(spelt: str) -> str | None:
    """Return the characters in the standard base64 alphabet, without padding; None for anything else."""
    for _ in range(_UNESCAPED_AT_MOST):
        if "%" not in spelt:
            break
        spelt = _ESCAPED.sub(lambda found: chr(int(found[1], 16)), spelt)
    text, _, end = spelt.translate(_SPELT).lstrip("/").partition("=")
    return text if not end.strip("=/") and _ALPHABET.fullmatch(text) else None


def _characters(text: str) -> int:
    """Return how many characters the SEQUENCE that begins here takes, without padding; 0 for no SEQUENCE."""
    head = _octets(text[:8]) or b""
    if len(head) < 4 or head[0] != 0x30:
        return 0
    size = 2 + head[1]
    if head[1] >= 0x80:
        more = head[1] & 0x7F
        size = 2 + more + int.from_bytes(head[2 : 2 + more], "big")
    return -(-size * 8 // 6) if size <= MAX_REQUEST_BYTES else 0


def _with_slashes(text: str, missing: int) -> Iterator[str]:
    """Yield the text with so many more slashes, each inserted beside an existing one."""
    if missing == 0:
        yield text
    if missing <= 0:
        return
    places = [at for at, character in enumerate(text) if character == "/"]
    for chosen in combinations_with_replacement(places, missing):
        made = text
        for at in reversed(chosen):
            made = f"{made[:at]}/{made[at:]}"
        yield made


def _octets(text: str) -> bytes | None:
    try:
        return b64decode(text + "=" * (-len(text) % 4), validate=True)
    except (binascii.Error, ValueError):
        return None
