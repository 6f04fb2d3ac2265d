"""A key file opens with its pass-phrase only, and signs what openssl verifies."""

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding

from chopmark.core.types import Secret
from chopmark.keys.adapter import as_private_key
from chopmark.keys.file import FileSigner, KeyFileError, create
from chopmark.keys.ports import KeyAlgorithm, Signer
from tests.vectors.pki.house import PASSPHRASE, openssl


def public_pem(signer: Signer) -> bytes:
    return serialization.load_der_public_key(signer.public_key_der).public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    )


@pytest.mark.parametrize("algorithm", list(KeyAlgorithm))
def test_openssl_verifies_what_a_key_of_each_kind_signs(tmp_path, algorithm):
    signer: Signer = FileSigner.open(create(algorithm, PASSPHRASE), PASSPHRASE)
    assert signer.algorithm is algorithm
    (tmp_path / "pub.pem").write_bytes(public_pem(signer))
    (tmp_path / "sig").write_bytes(signer.sign(b"data"))
    digest = "-sha384" if algorithm is KeyAlgorithm.P384 else "-sha256"
    answer = openssl("dgst", digest, "-verify", tmp_path / "pub.pem", "-signature", tmp_path / "sig", stdin=b"data")
    assert b"Verified OK" in answer.stdout


@pytest.mark.parametrize("algorithm", [KeyAlgorithm.P256, KeyAlgorithm.P384, KeyAlgorithm.RSA2048])
def test_openssl_believes_a_request_that_was_signed_through_the_port(algorithm):
    signer = FileSigner.open(create(algorithm, PASSPHRASE), PASSPHRASE)
    hash_algorithm = hashes.SHA384() if algorithm is KeyAlgorithm.P384 else hashes.SHA256()
    request = x509.CertificateSigningRequestBuilder(x509.Name([])).sign(as_private_key(signer), hash_algorithm)
    answer = openssl(
        "req", "-verify", "-noout", "-inform", "DER", stdin=request.public_bytes(serialization.Encoding.DER)
    )
    assert answer.returncode == 0
    assert b"OK" in answer.stdout + answer.stderr


def test_the_file_is_encrypted_with_aes_256():
    pem = create(KeyAlgorithm.P256, PASSPHRASE)
    assert pem.startswith(b"-----BEGIN ENCRYPTED PRIVATE KEY-----")
    shown = openssl("asn1parse", stdin=pem).stdout
    assert b"PBES2" in shown
    assert b"aes-256-cbc" in shown


@pytest.mark.parametrize("word", ["", "wrong", PASSPHRASE.reveal() + " "])
def test_another_pass_phrase_does_not_open_it(word):
    with pytest.raises(KeyFileError):
        FileSigner.open(create(KeyAlgorithm.P256, PASSPHRASE), Secret(word))


def test_a_key_that_is_not_encrypted_or_not_allowed_is_refused():
    plain = serialization.NoEncryption()
    sealed = serialization.BestAvailableEncryption(PASSPHRASE.reveal().encode())
    for key, encryption in (
        (ec.generate_private_key(ec.SECP256R1()), plain),
        (ec.generate_private_key(ec.SECP521R1()), sealed),
        (ed25519.Ed25519PrivateKey.generate(), sealed),
    ):
        pem = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, encryption)
        with pytest.raises(KeyFileError):
            FileSigner.open(pem, PASSPHRASE)
    with pytest.raises(KeyFileError):
        FileSigner.open(b"no key", PASSPHRASE)


def test_a_short_pass_phrase_is_refused():
    with pytest.raises(ValueError, match="12"):
        create(KeyAlgorithm.P256, Secret("short"))


@pytest.mark.parametrize("algorithm", [KeyAlgorithm.P256, KeyAlgorithm.RSA2048])
def test_the_bridge_signs_with_the_hash_of_its_kind_and_does_nothing_else(algorithm):
    key = as_private_key(FileSigner.open(create(algorithm, PASSPHRASE), PASSPHRASE))
    with pytest.raises(TypeError, match="signs"):
        x509.CertificateSigningRequestBuilder(x509.Name([])).sign(key, hashes.SHA512())
    with pytest.raises(TypeError, match="only signs"):
        key.private_numbers()
    with pytest.raises(TypeError, match="only signs"):
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    if algorithm is KeyAlgorithm.RSA2048:
        with pytest.raises(TypeError, match="PKCS"):
            x509.CertificateSigningRequestBuilder(x509.Name([])).sign(
                key, hashes.SHA256(), rsa_padding=padding.PSS(padding.MGF1(hashes.SHA256()), 32)
            )
