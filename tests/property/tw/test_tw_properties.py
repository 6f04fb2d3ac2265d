"""What holds for every number, date and address, not only for the vectors."""

import calendar
import string
from datetime import date, timedelta

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from chopmark.core.refusal import Kind, Refusal
from chopmark.core.types import AccountKind
from chopmark.tw.account import parse_account
from chopmark.tw.customer_number import parse_customer_number
from chopmark.tw.email import EmailAddress, mask_email, parse_email
from chopmark.tw.mobile import E164, local_form, mask_mobile, parse_mobile
from chopmark.tw.person_id import PersonId, mask_person_id, parse_person_id
from chopmark.tw.roc import Lang, RocReading, format_roc, parse_roc_date, roc_date
from chopmark.tw.text import FOLD_LIMIT, fold
from chopmark.tw.zone import local_date, local_midnight, minus_months, plus_months

TODAY = date(2026, 11, 22)
DIGITS = st.text(string.digits, min_size=8, max_size=8)
LANGS: tuple[Lang, ...] = ("zh", "en")
BIRTH_DATES = st.dates(date(1906, 11, 23), TODAY)
ANYTHING = st.text(st.characters(), max_size=FOLD_LIMIT + 20) | st.text("0123456789-+/年月日民國前 #A@.", max_size=24)


def letter_value(letter: str) -> int:
    """The table of the household registration rule, written as the rule prints it."""
    table = "A10 B11 C12 D13 E14 F15 G16 H17 I34 J18 K19 L20 M21 N22 O35 P23 Q24 R25 S26 T27 U28 V29 W32 X30 Y31 Z33"
    return int(table[table.index(letter) + 1 :][:2])


@st.composite
def person_ids(draw: st.DrawFn) -> str:
    """A number made by the rule, its last digit chosen so that the sum ends in 0."""
    head = draw(st.sampled_from(string.ascii_uppercase)) + draw(st.sampled_from("1289ABCD"))
    body = draw(st.text(string.digits, min_size=7, max_size=7))
    first = letter_value(head[0])
    second = int(head[1]) if head[1].isdigit() else letter_value(head[1])
    total = first // 10 + first % 10 * 9 + second % 10 * 8
    total += sum(int(digit) * weight for digit, weight in zip(body, range(7, 0, -1), strict=True))
    return f"{head}{body}{-total % 10}"


@given(person_ids())
def test_every_id_made_by_the_rule_is_understood(value: str):
    answer = parse_person_id(value)
    assert isinstance(answer, PersonId)
    assert answer.value == value


@given(person_ids(), st.integers(2, 9), st.sampled_from(string.digits))
def test_one_wrong_digit_is_found_unless_its_weight_shares_a_factor_with_ten(value: str, place: int, digit: str):
    assume(value[place] != digit)
    weight = max(9 - place, 1)
    answer = parse_person_id(value[:place] + digit + value[place + 1 :])
    change = (int(digit) - int(value[place])) * weight
    if change % 10:
        assert isinstance(answer, Refusal)
        assert answer.code == "person_id.check_digit"
    else:
        assert isinstance(answer, PersonId)


@given(person_ids())
def test_the_mask_of_an_id_has_its_first_two_characters_and_no_other(value: str):
    assert mask_person_id(value) == value[:2] + "-" + "•" * 8


@pytest.mark.parametrize("year", range(1, 200))
def test_the_leap_day_exists_in_an_roc_year_exactly_when_the_gregorian_year_has_it(year: int):
    answer = roc_date(str(year), "2", "29", before_roc=False, today=date(1912 + year, 1, 1))
    assert isinstance(answer, RocReading) is calendar.isleap(1911 + year)


@given(st.dates(date(13, 1, 1), date(3810, 12, 31)), st.sampled_from(LANGS))
def test_what_is_shown_of_a_birth_date_is_understood_again(day: date, lang: Lang):
    answer = parse_roc_date(format_roc(day, lang), today=day + timedelta(days=7))
    assert isinstance(answer, RocReading)
    assert answer.value == day


