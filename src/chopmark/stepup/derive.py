"""A one-time code is computed from its challenge whenever it is needed, and is never stored.

The sender and the verifier have the same secret key; the database has only the nonce and the key's
id. So somebody who steals the database has no codes, and when a message is sent again by another
gateway, it has the same code.
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
    """A key from which codes are derived: 32 random bytes that are in no database and no backup."""

    kid: str
    secret: bytes = field(repr=False)

    def __post_init__(self) -> None:
        if not self.kid:
            raise ValueError("an OTP key needs a key id")
        if len(self.secret) != KEY_BYTES:
            raise ValueError(f"OTP key {self.kid} must have {KEY_BYTES} bytes")

    @classmethod
    def named(cls, secret: bytes) -> "OtpKey":
        """Return the key with an id made from it: the start of a hash, from which the key cannot be found."""
        return cls(hashlib.sha256(b"chopmark-otp-kid-1" + secret).hexdigest()[:12], secret)

    def check_value(self) -> str:
        """Return 16 hexadecimal digits that are the same on all nodes with the same key under the same id."""
        kid = self.kid.encode()
        return hmac.digest(self.secret, b"chopmark-otp-check-1" + _prefixed(kid), hashlib.sha256).hex()[:16]


@dataclass(frozen=True, slots=True)
class OtpKeys:
    """The key for new challenges, and the key before it as long as codes made with it are valid."""

    current: OtpKey
    previous: OtpKey | None = None

    def __post_init__(self) -> None:
        if self.previous is not None and self.previous.kid == self.current.kid:
            raise ValueError(f"two OTP keys share the key id {self.current.kid}")

    def find(self, kid: str) -> OtpKey | None:
        """Return the key with that id, or None when this process does not have it any more."""
        for key in (self.current, self.previous):
            if key is not None and key.kid == kid:
                return key
        return None


def derive_for(challenge: Challenge, key: OtpKey, tenant: str) -> Secret:
    """Return the code of this challenge: `challenge.digits` decimal digits, with leading zeros.

    It is the first 16 bytes of an HMAC-SHA-256, read as a big-endian number, modulo 10^digits. The
    message of the HMAC is the label, then tenant, challenge id, nonce, operation, SPKI hash, channel
    and contact version, each as a 4-byte big-endian length followed by its bytes: text in UTF-8, the
    contact version as a decimal number, the nonce as it is. The bias is below 2^-94 (NIST SP
    800-63B-4 s.3.1.3.2: at least 6 digits).

    Raises ValueError unless `key` is the one that the challenge's `kid` names.
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
