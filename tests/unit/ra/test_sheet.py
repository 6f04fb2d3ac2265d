"""A sheet's header and lines: what is understood, and which fault a wrong cell has."""

from datetime import date

import pytest

from chopmark.core.types import AccountKind, text
from chopmark.ra.customer_import.sheet import Column, Fault, Header, Row, check_line, csv_lines, parse_header

TODAY = date(2026, 7, 15)
ENGLISH = "customer,person_id,name,birth_date,mobile,email,accounts,verified_on"
GOOD = {
    Column.CUSTOMER: "C0001",
    Column.PERSON_ID: "A123456789",  # domain 3.1
    Column.NAME: "王小明",
    Column.BIRTH_DATE: "民國90年7月15日",
    Column.MOBILE: "0912345678",
    Column.EMAIL: "zoe@example.org",
    Column.ACCOUNTS: "F014000-0000007",
    Column.VERIFIED_ON: "2026-07-01",
}


def header() -> Header:
    parsed = parse_header(ENGLISH)
    assert isinstance(parsed, Header)
    return parsed


def checked(**cells: str):
    values = GOOD | {Column(name): value for name, value in cells.items()}
    return check_line(",".join(values[column] for column in Column), 7, header(), TODAY)


def faults(**cells: str) -> list[tuple[str | None, str]]:
    found = checked(**cells)
    assert isinstance(found, tuple)
    assert all(fault.line == 7 for fault in found)
    return [(fault.column, fault.code) for fault in found]


def test_a_chinese_header_in_any_order_means_the_same_columns():
    parsed = parse_header("姓名,客戶編號,身分證字號,生日,手機,電子郵件,驗證日,帳號\r\n")
    assert isinstance(parsed, Header)
    assert parsed.columns[:3] == (Column.NAME, Column.CUSTOMER, Column.PERSON_ID)
    assert parsed.columns[-1] is Column.ACCOUNTS


@pytest.mark.parametrize(
    ("written", "codes"),
    [
        (ENGLISH.replace("email,", ""), {"header.missing"}),
        (ENGLISH + ",email", {"header.twice"}),
        (ENGLISH + ",shoe_size", {"header.unknown"}),
        (ENGLISH.replace(",", ";"), {"header.missing", "header.unknown"}),
        ('"' + ENGLISH, {"quotes"}),
        ("", {"header.missing"}),
    ],
)
def test_a_header_that_lacks_repeats_or_adds_a_column_is_refused(written, codes):
    parsed = parse_header(written)
    assert isinstance(parsed, tuple)
    assert {fault.code for fault in parsed} == codes


def test_a_good_line_becomes_a_row_in_normal_form():
    row = checked(person_id="ａ123456789", mobile="+886 912-345-678", email="Zoe@EXAMPLE.org")
    assert isinstance(row, Row)
    assert row.person.value == "A123456789"
    assert row.birth_date == date(2001, 7, 15)
    assert row.mobile == "+886912345678"
    assert row.email == "Zoe@example.org"
    assert row.verified_on == date(2026, 7, 1)
    assert "王小明" not in repr(row)
    assert "2001" not in repr(row)


@pytest.mark.parametrize(
    ("written", "day"),
    [
        ("2001-07-15", date(2001, 7, 15)),
        ("20010715", date(2001, 7, 15)),
        ("090/7/15", date(2001, 7, 15)),
        ("1925/7/15", date(1925, 7, 15)),
        ("0900715", date(2001, 7, 15)),
        ("民國前1年3月5日", date(1911, 3, 5)),  # domain 3.3: the year before year 1 is 1911
        ("1911-03-05", date(1911, 3, 5)),
    ],
)
def test_birth_dates_are_read_in_both_calendars(written, day):
    row = checked(birth_date=written)
    assert isinstance(row, Row)
    assert row.birth_date == day


@pytest.mark.parametrize(
    ("written", "code"),
    [
        ("2001-02-29", "roc.no_such_day"),
        ("2026-07-16", "roc.future"),
        ("1890-01-01", "roc.too_old"),
        ("yesterday", "roc.form"),
        ("", "birth_date.empty"),
    ],
)
def test_a_wrong_birth_date_says_what_is_wrong(written, code):
    assert faults(birth_date=written) == [("birth_date", code)]


def test_a_company_needs_no_birth_date():
    row = checked(person_id="00501503", birth_date="", name="測試股份有限公司")  # domain 3.2
    assert isinstance(row, Row)
    assert row.birth_date is None


def test_accounts_have_their_market_by_tag_or_else_by_form():
    row = checked(accounts="(期)F014-0000007;9A95-0123456；（複）9A95-0123457")
    assert isinstance(row, Row)
    assert [(a.number, a.kind) for a in row.accounts] == [
        ("F014000-0000007", AccountKind.FUTURES),
        ("9A95-0123456", AccountKind.SECURITIES),
        ("9A95-0123457", AccountKind.SUB_BROKERAGE),
    ]


def test_all_wrong_cells_of_a_line_are_named_in_the_order_of_the_columns():
    assert faults(customer="", person_id="A123456788", mobile="0223456789", email="nobody", accounts="9A95-01") == [
        ("customer", "customer_number.empty"),
        ("person_id", "person_id.check_digit"),
        ("mobile", "mobile.landline"),
        ("email", "email.at_sign"),
        ("accounts", "account.hyphen"),
    ]


@pytest.mark.parametrize(
    ("cells", "expected"),
    [
        ({"name": " "}, ("name", "name.empty")),
        ({"name": "王" * 201}, ("name", "name.length")),
        ({"name": "王\u200b小明"}, ("name", "name.hidden")),
        ({"verified_on": ""}, ("verified_on", "verified_on.empty")),
        ({"verified_on": "2026-07-16"}, ("verified_on", "verified_on.future")),
        ({"verified_on": "2026-13-01"}, ("verified_on", "verified_on.form")),
        ({"accounts": "9A95-0123456;9A950123456"}, ("accounts", "accounts.twice")),
    ],
)
def test_what_no_single_form_can_tell_is_a_fault_too(cells, expected):
    assert faults(**cells) == [expected]


def test_without_contacts_no_day_of_verification_is_needed():
    row = checked(mobile="", email="", verified_on="")
    assert isinstance(row, Row)
    assert row.mobile is None
    assert row.email is None


def test_a_resident_id_of_the_old_form_ends_with_2030():
    late = check_line(
        ",".join((GOOD | {Column.PERSON_ID: "AC01234567"})[column] for column in Column), 2, header(), date(2031, 1, 1)
    )
    assert isinstance(late, tuple)
    assert late[0].code == "person_id.ended"


def test_a_line_with_more_or_fewer_cells_is_one_fault():
    found = check_line("C0001,A123456789", 3, header(), TODAY)
    assert isinstance(found, tuple)
    assert [(f.line, f.column, f.code) for f in found] == [(3, None, "cells")]


def test_a_stray_quotation_mark_spoils_its_own_line_only():
    found = check_line('C0001,"A123456789,王小明', 3, header(), TODAY)
    assert isinstance(found, tuple)
    assert [f.code for f in found] == ["quotes"]


def test_a_blank_line_is_nothing():
    assert check_line(" , ,,,,,,\r\n", 3, header(), TODAY) is None


def test_the_report_names_line_column_code_and_reason():
    lines = list(csv_lines([Fault(3, "name", "name.empty", text('Say "it".'))]))
    assert lines == ["line,column,code,reason", '3,name,name.empty,"Say ""it""."']
