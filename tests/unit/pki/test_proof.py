"""A proof holds for exactly one portal, order, nonce, key, certificate, purpose and time; openssl agrees on the CMS."""

import hashlib
from dataclasses import fields, replace
from datetime import timedelta

import pytest
from asn1crypto import cms as strange
from cryptography.hazmat.primitives import serialization

from chopmark.core.refusal import Kind, Refusal
from chopmark.keys.adapter import as_private_key
from chopmark.keys.file import create_derived
from chopmark.keys.ports import KeyAlgorithm
from chopmark.pki import proof
from tests.vectors.pki.house import NOW, PASSPHRASE, customer, house, openssl, pem, signer, write_chain

ALGORITHMS = [KeyAlgorithm.P256, KeyAlgorithm.P384, KeyAlgorithm.RSA2048]


def leaf() -> bytes:
    return house().issue(house().draft())


def statement(certificate_der: bytes) -> proof.Statement:
    return proof.Statement(
        label="chopmark-proof-1",
        portal="demo",
        order="ORDER26CHARACTERSAAAAAAAAA",
        nonce=bytes(range(32)),
        new_spki_sha256=hashlib.sha256(b"the new key").digest(),
        certificate_sha256=hashlib.sha256(certificate_der).digest(),
        purpose="rekey",
        time=NOW,
    )


def expected(certificate_der: bytes, **changes) -> proof.Expected:
    said = statement(certificate_der)
    values = {field.name: getattr(said, field.name) for field in fields(said) if field.name not in ("label", "time")}
    return proof.Expected(**{**values, "now": NOW, **changes})


def code(answer) -> str | None:
    assert isinstance(answer, Refusal)
    assert (answer.kind, answer.field) == (Kind.BAD_PROOF, "proof")
    return answer.code


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_openssl_verifies_our_signature_and_gives_back_the_statement(tmp_path, algorithm):
    key, certificate = fresh_key(create_derived(algorithm, PASSPHRASE))
    root, issuing = write_chain(house(), tmp_path)
    signed = proof.build(statement(certificate), key, certificate)
    (tmp_path / "leaf.pem").write_bytes(pem(certificate))
    (tmp_path / "chain.pem").write_bytes(root.read_bytes() + issuing.read_bytes())
    (tmp_path / "proof.der").write_bytes(signed)
    answer = openssl(
        "cms", "-verify", "-inform", "DER", "-in", tmp_path / "proof.der", "-certfile", tmp_path / "leaf.pem",
        "-CAfile", tmp_path / "chain.pem", "-attime", int(NOW.timestamp()), "-binary",
    )  # fmt: skip
    assert answer.returncode == 0, answer.stderr
    assert answer.stdout == statement(certificate).encode()
    assert proof.verify(signed, certificate, expected(certificate)) == statement(certificate)


def fresh_key(key_pem: bytes):
    """Return the private key of a key file and a certificate for it."""
    key = serialization.load_pem_private_key(key_pem, PASSPHRASE.reveal().encode())
    spki = key.public_key().public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
    return key, house().issue(house().draft(spki_der=spki))


def openssl_signs(
    folder, content: bytes, *arguments: str, algorithm=KeyAlgorithm.P256, econtent=proof.PROOF_CONTENT_TYPE
):
    """Sign with a fresh key in openssl; return the CMS and the certificate of that key."""
    key_pem = create_derived(algorithm, PASSPHRASE)
    (folder / "key.pem").write_bytes(key_pem)
    _, certificate = fresh_key(key_pem)
    (folder / "leaf.pem").write_bytes(pem(certificate))
    said = content or statement(certificate).encode()
    answer = openssl(
        "cms", "-sign", "-nodetach", "-binary", "-nosmimecap", "-md", "sha256", "-econtent_type", econtent,
        "-signer", folder / "leaf.pem", "-inkey", folder / "key.pem", "-passin", f"pass:{PASSPHRASE.reveal()}",
        "-outform", "DER", *arguments, stdin=said,
    )  # fmt: skip
    assert answer.returncode == 0, answer.stderr
    return answer.stdout, certificate


@pytest.mark.parametrize("algorithm", ALGORITHMS)
@pytest.mark.parametrize("arguments", [(), ("-nocerts",), ("-keyid",)])
def test_we_verify_what_openssl_signs(tmp_path, algorithm, arguments):
    signed, certificate = openssl_signs(tmp_path, b"", *arguments, algorithm=algorithm)
    assert proof.verify(signed, certificate, expected(certificate)) == statement(certificate)


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (("-noattr",), "attributes"),
        (("-md", "sha512"), "digest_algorithm"),
        (("-md", "sha1"), "digest_algorithm"),
        (("-stream",), "malformed"),
        (("-keyopt", "rsa_padding_mode:pss"), "malformed"),
    ],
)
def test_a_signature_of_another_form_is_refused(tmp_path, arguments, reason):
    algorithm = KeyAlgorithm.RSA2048
    signed, certificate = openssl_signs(tmp_path, b"", *arguments, algorithm=algorithm)
    assert code(proof.verify(signed, certificate, expected(certificate))) == reason


