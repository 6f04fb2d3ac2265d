"""A fit key has no finding; a weak one may have several, and each has its code."""

import time

import pytest

from chopmark.keys.ports import KeyAlgorithm
from chopmark.pki import key_checks
from tests.vectors.pki import requests
from tests.vectors.pki.house import customer


@pytest.mark.parametrize("algorithm", list(KeyAlgorithm))
def test_a_fresh_key_of_each_allowed_kind_is_fit_and_recognised(algorithm):
    spki = customer(algorithm).public_key_der
    before = time.process_time()
    assert key_checks.judge(spki) == ()
    assert time.process_time() - before < 0.1
    assert key_checks.kind(spki) is algorithm


def test_several_weaknesses_are_all_named():
    codes = {finding.code for finding in key_checks.judge(requests.rsa_spki(requests.close_factors(), 3))}
    assert codes == {"rsa_exponent", "rsa_close_factors"}


def test_the_fingerprint_of_roca_is_found_in_no_ordinary_key():
    assert key_checks.is_roca(requests.roca())
    assert not key_checks.is_roca(requests.close_factors())
    assert not key_checks.is_roca(requests.rsa2048().public_key().public_numbers().n)


def test_a_factor_of_751_counts_as_small_and_one_of_757_does_not():
    assert key_checks.has_small_factor(751 * requests.RFC2409_GROUP2)
    assert not key_checks.has_small_factor(757 * requests.RFC2409_GROUP2)


def test_fermat_stops_after_a_hundred_rounds():
    prime = requests.RFC2409_GROUP2
    assert key_checks.has_close_factors(prime * (prime + 2))
    assert not key_checks.has_close_factors(prime * (prime + (1 << 600)))


@pytest.mark.parametrize("spki", [b"", b"\x30\x00", b"\x04\x01a", bytes(5000)])
def test_bytes_that_are_no_key_are_a_finding_and_have_no_kind(spki):
    assert key_checks.judge(spki)
    with pytest.raises(ValueError, match="fit"):
        key_checks.kind(spki)
