"""What spreadsheets do to cells: guards come off, what was lost is said with its remedy, dates are never guessed."""

from datetime import date

import pytest

from chopmark.core.refusal import Refusal
from chopmark.ra.customer_import.cells import Dates, read_date, spoiled, unguarded
from chopmark.ra.customer_import.sheet import Column, Header, Row, check_line, parse_header
from tests.unit.ra.test_sheet import ENGLISH, GOOD, TODAY, checked, faults

JULY = date(1949, 7, 15)
MINGUO = date(1960, 7, 15)  # year 49 of the Republic (domain 3.3)


@pytest.mark.parametrize(
    ("cell", "value"),
    [
        ('="0912345678"', "0912345678"),
        ('="say ""so"""', 'say "so"'),
        (' ="0912345678" ', "0912345678"),
        ("'0912345678", "0912345678"),
        ("'+886912345678", "+886912345678"),
        ("O'Brien", "O'Brien"),
        ("'quoted'", "'quoted'"),
        ("=A1+B1", "=A1+B1"),
    ],
)
def test_a_guard_against_spreadsheets_comes_off(cell: str, value: str) -> None:
    assert unguarded(cell) == value


def test_guards_are_understood_in_every_column() -> None:
    cells = [f'="{GOOD[column]}"' if column is not Column.NAME else "'王小明" for column in Column]
    found = check_line(",".join(cells), 2, Header(tuple(Column)), TODAY)
    assert isinstance(found, Row), found
    assert (found.name, found.mobile, found.person.value) == ("王小明", "+886912345678", "A123456789")
    escaped = ",".join('"=""' + GOOD[column] + '"""' for column in Column)  # as RFC 4180 writes it
    again = check_line(escaped, 2, Header(tuple(Column)), TODAY)
    assert isinstance(again, Row)
    assert again.mobile == found.mobile


@pytest.mark.parametrize("cell", ["8.86912E+11", "9.12E+08", "1.23457e+12", "#####", "#N/A", "#REF!", "912345678.0"])
@pytest.mark.parametrize("column", ["customer", "mobile", "accounts", "person_id"])
def test_a_number_that_a_spreadsheet_has_lost_is_one_fault_that_says_how_to_keep_it(cell: str, column: str) -> None:
    found = checked(**{column: cell})
    assert isinstance(found, tuple)
    (fault,) = found
    assert (fault.column, fault.code.startswith(f"{column}.excel.")) == (column, True)
    assert "Export the sheet again" in str(fault.text)
    assert cell not in str(fault.text)


@pytest.mark.parametrize("number", ["9A95-0000001", "F014-0000007", "0912345678", "00501503", "C-1", "1E5", "A#1"])
def test_an_honest_value_is_not_taken_for_a_lost_one(number: str) -> None:
    assert spoiled(number) is None


@pytest.mark.parametrize(
    ("column", "cell", "code"),
    [("mobile", "912345678", "mobile.no_leading_zero"), ("person_id", "4595257", "person_id.length")],
)
def test_a_zero_that_was_taken_away_is_told_as_excel_s_work(column: str, cell: str, code: str) -> None:
    found = checked(**{column: cell})
    assert isinstance(found, tuple)
    (fault,) = found
    assert (fault.column, fault.code) == (column, code)
    assert "Excel" in str(fault.text)


# dates ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("written", "day"),
    [
        ("1949-07-15", JULY),
        ("19490715", JULY),
        ("1949-07-15 00:00:00", JULY),
        ("1949-07-15T00:00:00", JULY),
        ("民國49年7月15日", MINGUO),
        ("民國49/7/15", MINGUO),
        ("中華民國四十九年七月十五日", MINGUO),
        ("ROC 49-07-15", MINGUO),
        ("049/07/15", MINGUO),
        ("0490715", MINGUO),
        ("1925/7/15", date(1925, 7, 15)),
        ("100/7/15", date(2011, 7, 15)),
        ("1000715", date(2011, 7, 15)),
    ],
)
@pytest.mark.parametrize("dates", list(Dates))
def test_a_date_that_nobody_can_mistake_is_read_whatever_the_sheet_is_said_to_be(written, day, dates) -> None:
    assert read_date(written, TODAY, dates) == day


