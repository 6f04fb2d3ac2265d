"""Certification requests, good and bad, each named by what is wrong with it and made when asked for.

openssl makes what it can; the rest is put together here. The weak RSA moduli follow their published recipes:
close factors (Fermat) around the prime of RFC 2409 s.6.2, ROCA after Nemec et al., CCS 2017, s.2.3.
"""

import math
import subprocess
from functools import cache

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.x509.oid import NameOID

RFC2409_GROUP2 = int(
    "FFFFFFFFFFFFFFFFC90FDAA22168C234C4C6628B80DC1CD129024E088A67CC74020BBEA63B139B22514A08798E3404DD"
    "EF9519B3CD3A431B302B0A6DF25F14374FE1356D6D51C245E485B576625E7EC6F44C42E9A637ED6B0BFF5CB6F406B7ED"
    "EE386BFB5A899FA5AE9F24117C4B1FE649286651ECE65381FFFFFFFFFFFFFFFF",
    16,
)
EC_P256 = bytes.fromhex("301306072a8648ce3d020106082a8648ce3d030107")
ECDSA_SHA256 = bytes.fromhex("300a06082a8648ce3d040302")
RSA_SHA256 = bytes.fromhex("300d06092a864886f70d01010b0500")
RSA = bytes.fromhex("300d06092a864886f70d0101010500")


