"""Known browsers: a cookie with a MAC, which proves that a customer has signed in with all factors in this browser.

The cookie does not sign anybody in. It only decides which counter a wrong password moves, so that a stranger's guesses
do not lock the customer's own browser out (I19). Its MAC includes the customer and the moment at which the password was
set. So it is invalid for another customer, and after a new password slip.
"""

import hashlib
import hmac
from base64 import urlsafe_b64encode
from datetime import datetime, timedelta
from typing import Final

from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from chopmark.core.clock import Clock, Entropy
from chopmark.core.types import CustomerId, Secret

KNOWN_FOR: Final = timedelta(days=365)
_VERSION: Final = "1"
_LABEL: Final = b"chopmark-known-browser-1"
_LONGEST: Final = 200


class KnownBrowsers:
    """Makes and checks the cookie's value; `secret` is outside the database, and only keys derived from it are used."""

    def __init__(self, secret: bytes, clock: Clock, entropy: Entropy) -> None:
        self._key = HKDF(algorithm=SHA256(), length=32, salt=None, info=_LABEL).derive(secret)
        self._clock = clock
        self._entropy = entropy

    def token(self, customer: CustomerId, bound_at: datetime | None) -> Secret:
        """Return the value for a browser of this customer whose password was set at `bound_at`."""
        issued = str(int(self._clock.now().timestamp()))
        nonce = _b64(self._entropy.token(16))
        return Secret(".".join((_VERSION, issued, nonce, self._mac(customer, bound_at, issued, nonce))))

    def recognises(self, token: str | None, customer: CustomerId, bound_at: datetime | None) -> bool:
        """Tell whether the value was made for this customer and this password, within the last year."""
        parts = (token or "")[:_LONGEST].split(".")
        if len(parts) != 4 or parts[0] != _VERSION or not (parts[1].isascii() and parts[1].isdecimal()):
            return False
        _, issued, nonce, given = parts
        if not hmac.compare_digest(self._mac(customer, bound_at, issued, nonce).encode(), given.encode()):
            return False
        age = self._clock.now().timestamp() - int(issued)
        return -1 <= age < KNOWN_FOR.total_seconds()

    def _mac(self, customer: str, bound_at: datetime | None, issued: str, nonce: str) -> str:
        bound = "" if bound_at is None else bound_at.isoformat()
        parts = (_VERSION, customer, bound, issued, nonce)
        message = b"".join(len(part.encode()).to_bytes(4, "big") + part.encode() for part in parts)
        return _b64(hmac.digest(self._key, message, hashlib.sha256))


def _b64(data: bytes) -> str:
    return urlsafe_b64encode(data).rstrip(b"=").decode()
