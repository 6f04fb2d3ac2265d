"""The proof that a login holds a key without a certificate: openssl verifies it, and it fits one statement alone."""

import hashlib
import subprocess
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from chopmark.core.refusal import Kind
from chopmark.pki import possession, proof, signing
from chopmark.pki.possession import Possession
from chopmark.pki.signing import IssuerKey

NOW = datetime(2026, 3, 31, 4, 0, tzinfo=UTC)
SKEW = timedelta(minutes=10)
KEYS: dict[str, Callable[[], IssuerKey]] = {
    "P-256": lambda: ec.generate_private_key(ec.SECP256R1()),
    "P-384": lambda: ec.generate_private_key(ec.SECP384R1()),
    "RSA-2048": lambda: rsa.generate_private_key(65537, 2048),
}


def spki_of(key: IssuerKey) -> bytes:
    return signing.spki(key.public_key())


def statement(key: IssuerKey) -> Possession:
    return Possession("portal", "ORDER", "LOGIN", bytes(range(32)), hashlib.sha256(spki_of(key)).digest(), NOW)


def openssl(*arguments: str | Path) -> None:
    subprocess.run(["openssl", *map(str, arguments)], check=True, capture_output=True)


@pytest.mark.parametrize("algorithm", KEYS)
def test_openssl_verifies_it_by_the_key_identifier_and_finds_the_statement(algorithm: str, tmp_path: Path) -> None:
    key = KEYS[algorithm]()
    said = statement(key)
    (tmp_path / "p.der").write_bytes(possession.build(said, key))
    pem = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    (tmp_path / "k.pem").write_bytes(pem)
    (tmp_path / "c.cnf").write_text(
        f"[req]\ndistinguished_name=dn\nx509_extensions=ext\nprompt=no\n[dn]\nCN=a key\n"
        f"[ext]\nsubjectKeyIdentifier={said.spki_sha256.hex()}\n"
    )
    openssl("req", "-x509", "-key", tmp_path / "k.pem", "-config", tmp_path / "c.cnf", "-out", tmp_path / "c.pem")
    openssl(
        "cms", "-verify", "-binary", "-inform", "DER", "-in", tmp_path / "p.der", "-certfile", tmp_path / "c.pem",
        "-noverify", "-out", tmp_path / "s.der",
    )  # fmt: skip
    assert (tmp_path / "s.der").read_bytes() == said.encode()
    assert possession.verify((tmp_path / "p.der").read_bytes(), spki_of(key), said, SKEW) is None


@pytest.mark.parametrize(
    ("name", "value", "code"),
    [
        ("portal", "other", "portal"),
        ("order", "OTHER", "order"),
        ("login", "STRANGER", "login"),
        ("nonce", bytes(32), "nonce"),
        ("time", NOW + SKEW + timedelta(seconds=1), "time"),
        ("time", NOW - SKEW - timedelta(seconds=1), "time"),
    ],
)
def test_another_statement_is_refused_and_named(name: str, value: object, code: str) -> None:
    key = KEYS["P-256"]()
    expected = statement(key)
    made = possession.build(replace(expected, **{name: value}), key)  # type: ignore[arg-type]
    refused = possession.verify(made, spki_of(key), expected, SKEW)
    assert refused is not None
    assert (refused.kind, refused.code, refused.field) == (Kind.BAD_PROOF, code, "proof")


def test_another_key_another_content_type_and_broken_octets_are_refused() -> None:
    key, other = KEYS["P-256"](), KEYS["P-256"]()
    expected = statement(key)
    good = possession.build(expected, key)
    assert possession.verify(good, spki_of(other), statement(other), SKEW) is not None
    stolen = possession.build(expected, other)
    refused = possession.verify(stolen, spki_of(key), expected, SKEW)
    assert refused is not None
    assert refused.code == "signer"
    for octets in (b"", b"\x30\x00", good[:-1], good + b"\x00", b"\x30" * 20_000, good.replace(b"LOGIN", b"LOGIM")):
        assert possession.verify(octets, spki_of(key), expected, SKEW) is not None
    assert possession.verify(good, spki_of(key), expected, SKEW) is None


def test_it_is_no_proof_of_the_other_kind() -> None:
    assert possession.CONTENT_TYPE != proof.PROOF_CONTENT_TYPE
    assert possession.LABEL != proof.LABEL


@pytest.mark.parametrize("word", ["portal", "order", "login"])
def test_empty_and_endless_words_and_broken_times_are_not_signed(word: str) -> None:
    said = statement(KEYS["P-256"]())
    for value in ("", "x" * 201):
        with pytest.raises(ValueError, match="characters"):
            replace(said, **{word: value}).encode()  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="second"):
        replace(said, time=NOW.replace(microsecond=1)).encode()
