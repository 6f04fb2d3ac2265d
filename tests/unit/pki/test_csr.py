"""A request gives a key and nothing else; each bad one has its own reason."""

import hashlib
import subprocess

import pytest
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from chopmark.core.refusal import Kind, Refusal
from chopmark.pki import csr
from chopmark.pki.algorithms import KeyKind
from tests.vectors.pki import requests


@pytest.mark.parametrize("name", requests.BAD)
def test_a_bad_request_is_refused_for_its_own_reason(name):
    code, make = requests.BAD[name]
    answer = csr.parse(make())
    assert isinstance(answer, Refusal)
    assert (answer.kind, answer.field, answer.code) == (Kind.BAD_KEY, "csr", code)
    assert str(answer.public).endswith(".")


@pytest.mark.parametrize("name", requests.IGNORED)
def test_what_else_a_request_contains_makes_no_difference(name):
    spki = (
        requests.p256()
        .public_key()
        .public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
    )
    expected = csr.Request(spki, hashlib.sha256(spki).hexdigest(), KeyKind.P256, "ecdsa-with-SHA256")
    assert csr.parse(requests.IGNORED[name]()) == expected


@pytest.mark.parametrize(
    ("key", "algorithm", "kind", "name"),
    [
        (requests.rsa2048, hashes.SHA256(), KeyKind.RSA2048, "sha256WithRSAEncryption"),
        (requests.rsa2048, hashes.SHA384(), KeyKind.RSA2048, "sha384WithRSAEncryption"),
        (requests.rsa2048, hashes.SHA512(), KeyKind.RSA2048, "sha512WithRSAEncryption"),
        (requests.p256, hashes.SHA384(), KeyKind.P256, "ecdsa-with-SHA384"),
        (lambda: ec.generate_private_key(ec.SECP384R1()), hashes.SHA512(), KeyKind.P384, "ecdsa-with-SHA512"),
    ],
)
def test_each_allowed_algorithm_is_read(key, algorithm, kind, name):
    answer = csr.parse(requests.csr(key(), algorithm=algorithm))
    assert isinstance(answer, csr.Request)
    assert (answer.key, answer.signature_algorithm) == (kind, name)


@pytest.mark.parametrize("arguments", [("genrsa", "2048"), ("ecparam", "-name", "secp384r1", "-genkey", "-noout")])
def test_openssl_s_requests_are_accepted_and_their_key_is_the_one_openssl_reads(arguments):
    der = requests.openssl_request(*arguments)
    answer = csr.parse(der)
    read = subprocess.run(
        ["openssl", "req", "-inform", "DER", "-pubkey", "-noout"], input=der, capture_output=True, check=True
    )
    key = serialization.load_pem_public_key(read.stdout)
    assert isinstance(answer, csr.Request)
    assert answer.spki_der == key.public_bytes(
        serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
    )


@pytest.mark.parametrize(("size", "code"), [(16 * 1024, "csr_malformed"), (16 * 1024 + 1, "csr_too_large")])
def test_a_request_of_16_kib_is_looked_at_and_one_octet_more_is_not(size, code):
    answer = csr.parse(bytes(size))
    assert isinstance(answer, Refusal)
    assert answer.code == code
