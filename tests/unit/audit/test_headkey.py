"""The head key: a PEM file that other tools read, opened only as it was locked."""

import subprocess

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, x25519

from chopmark.audit.headkey import FileHeadSigner, create_head_key, read_public
from chopmark.core.types import Secret
from chopmark.keys.file import KeyFileError
from tests.machine import program

LOCK = Secret("a long enough pass-phrase")


@pytest.mark.parametrize("passphrase", [None, LOCK])
def test_openssl_confirms_a_signature_with_the_public_key(tmp_path, passphrase):
    signer = FileHeadSigner.open(create_head_key(passphrase), passphrase)
    for name, octets in {"key": signer.public_pem, "message": b"m", "signature": signer.sign(b"m")}.items():
        (tmp_path / name).write_bytes(octets)
    command = "pkeyutl -verify -rawin -pubin -inkey key -in message -sigfile signature"
    subprocess.run([program("openssl"), *command.split()], cwd=tmp_path, check=True, capture_output=True)
    assert read_public(signer.public_pem) == signer.public_key


def test_the_file_says_whether_it_is_encrypted():
    assert create_head_key(LOCK).startswith(b"-----BEGIN ENCRYPTED PRIVATE KEY-----")
    assert create_head_key().startswith(b"-----BEGIN PRIVATE KEY-----")


@pytest.mark.parametrize(("locked", "opened"), [(LOCK, None), (LOCK, Secret("another pass-phrase")), (None, LOCK)])
def test_a_key_opens_only_as_it_was_locked(locked, opened):
    with pytest.raises(KeyFileError):
        FileHeadSigner.open(create_head_key(locked), opened)


def test_a_short_pass_phrase_is_refused():
    with pytest.raises(ValueError, match="12"):
        create_head_key(Secret("eleven char"))


def test_another_kind_of_key_is_no_head_key():
    other = ec.generate_private_key(ec.SECP256R1()).private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    for pem in (other, b"", b"-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n"):
        with pytest.raises(KeyFileError):
            FileHeadSigner.open(pem)


def test_an_auditor_reads_ed25519_and_p256_public_keys_and_no_others():
    def pem(key):
        return key.public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)

    p256 = ec.generate_private_key(ec.SECP256R1()).public_key()
    assert read_public(pem(p256)) == p256
    others = [ec.generate_private_key(ec.SECP384R1()).public_key(), x25519.X25519PrivateKey.generate().public_key()]
    for unfit in [*map(pem, others), b"", b"not a key"]:
        with pytest.raises(KeyFileError):
            read_public(unfit)
