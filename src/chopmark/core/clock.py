"""Time and randomness, as ports: code that decides never reads them by itself.

It gets them as arguments; only `app.foundation` and `app.machine` read the real ones.
"""

from base64 import b32encode
from datetime import datetime
from typing import Protocol


class Clock(Protocol):
    """Tells the time."""

    def now(self) -> datetime:
        """Return the present moment: aware, UTC."""
        ...


class Entropy(Protocol):
    """Gives unpredictable bytes from an approved generator (NIST SP 800-63B-4 s.3.1.3.2)."""

    def token(self, size: int) -> bytes:
        """Return `size` fresh random bytes."""
        ...


def new_id(entropy: Entropy) -> str:
    """Return a fresh 128-bit id: 26 characters of base32."""
    return b32encode(entropy.token(16)).rstrip(b"=").decode()
