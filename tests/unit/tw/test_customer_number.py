"""The firm's customer numbers."""

import pytest

from chopmark.core.refusal import Kind, Refusal
from chopmark.tw.customer_number import parse_customer_number


@pytest.mark.parametrize(
    ("typed", "number"),
    [
        ("C-0000007", "C-0000007"),
        ("ｃ－0000007 ", "C-0000007"),
        ("7", "7"),
        ("C-٠٠٠٠۰๐७", "C-0000007"),
        ("00501503", "00501503"),
        ("A123456788", "A123456788"),
        ("A" * 20, "A" * 20),
    ],
)
def test_a_good_number_is_understood_however_it_is_typed(typed: str, number: str):
    assert parse_customer_number(typed) == number


@pytest.mark.parametrize(
    ("typed", "reason"),
    [
        ("", "empty"),
        ("　", "empty"),
        ("A" * 21, "length"),
        ("客戶7", "form"),
        ("C_7", "form"),
        ("--", "form"),
        ("A123456789", "person_id"),
        ("a1-23456789", "person_id"),
        ("A800000014", "person_id"),
        ("AC01234567", "person_id"),
    ],
)
def test_each_kind_of_wrong_number_has_its_own_refusal(typed: str, reason: str):
    answer = parse_customer_number(typed)
    assert isinstance(answer, Refusal)
    assert (answer.kind, answer.field) == (Kind.MALFORMED, "customer_number")
    assert answer.code == f"customer_number.{reason}"
