"""Checks whether a public key may be certified; each known weakness has its own code.

Sources: CA/B Forum BR 6.1.1.3 and 6.1.6, NIST SP 800-89 s.5.3.3, SP 800-56A s.5.6.2.3.3, CVE-2017-15361 (ROCA). Sizes
are checked first, so that no arithmetic is done with an oversized number.
"""

import math
from functools import cache

from cryptography.hazmat import asn1
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509 import ObjectIdentifier

from chopmark.core.types import Text, text
from chopmark.pki.algorithms import RSA_SIZES, KeyKind
from chopmark.pki.der import AlgorithmIdentifier, AnyAlgorithm, NotDer, PublicKeyInfo, encoded, require_der
from chopmark.pki.finding import Finding

FERMAT_ROUNDS = 100
SMALL_FACTOR_LIMIT = 752
RSA_EXPONENT = 65537
MAX_SPKI_BYTES = 4096
_RSA = ObjectIdentifier("1.2.840.113549.1.1.1")
_EC = ObjectIdentifier("1.2.840.10045.2.1")
_CURVES: dict[str, tuple[KeyKind, ec.EllipticCurve]] = {
    "1.2.840.10045.3.1.7": (KeyKind.P256, ec.SECP256R1()),
    "1.3.132.0.34": (KeyKind.P384, ec.SECP384R1()),
}
_P256_HEAD = bytes.fromhex("3059301306072a8648ce3d020106082a8648ce3d030107034200")
_P256_OCTETS = 91
"""A SubjectPublicKeyInfo of P-256 up to its point (RFC 5480), and its length: reading more of it says the same."""
# The primes of the Infineon generator for which powers of 65537 leave residues out (Nemec et al., CCS 2017).
_ROCA_PRIMES = (11, 13, 17, 19, 37, 53, 61, 71, 73, 79, 97, 103, 107, 109, 127, 151, 157)


@asn1.sequence
class _RsaPublicKey:
    modulus: int
    exponent: int


class _Unfit(Exception):
    """Ends `judge` at the first fault after which further checks make no sense."""

    def __init__(self, finding: Finding) -> None:
        super().__init__(finding.code)
        self.finding = finding


def judge(public_key_der: bytes) -> tuple[Finding, ...]:
    """Return what makes the key unfit; empty for a fit one. `public_key_der` is a SubjectPublicKeyInfo."""
    try:
        algorithm, key = _parts(public_key_der)
        if algorithm.algorithm == _RSA:
            return _judge_rsa(algorithm, key)
        if algorithm.algorithm == _EC:
            return _judge_ec(algorithm, key)
    except _Unfit as stop:
        return (stop.finding,)
    return (_unknown_algorithm(),)


def kind(public_key_der: bytes) -> KeyKind:
    """Return the kind of a key that `judge` found fit; ValueError for any other."""
    if len(public_key_der) == _P256_OCTETS and public_key_der.startswith(_P256_HEAD):
        return KeyKind.P256
    try:
        algorithm, key = _parts(public_key_der)
        if algorithm.algorithm == _EC:
            return _curve(algorithm)[0]
        return RSA_SIZES[_rsa_numbers(key).modulus.bit_length()]
    except (_Unfit, KeyError) as error:
        raise ValueError("not a fit key") from error


def rsa_modulus(public_key_der: bytes) -> int | None:
    """Return the modulus of an RSA key; None for any other kind, and for what cannot be read."""
    try:
        algorithm, key = _parts(public_key_der)
        return _rsa_numbers(key).modulus if algorithm.algorithm == _RSA else None
    except _Unfit:
        return None


def _finding(code: str, sentence: Text) -> Finding:
    return Finding(code, sentence)


def _damaged() -> _Unfit:
    return _Unfit(_finding("key_malformed", text("The public key is damaged. Please make a new key.")))


def _parts(public_key_der: bytes) -> tuple[AnyAlgorithm, bytes]:
    """Return algorithm (with its parameters, NULL if they are absent) and the key's own bytes."""
    if len(public_key_der) > MAX_SPKI_BYTES:
        raise _Unfit(_finding("key_size", text("The key is too large. Please make an EC key (P-256).")))
    try:
        require_der(public_key_der)
        info = asn1.decode_der(PublicKeyInfo, public_key_der)
        if info.key.padding_bits():
            raise _damaged()
        algorithm_der = encoded(info.algorithm)
        _require_parameters(algorithm_der)
        return asn1.decode_der(AnyAlgorithm, algorithm_der), info.key.as_bytes()
    except (NotDer, ValueError) as error:
        raise _damaged() from error


