"""Mobile numbers against the vectors."""

import json
from pathlib import Path

import pytest

from chopmark.core.refusal import Kind, Refusal
from chopmark.tw.mobile import E164, local_form, mask_mobile, parse_mobile

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
