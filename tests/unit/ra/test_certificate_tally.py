"""The count of an import: what is a repetition, whose keys are shared, and how many customers can renew."""

from dataclasses import replace

import pytest

from chopmark.core.types import text
from chopmark.ra.certificate_import.report import CertificateReport, Example, Found, Matched, Tally, Unreadable
from chopmark.ra.imported import Way

KIND = Matched(way=Way.FILE, fit=True, certified=False, month="2027-03", issuer="old")


def tallied(*rows: tuple[int, int, int], kind: Matched = KIND, examples: int = 10) -> CertificateReport:
    """Count matched certificates, each given by fingerprint, key and customer."""
    tally = Tally(examples)
    for number, (fingerprint, key, customer) in enumerate(rows, 1):
        tally.match(f"{fingerprint:016x}", f"{key:016x}", customer, kind, Example(number, "a.pem", number, ""))
    return tally.report(len(rows))


def numbers(report: CertificateReport, found: Found) -> list[int]:
    return [one.number for one in report.examples.get(found, ())]


def test_of_certificates_that_come_several_times_one_counts() -> None:
    report = tallied((1, 1, 7), (2, 2, 8), (1, 1, 7), (1, 1, 7), (1, 1, 7), (3, 3, 9))
    assert report.counts == {Found.MATCHED: 3, Found.TWICE: 3}
    assert numbers(report, Found.TWICE) == [3, 4, 5]
    assert (report.renew, report.apply) == (3, 0)


def test_a_key_of_two_customers_is_shared_wherever_it_is_and_one_of_the_same_customer_is_not() -> None:
    report = tallied((1, 5, 7), (2, 5, 8), (3, 5, 7), (4, 6, 9), (5, 6, 9), (6, 4, 9))
    assert report.counts == {Found.MATCHED: 3, Found.KEY_SHARED: 3}
    assert numbers(report, Found.KEY_SHARED) == [1, 2, 3]
    assert report.renew == 3


def test_one_whose_key_proves_no_renewal_is_counted_as_that_and_not_twice() -> None:
    unfit = replace(KIND, fit=False)
    report = tallied((1, 1, 7), (2, 2, 8), (1, 1, 7), (3, 3, 8), (4, 3, 9), kind=unfit)
    assert report.counts == {Found.KEY_UNFIT: 2, Found.TWICE: 1, Found.KEY_SHARED: 2}
    assert (report.renew, report.apply, report.certified) == (0, 2, 0)
    assert numbers(report, Found.KEY_UNFIT)[:2] == [1, 2]
    assert Found.MATCHED not in report.examples


def test_all_repetitions_are_found_whatever_their_hash_begins_with() -> None:
    prints = [number << 60 | number for number in range(16)]
    report = tallied(*((one, one, 1) for one in (*prints, *prints)))
    assert report.counts == {Found.MATCHED: 16, Found.TWICE: 16}


@pytest.mark.parametrize(
    ("kind", "way", "renew", "apply", "certified"),
    [
        (KIND, Way.FILE, 1, 0, 0),
        (replace(KIND, way=Way.UNKNOWN), Way.UNKNOWN, 1, 0, 0),
        (replace(KIND, way=Way.VAULT), Way.VAULT, 0, 1, 0),
        (replace(KIND, way=Way.NONE), Way.NONE, 0, 1, 0),
        (replace(KIND, fit=False), Way.NONE, 0, 1, 0),
        (replace(KIND, certified=True), Way.FILE, 0, 0, 1),
        (replace(KIND, certified=True, way=Way.VAULT), Way.VAULT, 0, 0, 1),
    ],
)
def test_who_renews_who_applies_and_who_has_ours_already(
    kind: Matched, way: Way, renew: int, apply: int, certified: int
) -> None:
    report = tallied((1, 1, 7), kind=kind)
    assert (report.renew, report.apply, report.certified) == (renew, apply, certified)
    assert report.ways == {way: 1}
    assert (report.months, report.issuers) == ({"2027-03": 1}, {"old": 1})


def test_as_many_examples_of_each_kind_are_kept_as_are_wanted() -> None:
    tally = Tally(2)
    for number in range(1, 5):
        tally.note(Found.EXPIRED, Example(number, "a.pem", number, ""))
        tally.match("0" * 15 + "1", "1", 7, KIND, Example(number, "b.pem", number, ""))
    report = tally.report(8)
    assert {found: numbers(report, found) for found in report.examples} == {
        Found.EXPIRED: [1, 2], Found.MATCHED: [1, 2], Found.TWICE: [2, 3]
    }  # fmt: skip
    assert report.counts == {Found.MATCHED: 1, Found.EXPIRED: 4, Found.TWICE: 3}
    assert tallied((1, 1, 7), examples=0).examples == {Found.MATCHED: ()}


def test_what_cannot_be_read_is_counted_whole_and_kept_up_to_a_thousand() -> None:
    tally = Tally(1)
    for number in range(1001):
        tally.spoiled(Unreadable("a.pem", number, "empty", text("The file is empty.")))
    report = tally.report(1001)
    assert report.counts == {Found.UNREADABLE: 1001}
    assert [one.place for one in report.unreadable] == list(range(1000))
