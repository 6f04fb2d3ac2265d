"""Keys in a device that speaks PKCS #11 v2.40: they are made there, sign there and never leave it.

A process has one `Pkcs11Token` for a module, with one session that all its keys share under one lock. After any error
the module is shut down, and a later call starts it again. A PIN that was refused is not tried again, because a device
locks itself after a few wrong PINs.
"""

import hashlib
import threading
from collections.abc import Callable
from contextlib import suppress
from datetime import datetime, timedelta
from math import ceil
from typing import TypeVar

import pkcs11
from cryptography.hazmat.primitives.asymmetric import ec, rsa, utils
from pkcs11 import Attribute, KeyType, Mechanism, MechanismFlag, ObjectClass, TokenFlag
from pkcs11.exceptions import (
    NoSuchKey,
    PinExpired,
    PinIncorrect,
    PinInvalid,
    PinLenRange,
    PinLocked,
    PKCS11Error,
    UserPinNotInitialized,
)
from pkcs11.types import SignMixin
from pkcs11.util.ec import encode_named_curve_parameters

from chopmark.core.clock import Clock
from chopmark.keys.ports import KeyAlgorithm, OnDevice, Pkcs11Settings, SignerUnavailable
from chopmark.pki import signing
from chopmark.pki.signing import IssuerPublicKey

Found = TypeVar("Found")

_CURVES: dict[KeyAlgorithm, ec.EllipticCurve] = {KeyAlgorithm.P256: ec.SECP256R1(), KeyAlgorithm.P384: ec.SECP384R1()}
_RSA_BITS = {KeyAlgorithm.RSA2048: 2048, KeyAlgorithm.RSA3072: 3072, KeyAlgorithm.RSA4096: 4096}
_BAD_PIN = (PinIncorrect, PinInvalid, PinLenRange, PinLocked, PinExpired, UserPinNotInitialized)
_PIN_AT_RISK = TokenFlag.USER_PIN_LOCKED | TokenFlag.USER_PIN_FINAL_TRY
_CAPABILITIES = MechanismFlag.SIGN | MechanismFlag.VERIFY
_STAYS = {Attribute.PRIVATE: True, Attribute.SENSITIVE: True, Attribute.EXTRACTABLE: False}


class DeviceKeyError(ValueError):
    """The key in the device is of a kind that we do not use, or there is one already where one was to be made."""


def pin_at_risk(flags: TokenFlag) -> bool:
    """Tell whether the token is locked or the next wrong PIN would lock it; then a person has to look at it."""
    return bool(flags & _PIN_AT_RISK)