@given(BIRTH_DATES)
def test_three_fields_and_seven_digits_say_the_same_date(day: date):
    assume(day.year > 1911)
    year = day.year - 1911
    fields = roc_date(str(year), str(day.month), str(day.day), before_roc=False, today=TODAY)
    together = parse_roc_date(f"{year:03d}{day.month:02d}{day.day:02d}", today=TODAY)
    assert isinstance(fields, RocReading)
    assert fields.value == day
    assert together == fields


@given(BIRTH_DATES)
def test_six_digits_give_the_date_or_are_refused_as_ambiguous(day: date):
    assume(1911 < day.year <= 2010)
    answer = parse_roc_date(f"{day.year - 1911:02d}{day.month:02d}{day.day:02d}", today=TODAY)
    if isinstance(answer, RocReading):
        assert answer.value == day
    else:
        assert answer.code == "roc.ambiguous"


@given(
    DIGITS,
    st.sampled_from(["09", "+8869", "008869", "8869"]),
    st.sampled_from(["", " ", "-", "　", "–"]),
    st.booleans(),
)
def test_all_ways_of_writing_a_mobile_number_give_one_key(digits: str, head: str, gap: str, wide: bool):
    written = gap.join([head, digits[:2], digits[2:5], digits[5:]])
    if wide:
        written = written.translate({ord(char): ord(char) + 0xFEE0 for char in string.digits + "+"})
    assert parse_mobile(written) == "+8869" + digits


@given(DIGITS)
def test_the_local_form_of_a_mobile_number_is_the_same_number(digits: str):
    number = E164("+8869" + digits)
    assert parse_mobile(local_form(number)) == number


@given(DIGITS)
def test_the_mask_of_a_mobile_number_has_three_of_its_digits(digits: str):
    mask = mask_mobile(E164("+8869" + digits))
    assert mask == f"09•• ••• {digits[-3:]}"


@given(st.emails(domains=st.sampled_from(["example.com", "EXAMPLE.org", "mail.example.net"])))
def test_the_mask_of_an_address_has_one_letter_of_each_side_and_the_last_label(written: str):
    address = parse_email(written)
    assume(not isinstance(address, Refusal))
    local, _, domain = str(address).partition("@")
    assert mask_email(EmailAddress(str(address))) == f"{local[0]}•••@{domain[0]}•••.{domain.rsplit('.', 1)[1]}"
    assert parse_email(str(address)) == address


@given(ANYTHING)
def test_any_text_gives_a_value_or_a_refusal(written: str):
    answers: list[object] = [
        parse_person_id(written),
        parse_mobile(written),
        parse_email(written),
        parse_customer_number(written),
        parse_roc_date(written, today=TODAY),
        parse_roc_date(written, before_roc=True, today=TODAY),
        roc_date(written, "7", "15", before_roc=False, today=TODAY),
        roc_date("90", written, "15", before_roc=True, today=TODAY),
        roc_date("90", "7", written, before_roc=False, today=TODAY),
        *(parse_account(written, kind) for kind in AccountKind),
    ]
    for answer in answers:
        assert isinstance(answer, str | PersonId | RocReading | Refusal)
        if isinstance(answer, Refusal):
            assert answer.kind is Kind.MALFORMED
            assert answer.code
            assert str(answer.public).endswith((".", "?"))


@given(ANYTHING)
def test_what_is_accepted_is_plain_and_is_accepted_again_as_it_stands(written: str):
    for parse in (parse_mobile, parse_email, parse_customer_number):
        value = parse(written)
        if isinstance(value, str):
            assert value.isascii()
            assert parse(value) == value


@given(ANYTHING)
def test_folding_twice_changes_nothing(written: str):
    assume(len(fold(written)) <= FOLD_LIMIT and len(written) <= FOLD_LIMIT)
    assert fold(fold(written)) == fold(written)


@given(st.dates(date(1900, 1, 1), date(2200, 12, 31)))
def test_a_day_begins_at_its_own_midnight(day: date):
    assert local_date(local_midnight(day)) == day
    assert local_date(local_midnight(day) - timedelta(seconds=1)) == day - timedelta(days=1)


@given(st.dates(date(1900, 1, 1), date(2200, 12, 31)), st.integers(0, 120))
def test_months_forth_and_back_lose_at_most_three_days(day: date, months: int):
    back = minus_months(plus_months(day, months), months)
    assert timedelta(0) <= day - back <= timedelta(days=3)
