"""A path holds when every link does."""

from datetime import timedelta

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from chopmark.keys.ports import KeyAlgorithm
from chopmark.pki import path
from chopmark.pki.der import NotDer, require_whole_signature
from chopmark.pki.path import chain_findings
from tests.vectors.pki.broken import with_an_unused_bit
from tests.vectors.pki.house import NOW, house


def codes(*arguments) -> set[str]:
    return {finding.code for finding in chain_findings(*arguments)}


def test_the_house_s_own_path_holds():
    made = house()
    leaf = made.issue(made.draft())
    assert codes(leaf, [made.issuing.certificate_der], made.root.certificate_der, NOW) == set()
    assert codes(made.ocsp_der, [made.issuing.certificate_der], made.root.certificate_der, NOW) == set()
    assert codes(made.issuing.certificate_der, [], made.root.certificate_der, NOW) == set()


def test_a_broken_path_names_what_is_broken():
    made, other = house(), house(KeyAlgorithm.P384)
    leaf, issuing, root = made.issue(made.draft()), made.issuing.certificate_der, made.root.certificate_der
    assert codes(leaf, [other.issuing.certificate_der], other.root.certificate_der, NOW) == {"chain_signature"}
    assert codes(leaf, [], root, NOW) == {"chain_signature"}
    assert "chain_not_a_ca" in codes(leaf, [made.ocsp_der], root, NOW)
    assert codes(leaf, [issuing, issuing], root, NOW) >= {"chain_not_a_ca", "chain_signature"}
    assert codes(leaf, [issuing], root, NOW + timedelta(days=400)) == {"chain_validity"}
    assert codes(leaf, [issuing] * 6, root, NOW) == {"chain_too_long"}
    assert codes(b"", [issuing], root, NOW) == {"chain_malformed"}


def test_a_chain_has_five_certificates_between_leaf_and_root_at_most():
    made = house()
    rest = (made.issue(made.draft()), made.root.certificate_der, NOW)
    assert "chain_too_long" not in codes(rest[0], [made.issuing.certificate_der] * 5, *rest[1:])
    assert codes(rest[0], [made.issuing.certificate_der] * 6, *rest[1:]) == {"chain_too_long"}


@pytest.mark.parametrize(("missing", "may"), [(None, True), ("basicConstraints", False), ("keyUsage", False)])
def test_who_is_not_said_to_be_a_ca_and_to_sign_certificates_may_issue_none(missing, may):
    key, name = ec.generate_private_key(ec.SECP256R1()), x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "CA")])
    issuing = x509.load_der_x509_certificate(house().issuing.certificate_der)
    found = issuing.extensions
    said = {
        "basicConstraints": found.get_extension_for_class(x509.BasicConstraints).value,
        "keyUsage": found.get_extension_for_class(x509.KeyUsage).value,
    }
    built = x509.CertificateBuilder(name, name, key.public_key(), 1, issuing.not_valid_before_utc, NOW)
    for extension in (value for kind, value in said.items() if kind != missing):
        built = built.add_extension(extension, critical=True)
    made = built.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.DER)
    assert path.may_issue(made, 0) is may


def test_an_issuer_with_a_key_of_an_unknown_kind_breaks_the_path():
    made = house()
    issuing = made.issuing.certificate_der
    unknown = issuing.replace(bytes.fromhex("06072a8648ce3d0201"), bytes.fromhex("06072a8648ce3d027f"))
    assert unknown != issuing
    assert "chain_signature" in codes(made.ocsp_der, [unknown], made.root.certificate_der, NOW)


def test_both_ends_of_a_validity_belong_to_it():
    made = house()
    draft = made.draft()
    rest = (made.issue(draft), [made.issuing.certificate_der], made.root.certificate_der)
    assert codes(*rest, draft.not_before) == codes(*rest, draft.not_after) == set()
    assert codes(*rest, draft.not_before - timedelta(seconds=1)) == {"chain_validity"}
    assert codes(*rest, draft.not_after + timedelta(seconds=1)) == {"chain_validity"}


def test_a_signature_with_an_unused_bit_is_none():
    made = house()
    while (leaf := made.issue(made.draft()))[-1] % 2:
        pass  # in DER an unused bit is zero
    issuer = x509.load_der_x509_certificate(made.issuing.certificate_der)
    other = with_an_unused_bit(leaf, x509.load_der_x509_certificate(leaf).signature)
    x509.load_der_x509_certificate(other).verify_directly_issued_by(issuer)  # the library takes both for one
    assert path.issued_by_any(leaf, [made.issuing.certificate_der])
    assert not path.issued_by_any(other, [made.issuing.certificate_der])
    assert codes(other, [made.issuing.certificate_der], made.root.certificate_der, NOW) == {"chain_signature"}


def test_what_is_no_signed_structure_has_no_whole_signature():
    for broken in (b"", b"\x30\x00", b"\x05\x00", b"\x30\x04\x05\x00\x05\x00", bytes.fromhex("300630003000 0400")):
        with pytest.raises(NotDer):
            require_whole_signature(broken)