class Pkcs11Token:
    """A token, opened when it is first needed; safe in threads. The methods raise SignerUnavailable."""

    def __init__(self, settings: Pkcs11Settings, clock: Clock) -> None:
        self._settings = settings
        self._clock = clock
        self.lock = threading.Lock()
        self._shut: Callable[[], None] | None = None
        self._session: pkcs11.Session | None = None
        self._keys: dict[str, SignMixin] = {}
        self._failures = 0
        self._failed_at: datetime | None = None
        self._pin_refused: str | None = None

    @property
    def patience_s(self) -> float:
        """How many seconds a call waits until other calls have finished."""
        return self._settings.patience_s

    def create(self, label: str, algorithm: KeyAlgorithm) -> bytes:
        """Make a sensitive key in the token that cannot be extracted; return its SubjectPublicKeyInfo, DER.

        Raises DeviceKeyError when the token has a key of this label.
        """
        with self._turn():
            self._drop()
            session = self._open(rw=True)
            try:
                if list(session.get_objects({Attribute.LABEL: label})):
                    raise DeviceKeyError(f"the token has an object {label} already")
                public, private = _generate(session, label, algorithm)
                return _checked(public, private)
            except PKCS11Error as error:
                raise self._failed(error) from error
            finally:
                self._drop()

    def public_key(self, label: str) -> bytes | None:
        """Return the SubjectPublicKeyInfo of the token's key with this label, DER; None when there is none.

        Raises DeviceKeyError when the key can leave the token, or may have left it.
        """

        def found(session: pkcs11.Session) -> bytes | None:
            try:
                public = session.get_key(ObjectClass.PUBLIC_KEY, label=label)
                private = session.get_key(ObjectClass.PRIVATE_KEY, label=label)
            except NoSuchKey:
                return None
            return _checked(public, private)

        return self._with_session(found)

    def sign(self, label: str, data: bytes, mechanism: Mechanism) -> bytes:
        """Return the token's own signature over `data`, in the mechanism's form."""
        return self._with_session(lambda session: bytes(self._key(session, label).sign(data, mechanism=mechanism)))

    def ready(self, label: str) -> None:
        """Return if the token answers and has this key. A session that was lost meanwhile is opened again."""
        with self._turn():
            if self._session is not None:
                try:
                    self._probe(self._session, label)
                    return
                except PKCS11Error:
                    self._drop()
            session = self._open()
            try:
                self._probe(session, label)
            except PKCS11Error as error:
                raise self._failed(error) from error

    def close(self) -> None:
        """Log out and shut the module down; a later call opens it again. Do nothing while a device hangs."""
        with suppress(SignerUnavailable), self._turn():
            self._drop()

    def _turn(self) -> "_Turn":
        return _Turn(self.lock, self._settings.patience_s)

    def _with_session(self, work: Callable[[pkcs11.Session], Found]) -> Found:
        with self._turn():
            session = self._open()
            try:
                found = work(session)
            except PKCS11Error as error:
                raise self._failed(error) from error
            self._failures, self._failed_at = 0, None
            return found

    def _key(self, session: pkcs11.Session, label: str) -> SignMixin:
        if label not in self._keys:
            key = session.get_key(ObjectClass.PRIVATE_KEY, label=label)
            if not isinstance(key, SignMixin):
                raise NoSuchKey(label)
            self._keys[label] = key
        return self._keys[label]

    def _probe(self, session: pkcs11.Session, label: str) -> None:
        if self._key(session, label)[Attribute.LABEL] != label:
            raise NoSuchKey(label)

    def _open(self, *, rw: bool = False) -> pkcs11.Session:
        if self._session is not None:
            return self._session
        self._require_turn_to_try()
        pin = self._settings.pin.reveal()
        try:
            module = pkcs11.lib(self._settings.module)
            self._shut = module.finalize
            token = module.get_token(token_label=self._settings.token)
            if pin_at_risk(token.flags):
                raise PinLocked
            self._session = token.open(rw=rw, user_pin=pin)
        except _BAD_PIN as error:
            self._pin_refused = type(error).__name__
            self._drop()
            raise self._pin_problem() from error
        except PKCS11Error as error:
            raise self._failed(error) from error
        return self._session

    def _require_turn_to_try(self) -> None:
        """Raise SignerUnavailable during the wait after a failure, and always once the PIN was refused.

        Another attempt with a refused PIN could lock the token.
        """
        if self._pin_refused is not None:
            raise self._pin_problem()
        if self._failed_at is None:
            return
        left = self._wait() - (self._clock.now() - self._failed_at)
        if timedelta(0) < left <= self._wait():
            raise SignerUnavailable("the token failed a moment ago", retry_after_s=ceil(left.total_seconds()))

    def _wait(self) -> timedelta:
        doubled = self._settings.first_wait * (1 << min(self._failures - 1, 16))
        return min(doubled, self._settings.longest_wait)

    def _pin_problem(self) -> SignerUnavailable:
        why = f"the token does not accept the PIN ({self._pin_refused}); it is not tried again before a restart"
        return SignerUnavailable(why, ceil(self._settings.longest_wait.total_seconds()))

    def _failed(self, error: PKCS11Error) -> SignerUnavailable:
        self._drop()
        self._failures += 1
        self._failed_at = self._clock.now()
        why = f"the token {self._settings.token} cannot be used: {type(error).__name__}"
        return SignerUnavailable(why, ceil(self._wait().total_seconds()))

    def _drop(self) -> None:
        """Shut the module down; this ends sessions, log-in and handles, also those of a device that is gone."""
        self._session = None
        self._keys.clear()
        shut, self._shut = self._shut, None
        if shut is not None:
            with suppress(PKCS11Error):
                shut()