@pytest.mark.parametrize(
    "written",
    [
        *("49/7/15", "49-7-15", "49.7.15", "49年7月15日", "49 7 15", "490715", "5/7/15", "４９/７/１５"),
        *("1949/7/15", "1949/07/15", "1949-7-15", "1949.7.15", "1949年7月15日", "1949 7 15", "1949/7/15 00:00"),
        *("1949/7/15 上午 12:00:00", "2001/7/15", "7/15/1949", "15/07/1949", "15-Jul-49", "Jul-49", "15 July 1949"),
        *("18093", "18093.0"),
    ],
)
def test_a_date_that_can_be_mistaken_is_a_fault_that_names_excel_and_says_what_to_write(written: str) -> None:
    found = read_date(written, TODAY, Dates.PLAIN)
    assert isinstance(found, Refusal), found
    assert (found.code or "").startswith("excel.")
    said = str(found.public)
    assert "Excel" in said
    assert "年7月15日" in said
    assert faults(birth_date=written) == [("birth_date", found.code)]


def test_whoever_knows_the_sheet_says_which_years_they_are() -> None:
    for written in ("49/7/15", "49.7.15", "490715"):
        assert read_date(written, TODAY, Dates.ROC) == MINGUO
        assert isinstance(read_date(written, TODAY, Dates.WESTERN), Refusal)
    for written in ("1949/7/15", "1949-7-15", "1949年7月15日", "1949/7/15 00:00:00"):
        assert read_date(written, TODAY, Dates.WESTERN) == JULY
        assert isinstance(read_date(written, TODAY, Dates.ROC), Refusal)


@pytest.mark.parametrize("written", ["18093", "7/15/1949", "15-Jul-49"])
@pytest.mark.parametrize("dates", list(Dates))
def test_what_excel_has_turned_round_is_never_guessed(written: str, dates: Dates) -> None:
    assert isinstance(read_date(written, TODAY, dates), Refusal)


def test_the_day_of_verification_is_recent_so_a_western_year_is_one() -> None:
    row = checked(verified_on="2026/7/1")
    assert isinstance(row, Row)
    assert row.verified_on == date(2026, 7, 1)
    assert faults(verified_on="26/7/1") == [("verified_on", "excel.two_digits")]


# columns and names ----------------------------------------------------------------------------------------------


def test_columns_that_a_spreadsheet_has_left_behind_are_nothing() -> None:
    header = parse_header(ENGLISH + ",,,\r\n")
    assert isinstance(header, Header)
    assert header.columns == tuple(Column)
    line = ",".join(GOOD[column] for column in Column)
    for tail in ("", ",", ",,,,", ", ,"):
        assert isinstance(check_line(line + tail, 2, header, TODAY), Row), tail
    found = check_line(line + ",,x", 2, header, TODAY)
    assert isinstance(found, tuple)
    assert [fault.code for fault in found] == ["cells"]


NEWER = [0x31350, 0x2EBF0, 0x323B0, 0x33479, 0x3FFFD]
"""CJK extensions H (Unicode 15), I (15.1), J (17), and what comes after: planes 2 and 3 are for ideographs."""


@pytest.mark.parametrize("point", NEWER)
@pytest.mark.parametrize("where", ["{}小明", "王{}明", "王小{}"])
def test_a_letter_that_is_newer_than_python_s_tables_stays_in_a_name(point: int, where: str) -> None:
    name = where.format(chr(point))
    row = checked(name=name)
    assert isinstance(row, Row)
    assert row.name == name


@pytest.mark.parametrize("point", [0xFFFE, 0x1FFFF, 0xFDD0, 0x200B, 0xE0FFF, 0x0007])
def test_what_nobody_can_see_is_refused_still(point: int) -> None:
    assert faults(name=f"王{chr(point)}明") == [("name", "name.hidden")]


@pytest.mark.parametrize("where", ["{}小明", "王{}明", "王小{}"])
@pytest.mark.parametrize("point", [0xE000, 0xF8FF, 0xF0000, 0x10FFFD])
def test_a_character_for_private_use_is_named_and_never_dropped(point: int, where: str) -> None:
    found = checked(name=where.format(chr(point)))
    assert isinstance(found, tuple)
    (fault,) = found
    assert fault.code == "name.made"
    assert f"U+{point:04X}" in str(fault.text)
    assert "全字庫" in str(fault.text)


def test_a_long_name_is_accepted_because_no_name_goes_into_a_certificate() -> None:
    long = "Wolfeschlegelsteinhausenbergerdorff " * 5
    row = checked(name=long)
    assert isinstance(row, Row)
    assert len(row.name) == 179
