"""National and resident ids and company numbers against the vectors."""

import json
from datetime import date
from pathlib import Path

import pytest

from chopmark.core.refusal import Kind, Refusal
from chopmark.tw.person_id import OLD_RESIDENT_IDS_END, PersonId, PersonIdKind, mask_person_id, parse_person_id

VECTORS = json.loads((Path(__file__).parents[2] / "vectors/tw/person_id.json").read_text("utf-8"))


@pytest.mark.parametrize(("typed", "value", "kind"), VECTORS["good"])
def test_a_good_number_is_understood_however_it_is_typed(typed: str, value: str, kind: str):
    assert parse_person_id(typed) == PersonId(value, PersonIdKind(kind))


@pytest.mark.parametrize(("typed", "code"), VECTORS["bad"])
def test_each_kind_of_wrong_number_has_its_own_refusal(typed: str, code: str):
    answer = parse_person_id(typed)
    assert isinstance(answer, Refusal)
    assert (answer.kind, answer.field, answer.code) == (Kind.MALFORMED, "person_id", code)


def test_no_two_reasons_share_a_sentence():
    sentences: dict[str, str] = {}
    for typed, code in VECTORS["bad"]:
        answer = parse_person_id(typed)
        assert isinstance(answer, Refusal)
        assert sentences.setdefault(str(answer.public), code) == code


def test_the_last_two_digits_swapped_are_not_found_because_the_checksum_cannot():
    assert parse_person_id("A123456798") == PersonId("A123456798", PersonIdKind.NATIONAL)


@pytest.mark.parametrize("letter", ["M", "W"])
def test_letters_of_one_group_are_not_told_apart_because_the_checksum_cannot(letter: str):
    assert isinstance(parse_person_id(letter + "123456789"), PersonId)


@pytest.mark.parametrize(("value", "mask"), VECTORS["masks"])
def test_a_mask_shows_two_characters_and_no_tail(value: str, mask: str):
    assert mask_person_id(value) == mask


def test_resident_ids_of_the_old_form_end_with_2030():
    old = PersonId("AC01234567", PersonIdKind.RESIDENT_OLD)
    assert date(2031, 1, 1) == OLD_RESIDENT_IDS_END
    assert old.usable_on(date(2030, 12, 31))
    assert not old.usable_on(date(2031, 1, 1))
    assert PersonId("A800000014", PersonIdKind.RESIDENT).usable_on(date(2031, 1, 1))


def test_the_repr_of_an_id_does_not_spell_it():
    assert "A123456789" not in repr(PersonId("A123456789", PersonIdKind.NATIONAL))