def test_a_mail_or_a_detached_signature_is_no_proof(tmp_path):
    signed, certificate = openssl_signs(tmp_path, b"", econtent="1.2.840.113549.1.7.1")
    assert code(proof.verify(signed, certificate, expected(certificate))) == "content_type"


def test_a_content_that_is_no_statement_is_refused(tmp_path):
    signed, certificate = openssl_signs(tmp_path, b"buy 100 lots")
    assert code(proof.verify(signed, certificate, expected(certificate))) == "statement"


def test_attributes_of_another_purpose_are_refused(tmp_path):
    signed, certificate = openssl_signs(tmp_path, b"", "-cades")
    assert code(proof.verify(signed, certificate, expected(certificate))) == "attributes"


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"portal": "other"}, "portal"),
        ({"order": "OTHER"}, "order"),
        ({"nonce": bytes(32)}, "nonce"),
        ({"new_spki_sha256": bytes(32)}, "new_key"),
        ({"certificate_sha256": bytes(32)}, "certificate"),
        ({"purpose": "prove"}, "purpose"),
        ({"now": NOW + timedelta(minutes=10, seconds=1)}, "time"),
        ({"now": NOW - timedelta(minutes=10, seconds=1)}, "time"),
    ],
)
def test_a_proof_of_another_order_is_refused(change, reason):
    certificate = leaf()
    signed = proof.build(statement(certificate), as_private_key(customer()), certificate)
    assert code(proof.verify(signed, certificate, expected(certificate, **change))) == reason


def test_another_label_is_refused():
    certificate = leaf()
    said = replace(statement(certificate), label="chopmark-order-1")
    signed = proof.build(said, as_private_key(customer()), certificate)
    assert code(proof.verify(signed, certificate, expected(certificate))) == "label"


def test_the_proof_of_another_certificate_is_refused():
    mine, other_signer = leaf(), signer(KeyAlgorithm.P256)
    other = house().issue(house().draft(serial=4 << 136 | 9, spki_der=other_signer.public_key_der))
    signed = proof.build(statement(mine), as_private_key(other_signer), other)
    assert code(proof.verify(signed, mine, expected(mine))) == "signer"
    same_name = house().issue(house().draft(spki_der=other_signer.public_key_der))
    forged = proof.build(statement(mine), as_private_key(other_signer), same_name)
    assert code(proof.verify(forged, mine, expected(mine))) == "signature"
    with pytest.raises(ValueError, match="another key"):
        proof.build(statement(mine), as_private_key(other_signer), mine)


def test_every_single_changed_octet_is_noticed():
    certificate = leaf()
    signed = proof.build(statement(certificate), as_private_key(customer()), certificate)
    for at in range(len(signed)):
        changed = signed[:at] + bytes((signed[at] ^ 1,)) + signed[at + 1 :]
        assert isinstance(proof.verify(changed, certificate, expected(certificate)), Refusal), at


def test_two_signers_or_none_are_refused():
    certificate = leaf()
    signed = proof.build(statement(certificate), as_private_key(customer()), certificate)
    message = strange.ContentInfo.load(signed)
    [one] = message["content"]["signer_infos"]
    for count in (0, 2):
        message["content"]["signer_infos"] = [one.copy() for _ in range(count)]
        assert code(proof.verify(message.dump(force=True), certificate, expected(certificate))) == "one_signer"


def test_a_proof_of_more_than_16_kib_is_not_even_read():
    certificate = leaf()
    assert code(proof.verify(bytes(16 * 1024 + 1), certificate, expected(certificate))) == "too_large"
    assert code(proof.verify(b"", certificate, expected(certificate))) == "malformed"


def test_a_statement_reads_back_and_has_one_encoding():
    said = statement(leaf())
    assert proof.decode(said.encode()) == said
    assert said.encode()[:20] == b"\x30\x81" + said.encode()[2:3] + b"\x0c\x10chopmark-proof-1"[:17]
    for bad in ({"nonce": b"short"}, {"order": ""}, {"portal": "x" * 201}, {"time": NOW.replace(microsecond=1)}):
        with pytest.raises(ValueError, match=r"octets|characters|time"):
            replace(said, **bad).encode()
