"""What a challenge allows, what the customer is told, and how a typed code is read."""

import json
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from chopmark.core.refusal import Kind, Refusal
from chopmark.core.types import ChallengeId, Channel, CustomerId, Operation, OrderId, Secret
from chopmark.stepup.challenge import (
    REFERENCE_ALPHABET,
    Challenge,
    ChallengeState,
    matches,
    parse_code,
    reference,
    wrong_code,
)

CASES: Any = json.loads((Path(__file__).parents[2] / "vectors" / "codes.json").read_text(encoding="utf-8"))
NOW = datetime(2026, 11, 22, 2, 0, tzinfo=UTC)
LIVE = Challenge(
    id=ChallengeId("A" * 26),
    order=OrderId("O" * 26),
    customer=CustomerId("C-1"),
    channel=Channel.MOBILE,
    contact_version=1,
    nonce=bytes(16),
    kid="k1",
    operation=Operation.REKEY,
    spki="",
    reference="BDFG",
    digits=6,
    attempts=0,
    max_attempts=5,
    created_at=NOW,
    expires_at=NOW + timedelta(seconds=300),
    resend_at=NOW + timedelta(seconds=60),
)
REPLACED = replace(LIVE, state=ChallengeState.DEAD)


def code_of(result: Refusal | None) -> str | None:
    assert result is not None
    assert result.kind in (Kind.CODE_DEAD, Kind.WRONG_CODE)
    return result.code


def test_a_wrong_answer_says_how_many_tries_are_left() -> None:
    told = wrong_code(4)
    assert (told.kind, told.field) == (Kind.WRONG_CODE, "code")
    assert "4 more times" in str(told.public)


def test_the_last_try_is_announced_in_the_singular() -> None:
    assert "one more time" in str(wrong_code(1).public)


def test_after_four_answers_a_fifth_is_compared_and_after_five_none_whether_the_fifth_was_or_not() -> None:
    assert replace(LIVE, attempts=4).refusal(NOW) is None
    for state in (ChallengeState.LIVE, ChallengeState.DEAD):
        assert code_of(replace(LIVE, attempts=5, state=state).refusal(NOW)) == "code_blocked"


def test_a_right_code_counts_once() -> None:
    assert code_of(replace(LIVE, attempts=1, state=ChallengeState.CONSUMED).refusal(NOW)) == "code_used"


def test_a_code_lives_until_just_before_its_end_and_then_is_over_not_wrong() -> None:
    end = LIVE.expires_at
    assert LIVE.refusal(end - timedelta(microseconds=1)) is None
    told = LIVE.refusal(end)
    assert code_of(told) == code_of(replace(LIVE, state=ChallengeState.EXPIRED).refusal(NOW)) == "code_expired"
    assert told is not None
    assert "wrong" not in str(told.public)


def test_a_replaced_code_says_so() -> None:
    assert code_of(REPLACED.refusal(NOW)) == "code_replaced"


def test_the_countdown_shows_whole_seconds_and_never_less_than_zero() -> None:
    assert LIVE.remaining_s(NOW) == 300
    assert LIVE.remaining_s(NOW + timedelta(seconds=299.5)) == 0
    assert LIVE.remaining_s(NOW + timedelta(hours=1)) == 0
    assert REPLACED.remaining_s(NOW) == 0


def test_the_wait_for_another_code_is_rounded_up_and_never_less_than_zero() -> None:
    assert LIVE.resend_in_s(NOW + timedelta(seconds=0.5)) == 60
    assert LIVE.resend_in_s(NOW + timedelta(seconds=60)) == 0
    assert LIVE.resend_in_s(NOW + timedelta(hours=1)) == 0


@pytest.mark.parametrize(
    "make",
    [
        lambda: replace(LIVE, nonce=bytes(15)),
        lambda: replace(LIVE, digits=5),
        lambda: replace(LIVE, digits=11),
        lambda: replace(LIVE, max_attempts=6),
        lambda: replace(LIVE, max_attempts=0),
        lambda: replace(LIVE, attempts=6),
        lambda: replace(LIVE, expires_at=NOW),
        lambda: replace(LIVE, expires_at=NOW + timedelta(seconds=601)),
    ],
)
def test_a_challenge_outside_the_limits_of_the_rules_cannot_be_made(make: Callable[[], Challenge]) -> None:
    with pytest.raises(ValueError, match=r"must|has|allows|lives"):
        make()


@pytest.mark.parametrize(
    "typed",
    [
        "012345",
        " 012 345 ",
        "012-345",
        "０１２３４５",  # full width, as a Chinese input method types it
        "０１２　３４５",  # ideographic space
        "012－345",  # full-width hyphen
        "012–345",  # en dash
        "\u200b012345\u200e",  # invisible characters of a pasted message
        "0\t1\n2345",
        "⓪①②③④⑤",
    ],
)
def test_a_code_is_read_however_it_was_typed_and_keeps_its_leading_zero(typed: str) -> None:
    code = parse_code(typed, 6)
    assert isinstance(code, Secret)
    assert code.reveal() == "012345"


@pytest.mark.parametrize(
    ("typed", "why"),
    [
        ("", "code_empty"),
        (" - \u3000", "code_empty"),
        ("12345", "code_length"),
        ("1234567", "code_length"),
        ("1" * 2001, "code_length"),
        ("\ufdfa" * 64, "code_not_digits"),
        ("12345O", "code_not_digits"),
        ("BDFG", "code_not_digits"),
        ("١٢٣٤٥", "code_length"),
        ("一二三四五六", "code_not_digits"),
        ("111111 or 222222", "code_not_digits"),
        ("1234.56", "code_not_digits"),
        ("12345\ud800", "code_not_digits"),
        ("ㄇㄋㄎ", "code_not_digits"),
    ],
)
def test_what_is_no_code_is_answered_with_a_hint_that_costs_nothing(typed: str, why: str) -> None:
    told = parse_code(typed, 6)
    assert isinstance(told, Refusal)
    assert (told.kind, told.field, told.code) == (Kind.MALFORMED, "code", why)


@pytest.mark.parametrize("case", CASES["cases"], ids=lambda case: case["typed"][:24] or "nothing")
def test_the_code_is_found_in_whatever_was_typed_or_pasted(case: dict[str, str | None]) -> None:
    assert case["typed"] is not None
    read = parse_code(case["typed"], CASES["digits"])
    assert (read.reveal() if isinstance(read, Secret) else None) == case["code"]


def test_who_types_letters_with_zhuyin_on_is_told_so() -> None:
    told = parse_code("ㄇㄋㄎ", 6)
    assert isinstance(told, Refusal)
    assert "Zhuyin" in str(told.public)


def test_the_hint_names_how_many_digits_were_typed() -> None:
    told = parse_code("12345", 6)
    assert isinstance(told, Refusal)
    assert str(told.public).startswith("The code has 6 digits, and you typed 5.")


def test_codes_match_only_when_every_digit_does() -> None:
    assert matches(Secret("012345"), Secret("012345"))
    assert not matches(Secret("012345"), Secret("12345"))
    assert not matches(Secret("012345"), Secret("012346"))


def test_a_reference_is_four_letters_of_an_alphabet_without_look_alikes_or_vowels() -> None:
    assert len(set(REFERENCE_ALPHABET)) == 16
    assert not set(REFERENCE_ALPHABET) & set("AEIOULQSVC0123456789")
    made = {reference(n.to_bytes(2, "big")) for n in range(65536)}
    assert len(made) == 65536
    with pytest.raises(ValueError, match="2 random bytes"):
        reference(b"x")
