"""Private keys for the X.509 builders, made from any function that signs: from a key file, an HSM or a test.

The builders of `cryptography` accept Python subclasses of its key classes; these two hold no private key.
"""

from collections.abc import Callable
from typing import NoReturn, TypeAlias

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa, utils
from cryptography.utils import Buffer

from chopmark.pki.algorithms import RSA_SIZES, KeyKind

IssuerKey: TypeAlias = ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey
IssuerPublicKey: TypeAlias = ec.EllipticCurvePublicKey | rsa.RSAPublicKey
Sign: TypeAlias = Callable[[bytes], bytes]


def public_key(spki_der: bytes) -> IssuerPublicKey:
    """Load a SubjectPublicKeyInfo of an allowed kind; ValueError for any other."""
    key = serialization.load_der_public_key(spki_der)
    if isinstance(key, ec.EllipticCurvePublicKey | rsa.RSAPublicKey):
        return key
    raise ValueError("neither an EC nor an RSA public key")


def kind_of(key: IssuerKey | IssuerPublicKey) -> KeyKind:
    """Return the kind of a key; ValueError for a curve or a size that is not allowed."""
    if isinstance(key, rsa.RSAPrivateKey | rsa.RSAPublicKey):
        kind = RSA_SIZES.get(key.key_size)
    else:
        kind = {"secp256r1": KeyKind.P256, "secp384r1": KeyKind.P384}.get(key.curve.name)
    if kind is None:
        raise ValueError("a key of a curve or size that is not allowed")
    return kind


def spki(key: IssuerKey | IssuerPublicKey) -> bytes:
    """Return the DER SubjectPublicKeyInfo of a key."""
    public = key if isinstance(key, ec.EllipticCurvePublicKey | rsa.RSAPublicKey) else key.public_key()
    return public.public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)


def spki_of(certificate: x509.Certificate) -> bytes:
    """Return the DER SubjectPublicKeyInfo of a certificate; ValueError for a key that cannot be read."""
    return certificate.public_key().public_bytes(
        serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
    )


def sign(key: IssuerKey, data: bytes) -> bytes:
    """Return the X.509-style signature over `data` with the hash of the key's kind."""
    return sign_with(key, data, kind_of(key).hash_algorithm)


def sign_with(key: IssuerKey, data: bytes, algorithm: hashes.HashAlgorithm) -> bytes:
    """Return an ECDSA or RSASSA-PKCS1-v1_5 signature over `data` with the given hash."""
    if isinstance(key, rsa.RSAPrivateKey):
        return key.sign(data, padding.PKCS1v15(), algorithm)
    return key.sign(data, ec.ECDSA(algorithm))


def verifies(key: IssuerPublicKey, signature: bytes, data: bytes, algorithm: hashes.HashAlgorithm) -> bool:
    """True when the signature over `data` is by this key, with this hash."""
    try:
        if isinstance(key, rsa.RSAPublicKey):
            key.verify(signature, data, padding.PKCS1v15(), algorithm)
        else:
            key.verify(signature, data, ec.ECDSA(algorithm))
    except InvalidSignature:
        return False
    return True


def key_from(spki_der: bytes, sign_function: Sign) -> IssuerKey:
    """Return a private key for the builders whose signatures `sign_function` makes.

    `sign_function` gets the whole to-be-signed DER and must use the hash of the key's kind;
    a builder that asks for another hash or padding gets a TypeError.
    """
    public = public_key(spki_der)
    kind = kind_of(public)
    if isinstance(public, rsa.RSAPublicKey):
        return _RsaBridge(public, kind, sign_function)
    return _EcBridge(public, kind, sign_function)


def _only_signs() -> NoReturn:
    raise TypeError("this key only signs; it is not here")


def _require_hash(asked: object, kind: KeyKind) -> None:
    if not isinstance(asked, type(kind.hash_algorithm)):
        raise TypeError(f"a {kind} key signs with {kind.hash_algorithm.name} only")


class _EcBridge(ec.EllipticCurvePrivateKey):
    def __init__(self, public: ec.EllipticCurvePublicKey, kind: KeyKind, sign_function: Sign) -> None:
        self._public = public
        self._kind = kind
        self._sign = sign_function

    def sign(self, data: Buffer, signature_algorithm: ec.EllipticCurveSignatureAlgorithm) -> bytes:
        _require_hash(signature_algorithm.algorithm, self._kind)
        return self._sign(bytes(data))

    def public_key(self) -> ec.EllipticCurvePublicKey:
        return self._public

    @property
    def curve(self) -> ec.EllipticCurve:
        return self._public.curve

    @property
    def key_size(self) -> int:
        return self._public.key_size

    def exchange(self, *_: object, **__: object) -> NoReturn:
        _only_signs()

    def private_numbers(self) -> NoReturn:
        _only_signs()

    def private_bytes(self, *_: object, **__: object) -> NoReturn:
        _only_signs()

    def __copy__(self) -> "_EcBridge":
        return self

    def __deepcopy__(self, memo: dict[int, object]) -> "_EcBridge":
        return self


class _RsaBridge(rsa.RSAPrivateKey):
    def __init__(self, public: rsa.RSAPublicKey, kind: KeyKind, sign_function: Sign) -> None:
        self._public = public
        self._kind = kind
        self._sign = sign_function

    def sign(
        self,
        data: bytes,
        padding: padding.AsymmetricPadding,
        algorithm: utils.Prehashed | hashes.HashAlgorithm | utils.NoDigestInfo,
    ) -> bytes:
        _require_hash(algorithm, self._kind)
        if padding.name != "EMSA-PKCS1-v1_5":
            raise TypeError("an RSA key signs with PKCS #1 v1.5 only")
        return self._sign(bytes(data))

    def public_key(self) -> rsa.RSAPublicKey:
        return self._public

    @property
    def key_size(self) -> int:
        return self._public.key_size

    def decrypt(self, *_: object, **__: object) -> NoReturn:
        _only_signs()

    def private_numbers(self) -> NoReturn:
        _only_signs()

    def private_bytes(self, *_: object, **__: object) -> NoReturn:
        _only_signs()

    def __copy__(self) -> "_RsaBridge":
        return self

    def __deepcopy__(self, memo: dict[int, object]) -> "_RsaBridge":
        return self
