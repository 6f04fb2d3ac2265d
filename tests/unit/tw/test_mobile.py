"""Mobile numbers against the vectors."""

import json
from pathlib import Path

import pytest

from chopmark.core.refusal import Kind, Refusal
from chopmark.tw.mobile import E164, calling_code, is_calling_code, local_form, mask_mobile, parse_mobile

VECTORS = json.loads((Path(__file__).parents[2] / "vectors/tw/mobile.json").read_text("utf-8"))
KEY = E164(VECTORS["key"])


@pytest.mark.parametrize("typed", VECTORS["good"])
def test_every_way_of_writing_gives_one_key(typed: str):
    assert parse_mobile(typed) == KEY


@pytest.mark.parametrize(("typed", "code"), VECTORS["bad"])
def test_each_kind_of_wrong_number_has_its_own_refusal(typed: str, code: str):
    answer = parse_mobile(typed)
    assert isinstance(answer, Refusal)
    assert (answer.kind, answer.field, answer.code) == (Kind.MALFORMED, "mobile", code)


def test_no_two_reasons_share_a_sentence():
    sentences: dict[str, str] = {}
    for typed, code in VECTORS["bad"]:
        answer = parse_mobile(typed)
        assert isinstance(answer, Refusal)
        assert sentences.setdefault(str(answer.public), code) == code


def test_the_mask_shows_the_last_three_digits():
    assert mask_mobile(KEY) == VECTORS["mask"]


def test_the_local_form_is_what_a_gateway_dials():
    assert local_form(KEY) == VECTORS["local"]


@pytest.mark.parametrize(
    "typed", ["+81 90-1234-5678", "0081 90 1234 5678", "＋８１９０１２３４５６７８", "+81(90)1234.5678"]
)
def test_a_number_of_an_allowed_country_has_one_key_however_it_is_written(typed: str):
    assert parse_mobile(typed, ("886", "81")) == "+819012345678"
    refused = parse_mobile(typed, ("886", "82"))
    assert isinstance(refused, Refusal)
    assert refused.code == "mobile.foreign"


@pytest.mark.parametrize(
    ("typed", "code"),
    [
        ("+81 090 1234 5678", "mobile.zero_after_country"),
        ("+81 9012", "mobile.length_abroad"),
        ("+81 90 1234 5678 9012", "mobile.length_abroad"),
    ],
)
def test_what_is_no_number_abroad_says_why(typed: str, code: str):
    refused = parse_mobile(typed, ("81",))
    assert isinstance(refused, Refusal)
    assert refused.code == code


@pytest.mark.parametrize(
    ("number", "code"),  # ITU-T E.164, list of assigned country codes
    [
        ("+12025550123", "1"),
        ("+79161234567", "7"),
        ("+819012345678", "81"),
        ("+85291234567", "852"),
        ("+886912345678", "886"),
        ("+393331234567", "39"),
        ("+6591234567", "65"),
        ("+3519123456", "351"),
    ],
)
def test_a_number_belongs_to_the_country_of_its_calling_code(number: str, code: str):
    assert calling_code(number) == code
    assert is_calling_code(code)
