"""A revocation list that openssl believes."""

from datetime import timedelta

import pytest
from asn1crypto import crl as strange

from chopmark.keys.ports import KeyAlgorithm
from chopmark.pki.crl import CrlReason, RevokedEntry, build_crl
from tests.vectors.pki.house import NOW, URLS, house, openssl, pem, write_chain

LATER = NOW + timedelta(hours=12)


def verify(made, crl_der, leaf_der, folder):
    root, issuing = write_chain(made, folder)
    (folder / "leaf.pem").write_bytes(pem(leaf_der))
    (folder / "crl.der").write_bytes(crl_der)
    openssl("crl", "-inform", "DER", "-in", folder / "crl.der", "-out", folder / "crl.pem")
    return openssl(
        "verify", "-crl_check", "-attime", int(NOW.timestamp()) + 60, "-CAfile", root, "-untrusted", issuing,
        "-CRLfile", folder / "crl.pem", folder / "leaf.pem",
    )  # fmt: skip


@pytest.mark.parametrize("algorithm", [KeyAlgorithm.P256, KeyAlgorithm.P384, KeyAlgorithm.RSA2048])
@pytest.mark.parametrize("url", [None, URLS.crl])
def test_openssl_finds_the_revoked_certificate_and_no_other(tmp_path, algorithm, url):
    made = house(algorithm)
    draft = made.draft()
    leaf = made.issue(draft)
    others = [RevokedEntry(draft.serial + 1, NOW, CrlReason.SUPERSEDED)]
    good = build_crl(made.issuing, made.issuing_key, 1, NOW, LATER, others, url)
    assert verify(made, good, leaf, tmp_path).returncode == 0
    mine = RevokedEntry(draft.serial, NOW, CrlReason.KEY_COMPROMISE)
    bad = build_crl(made.issuing, made.issuing_key, 2, NOW, LATER, [*others, mine], url)
    answer = verify(made, bad, leaf, tmp_path)
    assert answer.returncode
    assert b"certificate revoked" in answer.stderr


def test_a_shard_of_other_certificates_says_nothing_about_this_one(tmp_path):
    made = house()
    shard = build_crl(made.issuing, made.issuing_key, 1, NOW, LATER, [], "http://ca.example/crl/1.crl")
    answer = verify(made, shard, made.issue(made.draft()), tmp_path)
    assert answer.returncode


def test_a_stranger_reads_number_times_reasons_and_scope():
    made = house()
    entries = [RevokedEntry(9, NOW, CrlReason.UNSPECIFIED), RevokedEntry(10, NOW, CrlReason.SUPERSEDED)]
    crl = strange.CertificateList.load(
        build_crl(made.issuing, made.issuing_key, 1 << 150, NOW, LATER, entries, URLS.crl)
    )
    body = crl["tbs_cert_list"]
    assert crl.crl_number_value.native == 1 << 150
    assert (body["this_update"].native, body["next_update"].native) == (NOW, LATER)
    assert crl.issuing_distribution_point_value["distribution_point"].chosen[0].native == URLS.crl
    assert crl.critical_extensions == {"issuing_distribution_point"}
    revoked = list(body["revoked_certificates"])
    assert [entry["user_certificate"].native for entry in revoked] == [9, 10]
    assert [entry.crl_reason_value and entry.crl_reason_value.native for entry in revoked] == [None, "superseded"]


def test_an_empty_list_leaves_its_revoked_certificates_out():
    made = house()
    empty = strange.CertificateList.load(build_crl(made.issuing, made.issuing_key, 1, NOW, LATER, [], None))
    assert empty["tbs_cert_list"]["revoked_certificates"].native is None


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"key": "root"}, "issuer"),
        ({"number": -1}, "octets"),
        ({"number": 1 << 159}, "octets"),
        ({"next": NOW}, "later"),
    ],
)
def test_a_list_that_could_not_be_right_is_not_signed(change, reason):
    made = house()
    key = made.root_key if change.get("key") else made.issuing_key
    with pytest.raises(ValueError, match=reason):
        build_crl(made.issuing, key, change.get("number", 1), NOW, change.get("next", LATER), [], None)
