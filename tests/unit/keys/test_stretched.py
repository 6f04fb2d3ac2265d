"""Key files cost something to try, OpenSSL opens them, and files of other programs and of earlier releases are read."""

import base64
import re

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

from chopmark.audit.headkey import FileHeadSigner, create_head_key
from chopmark.core.types import Secret
from chopmark.keys.file import FileSigner, KeyFileError, create, rewritten
from chopmark.keys.ports import KeyAlgorithm
from chopmark.keys.stretched import is_stretched, seal, unseal
from tests.vectors.pki.house import PASSPHRASE, openssl

OTHER = Secret("another pass-phrase")


def in_words(pem: bytes) -> str:
    return openssl("asn1parse", stdin=pem).stdout.decode()


def old_file(passphrase: Secret = PASSPHRASE) -> tuple[bytes, bytes]:
    """A key as the release before wrote it, and its public half."""
    key = ec.generate_private_key(ec.SECP256R1())
    sealed = serialization.BestAvailableEncryption(passphrase.reveal().encode())
    pem = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, sealed)
    spki = key.public_key().public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
    return pem, spki


@pytest.mark.parametrize("algorithm", list(KeyAlgorithm))
def test_openssl_reads_the_cost_and_opens_the_file(algorithm: KeyAlgorithm) -> None:
    pem = create(algorithm, PASSPHRASE)
    said = in_words(pem)
    assert ":scrypt" in said
    numbers = [int(found, 16) for found in re.findall(r"INTEGER +:([0-9A-F]+)", said)]
    assert numbers == [16384, 8, 5]
    opened = openssl("pkey", "-passin", f"pass:{PASSPHRASE.reveal()}", "-pubout", "-outform", "DER", stdin=pem)
    assert opened.stdout == FileSigner.open(pem, PASSPHRASE).public_key_der
    assert openssl("pkey", "-passin", "pass:wrong", "-noout", stdin=pem).returncode != 0


def test_each_file_has_its_own_salt() -> None:
    assert len({unseal(seal(b"x" * 100, PASSPHRASE), PASSPHRASE) for _ in range(2)}) == 1
    assert len({seal(b"x" * 100, PASSPHRASE) for _ in range(2)}) == 2


@pytest.mark.parametrize(
    ("words", "stretched"),
    [
        (("-scrypt",), True),
        (("-v2", "aes-256-cbc", "-v2prf", "hmacWithSHA256", "-iter", "600000"), True),
        (("-v2", "aes-256-cbc", "-v2prf", "hmacWithSHA256", "-iter", "2048"), False),
        (("-scrypt_N", "1024", "-scrypt_r", "8", "-scrypt_p", "1"), False),
        (("-v2", "aes-128-cbc"), False),
    ],
)
def test_a_file_that_openssl_made_is_read_and_judged_by_its_cost(words: tuple[str, ...], stretched: bool) -> None:
    pem = create(KeyAlgorithm.P256, PASSPHRASE)
    passwords = ("-passin", f"pass:{PASSPHRASE.reveal()}", "-passout", f"pass:{OTHER.reveal()}")
    made = openssl("pkcs8", "-topk8", *words, *passwords, stdin=pem)
    assert made.returncode == 0, made.stderr
    signer = FileSigner.open(made.stdout, OTHER)
    assert signer.public_key_der == FileSigner.open(pem, PASSPHRASE).public_key_der
    assert is_stretched(made.stdout) is stretched


def test_a_file_of_the_release_before_is_read_and_written_anew_on_request() -> None:
    pem, spki = old_file()
    assert not is_stretched(pem)
    assert FileSigner.open(pem, PASSPHRASE).public_key_der == spki
    for following in (PASSPHRASE, OTHER):
        again = rewritten(pem, PASSPHRASE, following)
        assert is_stretched(again)
        assert FileSigner.open(again, following).public_key_der == spki
    with pytest.raises(KeyFileError):
        FileSigner.open(rewritten(pem, PASSPHRASE, OTHER), PASSPHRASE)
    with pytest.raises(KeyFileError):
        rewritten(pem, OTHER, PASSPHRASE)
    with pytest.raises(ValueError, match="12"):
        rewritten(pem, PASSPHRASE, Secret("short"))


def test_a_file_that_asks_for_too_much_is_not_opened() -> None:
    pem = create(KeyAlgorithm.P256, PASSPHRASE)
    first, *lines, last = pem.splitlines(keepends=True)
    body = base64.b64decode(b"".join(lines))
    greedy = body.replace(bytes.fromhex("020108020105"), bytes.fromhex("02017f02017f"), 1)  # r and p
    assert greedy != body
    text = first + base64.encodebytes(greedy) + last
    with pytest.raises(KeyFileError):
        FileSigner.open(text, PASSPHRASE)


def test_the_head_key_under_a_pass_phrase_is_stretched_too() -> None:
    pem = create_head_key(PASSPHRASE)
    assert is_stretched(pem)
    assert FileHeadSigner.open(pem, PASSPHRASE).sign(b"x")
    with pytest.raises(KeyFileError):
        FileHeadSigner.open(pem, OTHER)
