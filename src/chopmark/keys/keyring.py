"""Get the signer for a key as it is stored: an encrypted PEM, or the PKCS #11 URI of a key in a device.

An encrypted PEM opens with a pass-phrase. If a lock line stands above it, it opens with two operators' shares instead.
"""

import re
from typing import TYPE_CHECKING

from chopmark.core.clock import Clock
from chopmark.core.types import Secret
from chopmark.keys import file, shares
from chopmark.keys.file import FileSigner
from chopmark.keys.ports import KeyAlgorithm, Pkcs11Settings, Signer
from chopmark.keys.shares import Lock, Shares

if TYPE_CHECKING:
    from chopmark.keys.pkcs11 import Pkcs11Token

PREFIX = b"pkcs11:object="
_LABEL = re.compile(r"[A-Za-z0-9._-]{1,32}")


class NoDevice(Exception):
    """A key is in a device that this process is not set up for; the text says what is missing."""


class NoShares(Exception):
    """A key file opens with two operators' shares, and this process does not have them."""


class Keyring:
    """Opens the CA's signing keys; all keys in the device share one session."""

    def __init__(
        self, passphrase: Secret, device: Pkcs11Settings | None, clock: Clock, shares: Shares | None = None
    ) -> None:
        self._passphrase = passphrase
        self._device = device
        self._clock = clock
        self._shares = shares
        self._derived: dict[Lock, Secret] = {}
        self._token: Pkcs11Token | None = None

    def open(self, stored: bytes, public_key_der: bytes) -> Signer:
        """Return the signer of a stored key. Raises KeyFileError, NoShares or NoDevice.

        A device is first used when something is signed, so the server starts even while the device is away.
        """
        if not stored.startswith(PREFIX):
            lock = Lock.of(stored)
            return FileSigner.open(stored, self._passphrase if lock is None else self.passphrase(lock))
        return self._in_device(stored.removeprefix(PREFIX).decode("ascii"), public_key_der)

    def make(self, algorithm: KeyAlgorithm, token: bytes) -> tuple[Signer, bytes]:
        """Return the signer of a new key in a file, and the file's content to be stored.

        The file is under the operators' shares if this process has them, otherwise under the pass-phrase. `token` is 32
        fresh random bytes.
        """
        if self._shares is None:
            pem = file.create(algorithm, self._passphrase)
        else:
            lock = Lock.fresh(token)
            pem = shares.create(algorithm, lock, self.passphrase(lock))
        return self.open(pem, b""), pem

    def passphrase(self, lock: Lock) -> Secret:
        """Return the pass-phrase of files with this lock; it is derived once and kept. Raises NoShares."""
        if self._shares is None:
            raise NoShares("a key file opens with both operators' shares: set ca_share_one and ca_share_two")
        if lock not in self._derived:
            self._derived[lock] = lock.passphrase(self._shares)
        return self._derived[lock]

    def hold(self, label: str, algorithm: KeyAlgorithm) -> tuple[Signer, bytes]:
        """Return the signer of the device's key with this label, and what to store of it; make the key if missing.

        The label is 1 to 32 of A-Z, a-z, 0-9, '.', '_' and '-'. Raises ValueError, NoDevice and SignerUnavailable.
        """
        if _LABEL.fullmatch(label) is None:
            raise ValueError(f"{label!r} is no label for a key")
        token = self._opened()
        public_key_der = token.public_key(label) or token.create(label, algorithm)
        return self._in_device(label, public_key_der), PREFIX + label.encode("ascii")

    def close(self) -> None:
        """Log out of the device."""
        if self._token is not None:
            self._token.close()

    def _in_device(self, label: str, public_key_der: bytes) -> Signer:
        token = self._opened()
        from chopmark.keys.pkcs11 import Pkcs11Signer  # noqa: PLC0415 - its library comes with the extra `hsm` only

        return Pkcs11Signer(token, label, public_key_der)

    def _opened(self) -> "Pkcs11Token":
        if self._token is not None:
            return self._token
        if self._device is None:
            raise NoDevice("a key is in an HSM: set hsm.module, hsm.token and hsm.pin")
        try:
            from chopmark.keys.pkcs11 import Pkcs11Token  # noqa: PLC0415 - its library comes with the extra `hsm` only
        except ImportError as error:
            raise NoDevice("a key is in an HSM: install what requirements-hsm.lock names") from error

        self._token = Pkcs11Token(self._device, self._clock)
        return self._token
