"""The Signer port: a private key that stays where it is and signs."""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from datetime import timedelta
from typing import Protocol, TypeAlias

from chopmark.core.types import Secret
from chopmark.pki.algorithms import KeyKind

KeyAlgorithm: TypeAlias = KeyKind
"""P256, P384, RSA2048, RSA3072 or RSA4096."""


@dataclass(frozen=True, slots=True)
class Pkcs11Settings:
    """Where the device is: path of the maker's library, label of the token in it, PIN of the token's user.

    After a failure the device is left alone for `first_wait`, doubled with each further failure up to `longest_wait`;
    a call waits for its turn for at most `patience_s` seconds.
    """

    module: str
    token: str
    pin: Secret
    first_wait: timedelta = timedelta(seconds=1)
    longest_wait: timedelta = timedelta(seconds=60)
    patience_s: float = 10.0


class SignerUnavailable(Exception):
    """The key cannot be reached now; no signature was returned. `retry_after_s` says when to ask again."""

    def __init__(self, why: str, retry_after_s: int) -> None:
        super().__init__(why)
        self.retry_after_s = retry_after_s


class Signer(Protocol):
    """Signs with one private key; each implementation says where the key is."""

    @property
    def public_key_der(self) -> bytes:
        """The SubjectPublicKeyInfo of the key, DER."""
        ...

    @property
    def algorithm(self) -> KeyAlgorithm:
        """The kind of the key."""
        ...

    def sign(self, data: bytes) -> bytes:
        """Return the X.509-style signature over `data`: SHA-256 (SHA-384 for P-384), ECDSA as DER or PKCS #1 v1.5.

        Raises SignerUnavailable when the key is in a device that cannot be reached now.
        """
        ...


class OnDevice(ABC):
    """What a Signer is besides when its key is in a device: a signature waits for the device, so it has a thread."""

    patience_s: float = 10.0
    """How long a caller on the event loop waits before it takes the device for lost."""

    @abstractmethod
    def ready(self) -> None:
        """Return when the device would sign now; raises SignerUnavailable. Asked before anything is reserved."""
