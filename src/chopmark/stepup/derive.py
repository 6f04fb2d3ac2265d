"""A one-time code is computed from its challenge whenever it is needed, and stored nowhere.

Sender and verifier hold the same secret key; the database holds the nonce and the key's id only.
A thief of the database therefore has no code, and a retry on another gateway sends the same one.
"""

import hashlib
import hmac
from dataclasses import dataclass, field
from typing import Final

from chopmark.core.types import Secret
from chopmark.stepup.challenge import Challenge

LABEL: Final = b"chopmark-otp-1"
KEY_BYTES: Final = 32


@dataclass(frozen=True, slots=True)
class OtpKey:
    """A key that codes are derived with: 32 random bytes from outside database and backup."""

    kid: str
    secret: bytes = field(repr=False)

    def __post_init__(self) -> None:
        if not self.kid:
            raise ValueError("an OTP key needs a key id")
        if len(self.secret) != KEY_BYTES:
            raise ValueError(f"OTP key {self.kid} must have {KEY_BYTES} bytes")

    @classmethod
    def named(cls, secret: bytes) -> "OtpKey":
        """Return the key under an id of its own: the start of a hash that says nothing of 32 random bytes."""
        return cls(hashlib.sha256(b"chopmark-otp-kid-1" + secret).hexdigest()[:12], secret)

    def check_value(self) -> str:
        """Return 16 hexadecimal digits that are equal on all nodes that hold the same key under the same id."""
        kid = self.kid.encode()
        return hmac.digest(self.secret, b"chopmark-otp-check-1" + _prefixed(kid), hashlib.sha256).hex()[:16]


@dataclass(frozen=True, slots=True)
class OtpKeys:
    """The key of new challenges, and the one before it while its last codes live."""

    current: OtpKey
    previous: OtpKey | None = None

    def __post_init__(self) -> None:
        if self.previous is not None and self.previous.kid == self.current.kid:
            raise ValueError(f"two OTP keys share the key id {self.current.kid}")

    def find(self, kid: str) -> OtpKey | None:
        """Return the key of that id, or None when it was rotated away and destroyed."""
        for key in (self.current, self.previous):
            if key is not None and key.kid == kid:
                return key
        return None


def derive_for(challenge: Challenge, key: OtpKey, tenant: str) -> Secret:
    """Return the code of this challenge: exactly its number of decimal digits, leading zeros kept.

    The first 16 bytes of HMAC-SHA-256 as a big-endian number, modulo 10^digits. The message is the
    label and then tenant, challenge id, nonce, operation, SPKI hash, channel and contact version, each
    as a 4-byte big-endian length and its bytes: text in UTF-8, the contact version as a decimal
    number, the nonce raw. The bias is below 2^-94 (NIST SP 800-63B-4 s.3.1.3.2: at least 6 digits).

    `key` is the one that the challenge's `kid` names; ValueError otherwise.
    """
    if key.kid != challenge.kid:
        raise ValueError(f"the challenge names OTP key {challenge.kid}, not {key.kid}")
    fields = (
        tenant.encode(),
        challenge.id.encode(),
        challenge.nonce,
        challenge.operation.value.encode(),
        challenge.spki.encode(),
        challenge.channel.value.encode(),
        str(challenge.contact_version).encode(),
    )
    mac = hmac.digest(key.secret, LABEL + b"".join(map(_prefixed, fields)), hashlib.sha256)
    return Secret(f"{int.from_bytes(mac[:16], 'big') % 10**challenge.digits:0{challenge.digits}d}")


def _prefixed(value: bytes) -> bytes:
    return len(value).to_bytes(4, "big") + value
