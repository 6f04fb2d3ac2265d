"""The report of an import of certificates, as the command line writes it."""

import csv
from pathlib import Path

import pytest

from chopmark.cli.certificate_import import assert_writable, write_report
from chopmark.core.refusal import Refused
from chopmark.core.types import text
from chopmark.ra.certificate_import.report import CertificateReport, Example, Found, Unreadable

FOUND = CertificateReport(
    certificates=2,
    counts={Found.NO_CUSTOMER: 1, Found.UNREADABLE: 1},
    examples={Found.NO_CUSTOMER: (Example(1, "=HYPERLINK(1).pem", 1, "0A"),)},
    unreadable=(Unreadable("@a,b.pem", 2, "empty", text("The file is empty.")),),
    renew=0,
    apply=0,
    ways={},
    certified=0,
    months={},
    issuers={},
)


def test_no_cell_of_the_report_is_a_formula(tmp_path: Path) -> None:
    write_report(FOUND, tmp_path / "report.csv")
    rows = list(csv.reader((tmp_path / "report.csv").read_text(encoding="utf-8").splitlines()))
    assert rows[1:] == [
        ["no_customer", "1", "'=HYPERLINK(1).pem", "1", "0A", ""],
        ["unreadable", "", "'@a,b.pem", "2", "", "The file is empty."],
    ]


def test_a_report_that_cannot_be_written_is_refused_before_anything_is_done(tmp_path: Path) -> None:
    with pytest.raises(Refused, match="cannot be written"):
        assert_writable(tmp_path / "nowhere" / "report.csv", [])
    with pytest.raises(Refused, match="cannot be written"):
        assert_writable(tmp_path, [])
    assert_writable(tmp_path / "report.csv", [tmp_path])
    assert_writable(None, [])


def test_a_report_never_takes_the_place_of_a_file_that_is_to_be_read(tmp_path: Path) -> None:
    old = tmp_path / "old.pem"
    old.write_bytes(b"content")
    with pytest.raises(Refused, match="one of the files to read"):
        assert_writable(old, [old])
    assert old.read_bytes() == b"content"
