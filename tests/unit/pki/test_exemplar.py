"""A draft that differs from its linting certificate in anything but the allowed fields is never signed."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from chopmark.core.types import OrderId
from chopmark.keys.ports import KeyAlgorithm
from chopmark.pki.der import NotDer, constructed, parts, require_der, tlv
from chopmark.pki.draft import Urls
from chopmark.pki.linting_certificate import Issued, Linted, LintingCertificate, Reserved, compare, lint
from chopmark.pki.profile import Lifetime
from tests.vectors.pki.house import NOW, SUBJECT, URLS, customer, house, profile, sign_as, spki_of


def codes(tbs_der: bytes) -> set[str]:
    made = house()
    return {finding.code for finding in compare(tbs_der, made.draft().tbs_der, made.allowed)}


def test_serial_time_subject_values_and_key_may_differ():
    other = house().draft(
        serial=3 << 136 | 12345,
        now=NOW + timedelta(days=17),
        subject={**SUBJECT, "customer": "B-77", "firm": "另一家證券"},
        spki_der=spki_of(house().ocsp_key),
    )
    assert codes(other.tbs_der) == set()


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"serial": 1 << 60}, "differs_serial"),
        ({"profile": replace(profile(), validity=Lifetime(2, 0))}, "differs_validity"),
        ({"profile": replace(profile(), key_usage=("digitalSignature",))}, "differs_extension_2.5.29.15"),
        ({"profile": replace(profile(), eku=("1.3.6.1.5.5.7.3.1",))}, "differs_extension_2.5.29.37"),
        ({"profile": replace(profile(), policy_oid="1.2.3.4")}, "differs_extension_2.5.29.32"),
        ({"profile": replace(profile(), subject=profile().subject[1:])}, "differs_subject"),
        ({"spki_der": customer(KeyAlgorithm.P384).public_key_der}, "differs_key"),
        ({"spki_der": customer(KeyAlgorithm.RSA2048).public_key_der}, "differs_key"),
        ({"urls": Urls(URLS.ocsp, URLS.ca_issuers, "http://evil.example/0.crl")}, "differs_extension_2.5.29.31"),
        ({"urls": Urls("http://evil.example/", URLS.ca_issuers, URLS.crl)}, "differs_extension_1.3.6.1.5.5.7.1.1"),
        ({"urls": Urls("", URLS.ca_issuers, URLS.crl)}, "differs_extension_1.3.6.1.5.5.7.1.1"),
    ],
)
def test_any_other_difference_is_named(change, code):
    assert codes(house().draft(**change).tbs_der) == {code}


def test_basic_constraints_are_compared_to_the_octet():
    tbs = house().draft().tbs_der
    end_entity, authority = bytes.fromhex("300c0603551d130101ff04023000"), bytes.fromhex("300c0603551d130101ff04023001")
    assert end_entity in tbs
    assert codes(tbs.replace(end_entity, authority)) == {"differs_extension_2.5.29.19"}


def test_a_key_identifier_of_another_key_is_found():
    made = house()
    tbs = made.draft().tbs_der
    at = tbs.index(bytes.fromhex("0603551d0e")) + 9
    assert codes(tbs[:at] + bytes((tbs[at] ^ 1,)) + tbs[at + 1 :]) == {"differs_extension_2.5.29.14"}


def test_an_issuer_of_another_key_or_name_is_found():
    other = house(KeyAlgorithm.P384)
    assert {"differs_signature_algorithm", "differs_extension_2.5.29.35"} <= codes(other.draft().tbs_der)


def test_bytes_that_are_no_certificate_are_a_finding():
    assert codes(b"\x30\x00") == {"tbs_malformed"}
    assert codes(house().draft().tbs_der + b"\x00") == {"tbs_malformed"}


def test_every_single_changed_octet_of_the_fixed_part_is_found():
    made = house()
    tbs = made.draft().tbs_der
    allowed = replace(made.allowed, crl_urls=frozenset({URLS.crl}))
    start = tbs.index(bytes.fromhex("0603551d13"))
    for at in range(start, len(tbs)):
        changed = tbs[:at] + bytes((tbs[at] ^ 1,)) + tbs[at + 1 :]
        assert compare(changed, tbs, allowed), at


def test_what_equals_the_exemplar_is_not_read_twice_and_no_fault_is_missed_for_that():
    tbs, elements = house().draft().tbs_der, constructed(house().draft().tbs_der)
    other = house().draft(serial=3 << 136 | 12345, spki_der=spki_of(house().ocsp_key)).tbs_der
    require_der(other, elements)
    for at in range(len(other)):
        for bit in (0x01, 0x20, 0x80):
            changed = other[:at] + bytes((other[at] ^ bit,)) + other[at + 1 :]
            assert is_der(changed, elements) == is_der(changed, frozenset()), (at, bit)
    assert tbs in elements


def is_der(data: bytes, known: frozenset[bytes]) -> bool:
    try:
        require_der(data, known)
    except NotDer:
        return False
    return True


def test_an_exemplar_that_is_not_der_is_equalled_by_nothing():
    made = house()
    tbs, name = made.draft().tbs_der, made.issuing.name_der
    broken = tbs.replace(name, name.replace(b"\x0c", b"\x17"), 1)  # UTF8String to UTCTime
    assert broken != tbs
    assert {finding.code for finding in compare(broken, broken, made.allowed)} == {"tbs_malformed"}


@pytest.mark.parametrize(("part", "found"), [(b"", set()), (b".5", {"tbs_malformed"})])
def test_a_part_of_a_second_is_no_time_of_a_certificate(part, found):
    made = house()
    tbs = made.draft().tbs_der
    fields = parts(parts(tbs)[0].content)
    times = (b"20550101000000" + part + b"Z", b"20551231235959" + part + b"Z")
    validity = tlv(0x30, *(tlv(0x18, one) for one in times))
    late = tlv(0x30, *(one.der for one in fields[:4]), validity, *(one.der for one in fields[5:]))
    allowed = replace(made.allowed, issuer_not_after=datetime(2070, 1, 1, tzinfo=UTC))
    assert {finding.code for finding in compare(late, tbs, allowed)} == found


def test_only_lint_makes_a_linted_and_only_the_issuer_s_signature_an_issued():
    made = house()
    draft = made.draft()
    linting_certificate = LintingCertificate(draft.tbs_der, draft.linting_certificate_key, made.allowed)
    linted = lint(draft, linting_certificate)
    assert isinstance(linted, Linted)
    with pytest.raises(TypeError, match="lint"):
        Linted(draft, object())  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="lint"):
        replace(linted, draft=made.draft(serial=5 << 136 | 1))
    reserved = Reserved(linted, OrderId("O"), 1)
    with pytest.raises(ValueError, match="issuer"):
        reserved.issue(sign_as(made.root_key, draft.tbs_der))
    assert isinstance(reserved.issue(sign_as(made.issuing_key, draft.tbs_der)), Issued)


def test_a_draft_is_held_against_the_exemplar_of_its_own_kind_only():
    made = house()
    draft = made.draft()
    for change in ({"profile": "other"}, {"version": 2}, {"key": KeyAlgorithm.P384}):
        linting_certificate = LintingCertificate(
            draft.tbs_der, draft.linting_certificate_key._replace(**change), made.allowed
        )
        found = lint(draft, linting_certificate)
        assert isinstance(found, tuple)
        assert [finding.code for finding in found] == ["differs_exemplar_key"]
