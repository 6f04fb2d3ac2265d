"""The Signer port: something that signs with a private key and does not show the key."""

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

    After a failure the device is not used for `first_wait`; this time doubles with each further failure, up to
    `longest_wait`. A call waits at most `patience_s` seconds for other calls to finish.
    """

    module: str
    token: str
    pin: Secret
    first_wait: timedelta = timedelta(seconds=1)
    longest_wait: timedelta = timedelta(seconds=60)
    patience_s: float = 10.0


class SignerUnavailable(Exception):
    """The key cannot be reached now, and no signature was returned; ask again after `retry_after_s` seconds."""

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
    """Base class of a Signer whose key is in a device; it may block, so asynchronous code calls it in a thread."""

    patience_s: float = 10.0
    """How many seconds asynchronous code waits for the device before it raises SignerUnavailable."""

    @abstractmethod
    def ready(self) -> None:
        """Return if the device can sign now; raise SignerUnavailable otherwise. The CA asks before it reserves."""