def _require_parameters(algorithm_der: bytes) -> None:
    try:
        bare = asn1.decode_der(AlgorithmIdentifier, algorithm_der)
    except ValueError:
        return
    if bare.algorithm not in (_RSA, _EC):
        raise _Unfit(_unknown_algorithm())
    if bare.parameters is None:
        raise _Unfit(_finding("key_parameters", text("The key does not say its parameters. Please make a new key.")))


def _unknown_algorithm() -> Finding:
    return _finding("key_algorithm", text("This kind of key is not allowed. Please make an EC key (P-256)."))


def _judge_ec(algorithm: AnyAlgorithm, point: bytes) -> tuple[Finding, ...]:
    _, curve = _curve(algorithm)
    size = (curve.key_size + 7) // 8
    if point == b"\x00":
        return (_finding("ec_infinity", text("The key is the point at infinity. Please make a new key.")),)
    if point[:1] != b"\x04":
        return (_finding("ec_compressed", text("The key's point is compressed. Please make a new key.")),)
    if len(point) != 1 + 2 * size:
        return (_finding("key_malformed", text("The public key is damaged. Please make a new key.")),)
    try:
        ec.EllipticCurvePublicKey.from_encoded_point(curve, point)
    except ValueError:
        return (_finding("ec_not_on_curve", text("The key does not lie on its curve. Please make a new key.")),)
    return ()


def _curve(algorithm: AnyAlgorithm) -> tuple[KeyKind, ec.EllipticCurve]:
    if algorithm.parameters.tag_bytes != b"\x06":
        sentence = text("The key describes its curve instead of naming it. Please make a new key.")
        raise _Unfit(_finding("ec_explicit_parameters", sentence))
    try:
        oid = asn1.decode_der(ObjectIdentifier, encoded(algorithm.parameters)).dotted_string
    except ValueError as error:
        raise _damaged() from error
    if oid not in _CURVES:
        sentence = text("The key is on a curve that is not allowed. Please make an EC key on P-256 or P-384.")
        raise _Unfit(_finding("ec_curve", sentence))
    return _CURVES[oid]


def _rsa_numbers(key: bytes) -> _RsaPublicKey:
    try:
        require_der(key)
        return asn1.decode_der(_RsaPublicKey, key)
    except (NotDer, ValueError) as error:
        raise _damaged() from error


def _judge_rsa(algorithm: AnyAlgorithm, key: bytes) -> tuple[Finding, ...]:
    if encoded(algorithm.parameters) != b"\x05\x00":
        return (_finding("key_parameters", text("The key's parameters are not NULL. Please make a new key.")),)
    numbers = _rsa_numbers(key)
    modulus = numbers.modulus
    if modulus <= 0 or modulus.bit_length() not in RSA_SIZES:
        sentence = text("An RSA key must have 2048, 3072 or 4096 bits. Please make a new key.")
        return (_finding("rsa_size", sentence),)
    found = []
    if numbers.exponent != RSA_EXPONENT:
        found.append(_finding("rsa_exponent", text("The RSA key's exponent is not 65537. Please make a new key.")))
    if has_small_factor(modulus):
        found.append(_finding("rsa_small_factor", text("The RSA key has a small factor. Please make a new key.")))
    if is_roca(modulus):
        sentence = text("The RSA key comes from a faulty generator (ROCA). Please make a new key elsewhere.")
        found.append(_finding("rsa_roca", sentence))
    if has_close_factors(modulus):
        sentence = text("The RSA key's two factors lie too close together. Please make a new key elsewhere.")
        found.append(_finding("rsa_close_factors", sentence))
    return tuple(found)


@cache
def _small_primes_product() -> int:
    primes = [n for n in range(2, SMALL_FACTOR_LIMIT) if all(n % d for d in range(2, math.isqrt(n) + 1))]
    return math.prod(primes)


def has_small_factor(modulus: int) -> bool:
    """True when a prime below 752 divides the modulus (SP 800-89 s.5.3.3)."""
    return math.gcd(modulus, _small_primes_product()) != 1


def has_close_factors(modulus: int) -> bool:
    """True when Fermat's method finds the factors within 100 rounds (BR 6.1.1.3)."""
    root = math.isqrt(modulus)
    if root * root < modulus:
        root += 1
    for candidate in range(root, root + FERMAT_ROUNDS):
        rest = candidate * candidate - modulus
        if math.isqrt(rest) ** 2 == rest:
            return True
    return False


@cache
def _powers_of_65537(prime: int) -> frozenset[int]:
    return frozenset(pow(RSA_EXPONENT, exponent, prime) for exponent in range(prime - 1))


def is_roca(modulus: int) -> bool:
    """True when the modulus has the fingerprint of CVE-2017-15361; true by chance for one random key in 2^27."""
    return all(modulus % prime in _powers_of_65537(prime) for prime in _ROCA_PRIMES)
