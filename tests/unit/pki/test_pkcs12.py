"""A .p12 that openssl opens, with the algorithms that were promised."""

import hashlib

import pytest
from cryptography.hazmat.primitives import serialization

from chopmark.core.types import Secret
from chopmark.keys.file import create_derived
from chopmark.keys.ports import KeyAlgorithm
from chopmark.pki import pkcs12
from tests.vectors.pki.house import PASSPHRASE, house, openssl

WORD = Secret("Tr0ub4dor&3 four words")


def material(algorithm: KeyAlgorithm):
    key = serialization.load_pem_private_key(create_derived(algorithm, PASSPHRASE), PASSPHRASE.reveal().encode())
    spki = key.public_key().public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
    return key, house().issue(house().draft(spki_der=spki))


@pytest.mark.parametrize("algorithm", [KeyAlgorithm.P256, KeyAlgorithm.RSA2048])
def test_openssl_opens_the_file_and_finds_key_certificate_chain_and_name(tmp_path, algorithm):
    key, certificate = material(algorithm)
    chain = [house().issuing.certificate_der, house().root.certificate_der]
    (tmp_path / "k.p12").write_bytes(pkcs12.write(key, certificate, chain, "Demo C0001234", WORD))
    answer = openssl("pkcs12", "-in", tmp_path / "k.p12", "-passin", f"pass:{WORD.reveal()}", "-nodes", "-info")
    assert answer.returncode == 0, answer.stderr
    assert b"MAC: sha256" in answer.stderr
    assert answer.stderr.count(b"PBES2, PBKDF2, AES-256-CBC, Iteration 600000, PRF hmacWithSHA256") == 2
    assert answer.stdout.count(b"BEGIN CERTIFICATE") == 3
    assert answer.stdout.count(b"friendlyName: Demo C0001234") == 2
    local_key_id = hashlib.sha1(certificate, usedforsecurity=False).hexdigest().upper()
    said = answer.stdout.replace(b" ", b"").decode()
    assert said.count(f"localKeyID:{local_key_id}") == 2
    wrong = openssl("pkcs12", "-in", tmp_path / "k.p12", "-passin", "pass:wrong", "-nokeys")
    assert wrong.returncode


@pytest.mark.parametrize("name", ["", "王小明", "x" * 65, "a\nb"])
def test_a_name_that_other_readers_garble_is_refused(name):
    key, certificate = material(KeyAlgorithm.P256)
    with pytest.raises(ValueError, match="friendlyName"):
        pkcs12.write(key, certificate, [], name, WORD)


@pytest.mark.parametrize("word", ["", "密碼", "tab\t"])
def test_a_pass_phrase_that_other_readers_garble_is_refused(word):
    key, certificate = material(KeyAlgorithm.P256)
    with pytest.raises(ValueError, match="pass-phrase"):
        pkcs12.write(key, certificate, [], "x", Secret(word))


def test_a_certificate_of_another_key_is_refused():
    key, _ = material(KeyAlgorithm.P256)
    with pytest.raises(ValueError, match="another key"):
        pkcs12.write(key, material(KeyAlgorithm.P256)[1], [], "x", WORD)