def tlv(tag: int, content: bytes) -> bytes:
    size = len(content)
    if size < 0x80:
        return bytes((tag, size)) + content
    length = size.to_bytes((size.bit_length() + 7) // 8, "big")
    return bytes((tag, 0x80 | len(length))) + length + content


def integer(value: int) -> bytes:
    return tlv(2, value.to_bytes(value.bit_length() // 8 + 1, "big"))


def bits(content: bytes) -> bytes:
    return tlv(3, b"\x00" + content)


def rsa_spki(modulus: int, exponent: int = 65537) -> bytes:
    return tlv(0x30, RSA + bits(tlv(0x30, integer(modulus) + integer(exponent))))


def ec_spki(point: bytes, algorithm: bytes = EC_P256) -> bytes:
    return tlv(0x30, algorithm + bits(point))


def unsigned(spki_der: bytes, algorithm: bytes = ECDSA_SHA256, version: int = 0) -> bytes:
    """A request whose signature is nonsense: what is wrong has to be found before the signature."""
    body = tlv(0x30, integer(version) + b"\x30\x00" + spki_der + b"\xa0\x00")
    return tlv(0x30, body + algorithm + bits(b"\x30\x06\x02\x01\x01\x02\x01\x01"))


def point_of(key: ec.EllipticCurvePrivateKey, form=serialization.PublicFormat.UncompressedPoint) -> bytes:
    return key.public_key().public_bytes(serialization.Encoding.X962, form)


def openssl_request(*key_arguments: str, request_arguments: tuple[str, ...] = ()) -> bytes:
    """A request that openssl makes with a fresh key."""
    key = subprocess.run(["openssl", *key_arguments], capture_output=True, check=True).stdout
    command = ["openssl", "req", "-new", "-key", "/dev/stdin", "-subj", "/CN=x", "-outform", "DER", *request_arguments]
    return subprocess.run(command, input=key, capture_output=True, check=True).stdout


def csr(key, names=(("CN", "x"),), extensions=(), algorithm=None, **arguments) -> bytes:
    oids = {"CN": NameOID.COMMON_NAME, "OU": NameOID.ORGANIZATIONAL_UNIT_NAME}
    builder = x509.CertificateSigningRequestBuilder(
        x509.Name([x509.NameAttribute(oids[short], value, _validate=False) for short, value in names])
    )
    for extension, critical in extensions:
        builder = builder.add_extension(extension, critical=critical)
    return builder.sign(key, algorithm or hashes.SHA256(), **arguments).public_bytes(serialization.Encoding.DER)


def close_factors() -> int:
    other = RFC2409_GROUP2 + 2
    while math.gcd(other, small_primes_product(752)) != 1:
        other += 2
    return RFC2409_GROUP2 * other


@cache
def small_primes_product(limit: int) -> int:
    return math.prod(n for n in range(2, limit) if all(n % d for d in range(2, math.isqrt(n) + 1)))


def roca() -> int:
    """N = p q, p = k M + (65537^a mod M), M the product of the first 126 primes (2 to 701)."""
    product = small_primes_product(702)

    def factor(exponent: int, multiple: int) -> int:
        while True:
            candidate = multiple * product + pow(65537, exponent, product)
            if math.gcd(candidate, small_primes_product(752)) == 1:
                return candidate
            multiple += 1

    top = (3 << 1022) // product
    return factor(12345, top) * factor(67890, top + 10**6)


@cache
def p256() -> ec.EllipticCurvePrivateKey:
    return ec.generate_private_key(ec.SECP256R1())


@cache
def rsa2048() -> rsa.RSAPrivateKey:
    return rsa.generate_private_key(65537, 2048)


def _changed(der: bytes, old: bytes, new: bytes) -> bytes:
    assert old in der
    return der.replace(old, new, 1)


def _key_of_another() -> bytes:
    mine, theirs = p256(), ec.generate_private_key(ec.SECP256R1())
    return _changed(csr(mine), point_of(mine), point_of(theirs))


def _off_curve() -> bytes:
    point = bytearray(point_of(p256()))
    point[-1] ^= 1
    return unsigned(ec_spki(bytes(point)))


def _damaged_signature() -> bytes:
    der = csr(rsa2048())
    return der[:-1] + bytes((der[-1] ^ 1,))


def _indefinite() -> bytes:
    der = csr(p256())
    header = 2 if der[1] < 0x80 else 2 + (der[1] & 0x7F)
    return b"\x30\x80" + der[header:] + b"\x00\x00"


def _pss() -> bytes:
    return csr(rsa2048(), rsa_padding=padding.PSS(padding.MGF1(hashes.SHA256()), 32))


def _ca_key_usage() -> x509.KeyUsage:
    return x509.KeyUsage(True, True, False, False, False, True, True, False, False)


_STRONG = RFC2409_GROUP2 * (RFC2409_GROUP2 - (1 << 700) - 2)

BAD = {
    # name: (the code it must be refused with, the request)
    "empty": ("csr_malformed", lambda: b""),
    "no ASN.1": ("csr_malformed", lambda: b"-----BEGIN CERTIFICATE REQUEST-----"),
    "trailing data": ("csr_malformed", lambda: csr(p256()) + b"\x00"),
    "cut short": ("csr_malformed", lambda: csr(p256())[:-1]),
    "BER indefinite length": ("csr_malformed", _indefinite),
    "a certificate": ("csr_malformed", lambda: tlv(0x30, tlv(0x30, integer(0)) + ECDSA_SHA256 + bits(b"\x00"))),
    "subject of 20 kB": ("csr_too_large", lambda: csr(p256(), [("OU", "x" * 1000)] * 20)),
    "version 2": ("csr_version", lambda: unsigned(ec_spki(point_of(p256())), version=1)),
    "signature damaged": ("csr_signature", _damaged_signature),
    "somebody else's key": ("csr_signature", _key_of_another),
    "signature of nothing": ("csr_signature", lambda: unsigned(ec_spki(point_of(p256())))),
    "SHA-1": (
        "csr_signature_algorithm",
        lambda: openssl_request(
            "genpkey", "-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256", request_arguments=("-sha1",)
        ),
    ),
    "RSASSA-PSS": ("csr_signature_algorithm", _pss),
    "RSA algorithm, EC key": (
        "csr_signature_algorithm",
        lambda: unsigned(ec_spki(point_of(p256())), algorithm=RSA_SHA256),
    ),
    "Ed25519": ("key_algorithm", lambda: openssl_request("genpkey", "-algorithm", "ED25519")),
    "RSA 1024": ("rsa_size", lambda: openssl_request("genrsa", "1024")),
    "RSA 2056": ("rsa_size", lambda: unsigned(rsa_spki(_STRONG << 8 | 1), RSA_SHA256)),
    "RSA 16384": ("rsa_size", lambda: unsigned(rsa_spki(1 << 16383 | 1), RSA_SHA256)),
    "RSA negative modulus": (
        "rsa_size",
        lambda: unsigned(
            tlv(0x30, RSA + bits(tlv(0x30, tlv(2, b"\x80" + b"\x01" * 255) + integer(65537)))), RSA_SHA256
        ),
    ),
    "RSA e = 3": (
        "rsa_exponent",
        lambda: openssl_request("genpkey", "-algorithm", "RSA", "-pkeyopt", "rsa_keygen_pubexp:3"),
    ),
    "RSA e = 1": ("rsa_exponent", lambda: unsigned(rsa_spki(_STRONG, 1), RSA_SHA256)),
    "RSA even modulus": ("rsa_small_factor", lambda: unsigned(rsa_spki(1 << 2047 | 2), RSA_SHA256)),
    "RSA multiple of 751": ("rsa_small_factor", lambda: unsigned(rsa_spki(751 * ((3 << 2046) // 751 | 1)), RSA_SHA256)),
    "RSA close factors": ("rsa_close_factors", lambda: unsigned(rsa_spki(close_factors()), RSA_SHA256)),
    "RSA square": ("rsa_close_factors", lambda: unsigned(rsa_spki(RFC2409_GROUP2**2), RSA_SHA256)),
    "RSA ROCA": ("rsa_roca", lambda: unsigned(rsa_spki(roca()), RSA_SHA256)),
    "EC explicit parameters": (
        "ec_explicit_parameters",
        lambda: openssl_request(
            "genpkey", "-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256", "-pkeyopt", "ec_param_enc:explicit"
        ),
    ),
    "EC secp256k1": (
        "ec_curve",
        lambda: openssl_request("genpkey", "-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:secp256k1"),
    ),
    "EC P-521": (
        "ec_curve",
        lambda: openssl_request("genpkey", "-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-521"),
    ),
    "EC off the curve": ("ec_not_on_curve", _off_curve),
    "EC coordinates of zero": ("ec_not_on_curve", lambda: unsigned(ec_spki(b"\x04" + bytes(64)))),
    "EC infinity": ("ec_infinity", lambda: unsigned(ec_spki(b"\x00"))),
    "EC compressed": (
        "ec_compressed",
        lambda: unsigned(ec_spki(point_of(p256(), serialization.PublicFormat.CompressedPoint))),
    ),
    "EC hybrid form": ("ec_compressed", lambda: unsigned(ec_spki(b"\x06" + point_of(p256())[1:]))),
    "EC point too long": ("key_malformed", lambda: unsigned(ec_spki(point_of(p256()) + b"\x00"))),
    "EC curve with a name that is no DER": (
        "key_malformed",
        lambda: unsigned(
            ec_spki(point_of(p256()), tlv(0x30, bytes.fromhex("06072a8648ce3d0201 06088086 48ce3d030107")))
        ),
    ),
    "EC without parameters": (
        "key_parameters",
        lambda: unsigned(ec_spki(point_of(p256()), tlv(0x30, bytes.fromhex("06072a8648ce3d0201")))),
    ),
}

IGNORED = {
    # name: a request by p256() with contents that must make no difference
    "plain": lambda: csr(p256()),
    "another's name": lambda: csr(p256(), [("CN", "A123456789"), ("OU", "RA-other")]),
    "NUL and bidi in the name": lambda: csr(p256(), [("CN", "a\x00b\u202ec")]),
    "a name of 9 kB": lambda: csr(p256(), [("OU", "x" * 900)] * 10),
    "basic constraints CA": lambda: csr(p256(), extensions=[(x509.BasicConstraints(True, None), True)]),
    "any extended key usage": lambda: csr(
        p256(), extensions=[(x509.ExtendedKeyUsage([x509.ObjectIdentifier("2.5.29.37.0")]), True)]
    ),
    "key usage of a CA": lambda: csr(p256(), extensions=[(_ca_key_usage(), True)]),
    "another's mail address": lambda: csr(
        p256(), extensions=[(x509.SubjectAlternativeName([x509.RFC822Name("ceo@bank.example")]), False)]
    ),
    "two names of one kind": lambda: csr(p256(), [("CN", "x"), ("CN", "y")]),
    "another's host name": lambda: csr(
        p256(), extensions=[(x509.SubjectAlternativeName([x509.DNSName("bank.example")]), False)]
    ),
}