class _Turn:
    """The lock as a context manager that gives up after `patience_s`, so no threads pile up behind a hanging device."""

    def __init__(self, lock: threading.Lock, patience_s: float) -> None:
        self._lock = lock
        self._patience_s = patience_s

    def __enter__(self) -> None:
        if not self._lock.acquire(timeout=self._patience_s):
            raise SignerUnavailable("the token is busy with other calls and does not answer", retry_after_s=5)

    def __exit__(self, *_: object) -> None:
        self._lock.release()


class Pkcs11Signer(OnDevice):
    """A Signer whose key is in a token; the token is not used before the first signature."""

    def __init__(self, token: Pkcs11Token, label: str, public_key_der: bytes) -> None:
        """Take the key called `label`; `public_key_der` is what its signatures must verify with."""
        self._token = token
        self._label = label
        self._public_key_der = public_key_der
        self._public_key = signing.public_key(public_key_der)
        self._algorithm = signing.kind_of(self._public_key)
        self.patience_s = token.patience_s

    @property
    def public_key_der(self) -> bytes:
        """The SubjectPublicKeyInfo of the key, DER."""
        return self._public_key_der

    @property
    def algorithm(self) -> KeyAlgorithm:
        """The kind of the key."""
        return self._algorithm

    def ready(self) -> None:
        """Return if the token can sign now; raise SignerUnavailable otherwise."""
        self._token.ready(self._label)

    def sign(self, data: bytes) -> bytes:
        """Return the X.509-style signature over `data`, after it was verified with the public key."""
        if self._algorithm.is_ec:
            digest = hashlib.new(self._algorithm.hash_algorithm.name, data).digest()
            raw = self._token.sign(self._label, digest, Mechanism.ECDSA)
            half = len(raw) // 2
            signature = utils.encode_dss_signature(int.from_bytes(raw[:half]), int.from_bytes(raw[half:]))
        else:
            signature = self._token.sign(self._label, data, Mechanism.SHA256_RSA_PKCS)
        if not signing.verifies(self._public_key, signature, data, self._algorithm.hash_algorithm):
            raise SignerUnavailable("the token's key is not the certificate's key", retry_after_s=60)
        return signature


def _generate(
    session: pkcs11.Session, label: str, algorithm: KeyAlgorithm
) -> tuple[pkcs11.PublicKey, pkcs11.PrivateKey]:
    if not algorithm.is_ec:
        return session.generate_keypair(
            KeyType.RSA,
            _RSA_BITS[algorithm],
            id=label.encode(),
            label=label,
            store=True,
            capabilities=_CAPABILITIES,
            private_template=_STAYS,
        )
    named = {Attribute.EC_PARAMS: encode_named_curve_parameters(_CURVES[algorithm].name)}
    parameters = session.create_domain_parameters(KeyType.EC, named, local=True)
    return parameters.generate_keypair(
        id=label.encode(), label=label, store=True, capabilities=_CAPABILITIES, private_template=_STAYS
    )


def _checked(public: pkcs11.Key, private: pkcs11.Key) -> bytes:
    """Return the SPKI of a key pair; raise DeviceKeyError when the private key may have been outside the token."""
    if not (private[Attribute.NEVER_EXTRACTABLE] and private[Attribute.ALWAYS_SENSITIVE]):
        raise DeviceKeyError("this key was not made in the token, or it may leave it")
    key = _public(public)
    try:
        signing.kind_of(key)
    except ValueError as error:
        raise DeviceKeyError(str(error)) from error
    return signing.spki(key)


def _public(key: pkcs11.Key) -> IssuerPublicKey:
    if key.key_type is KeyType.RSA:
        exponent, modulus = key[Attribute.PUBLIC_EXPONENT], key[Attribute.MODULUS]
        return rsa.RSAPublicNumbers(int.from_bytes(exponent), int.from_bytes(modulus)).public_key()
    for curve in _CURVES.values():
        if key[Attribute.EC_PARAMS] == encode_named_curve_parameters(curve.name):
            size = 1 + 2 * ((curve.key_size + 7) // 8)
            point = bytes(key[Attribute.EC_POINT])[-size:]  # an OCTET STRING; some devices omit its header
            return ec.EllipticCurvePublicKey.from_encoded_point(curve, point)
    raise DeviceKeyError("a key of a curve that is not allowed")
