"""E-mail addresses against the vectors."""

import json
from pathlib import Path

import pytest

from chopmark.core.refusal import Kind, Refusal
from chopmark.tw.email import EmailAddress, mask_email, parse_email

VECTORS = json.loads((Path(__file__).parents[2] / "vectors/tw/email.json").read_text("utf-8"))


@pytest.mark.parametrize(("typed", "address"), VECTORS["good"])
def test_a_good_address_keeps_its_local_part_and_lowers_its_domain(typed: str, address: str):
    assert parse_email(typed) == address


@pytest.mark.parametrize(("typed", "code"), VECTORS["bad"])
def test_each_kind_of_wrong_address_has_its_own_refusal(typed: str, code: str):
    answer = parse_email(typed)
    assert isinstance(answer, Refusal)
    assert (answer.kind, answer.field, answer.code) == (Kind.MALFORMED, "email", code)


def test_no_two_reasons_share_a_sentence():
    sentences: dict[str, str] = {}
    for typed, code in VECTORS["bad"]:
        answer = parse_email(typed)
        assert isinstance(answer, Refusal)
        assert sentences.setdefault(str(answer.public), code) == code


def test_a_local_part_has_at_most_64_octets():
    assert parse_email("a" * 64 + "@example.com") == "a" * 64 + "@example.com"
    answer = parse_email("a" * 65 + "@example.com")
    assert isinstance(answer, Refusal)
    assert answer.code == "email.form"


def test_a_whole_page_is_no_address():
    answer = parse_email("a" * 401 + "@example.com")
    assert isinstance(answer, Refusal)
    assert answer.code == "email.too_long"


@pytest.mark.parametrize(("address", "mask"), VECTORS["masks"])
def test_the_mask_has_one_length_of_dots(address: str, mask: str):
    assert mask_email(EmailAddress(address)) == mask
