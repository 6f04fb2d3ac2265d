"""ROC birth dates against the vectors."""

import json
from datetime import date
from pathlib import Path

import pytest

from chopmark.core.refusal import Kind, Refusal
from chopmark.tw.roc import RocReading, format_roc, parse_roc_date, roc_date

VECTORS = json.loads((Path(__file__).parents[2] / "vectors/tw/roc.json").read_text("utf-8"))
TODAY = date.fromisoformat(VECTORS["today"])


@pytest.mark.parametrize(("year", "month", "day", "before", "iso"), VECTORS["fields_good"])
def test_three_good_fields_give_the_western_date(year: str, month: str, day: str, before: bool, iso: str):
    answer = roc_date(year, month, day, before_roc=before, today=TODAY)
    assert isinstance(answer, RocReading)
    assert answer.value == date.fromisoformat(iso)


@pytest.mark.parametrize(("year", "month", "day", "before", "code", "field"), VECTORS["fields_bad"])
def test_each_kind_of_wrong_field_is_named(year: str, month: str, day: str, before: bool, code: str, field: str):
    answer = roc_date(year, month, day, before_roc=before, today=TODAY)
    assert isinstance(answer, Refusal)
    assert (answer.kind, answer.code, answer.field) == (Kind.MALFORMED, code, field)


@pytest.mark.parametrize(("written", "before", "iso"), VECTORS["text_good"])
def test_a_date_in_one_piece_is_understood_in_every_usual_form(written: str, before: bool, iso: str):
    answer = parse_roc_date(written, before_roc=before, today=TODAY)
    assert isinstance(answer, RocReading)
    assert answer.value == date.fromisoformat(iso)


@pytest.mark.parametrize(("written", "before", "code", "field"), VECTORS["text_bad"])
def test_each_kind_of_wrong_text_is_named(written: str, before: bool, code: str, field: str | None):
    answer = parse_roc_date(written, before_roc=before, today=TODAY)
    assert isinstance(answer, Refusal)
    assert (answer.kind, answer.code, answer.field) == (Kind.MALFORMED, code, field)


@pytest.mark.parametrize(("year", "before", "sentence"), VECTORS["western"])
def test_a_western_year_is_answered_with_the_roc_year_it_means(year: str, before: bool, sentence: str):
    answer = roc_date(year, "7", "15", before_roc=before, today=TODAY)
    assert isinstance(answer, Refusal)
    assert str(answer.public) == sentence


def test_no_two_reasons_share_a_sentence():
    sentences: dict[str, str] = {}
    for year, month, day, before, code, _ in VECTORS["fields_bad"]:
        answer = roc_date(year, month, day, before_roc=before, today=TODAY)
        assert isinstance(answer, Refusal)
        assert sentences.setdefault(str(answer.public), code) == code


@pytest.mark.parametrize(("written", "minor"), VECTORS["ages"])
def test_who_is_not_yet_eighteen_is_marked(written: str, minor: bool):
    answer = parse_roc_date(written, today=TODAY)
    assert isinstance(answer, RocReading)
    assert answer.minor is minor


def test_who_is_born_on_a_leap_day_is_eighteen_on_the_first_of_march():
    eve = parse_roc_date("97/2/29", today=date(2026, 2, 28))
    birthday = parse_roc_date("97/2/29", today=date(2026, 3, 1))
    assert isinstance(eve, RocReading)
    assert isinstance(birthday, RocReading)
    assert (eve.minor, birthday.minor) == (True, False)


@pytest.mark.parametrize(("iso", "zh", "en"), VECTORS["formats"])
def test_a_date_is_shown_in_the_calendar_of_the_republic(iso: str, zh: str, en: str):
    day = date.fromisoformat(iso)
    assert (format_roc(day, "zh"), format_roc(day, "en")) == (zh, en)
