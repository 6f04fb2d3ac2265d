"""When an answer may be compared, and what a typed code is read as, whatever was typed."""

from dataclasses import replace
from datetime import timedelta

from hypothesis import given
from hypothesis import strategies as st

from chopmark.core.refusal import Kind
from chopmark.core.types import Secret
from chopmark.stepup.challenge import ChallengeState, parse_code
from tests.unit.stepup.test_challenge import LIVE, NOW


@given(st.sampled_from(ChallengeState), st.integers(0, 5), st.integers(0, 600))
def test_an_answer_is_compared_while_the_code_lives_and_has_a_try_left_and_what_ended_shows_no_time(
    state: ChallengeState, attempts: int, seconds: int
) -> None:
    now, challenge = NOW + timedelta(seconds=seconds), replace(LIVE, state=state, attempts=attempts)
    lives = state is ChallengeState.LIVE and seconds < 300
    assert (challenge.refusal(now) is None) is (lives and attempts < 5)
    assert challenge.remaining_s(now) == (300 - seconds if lives else 0)


@given(st.text(max_size=80), st.integers(6, 10))
def test_any_text_is_either_exactly_the_digits_or_a_hint(raw: str, digits: int) -> None:
    read = parse_code(raw, digits)
    if isinstance(read, Secret):
        assert len(read.reveal()) == digits
        assert set(read.reveal()) <= set("0123456789")
    else:
        assert read.kind is Kind.MALFORMED
        assert read.field == "code"


@given(st.from_regex(r"[0-9]{6}", fullmatch=True), st.lists(st.sampled_from(" -\u3000\u200b－\t"), max_size=7))
def test_spaces_hyphens_and_full_width_never_change_the_digits(code: str, noise: list[str]) -> None:
    wide = "".join(chr(ord(c) + 0xFEE0) for c in code)
    read = parse_code("".join(a + b for a, b in zip(wide, [*noise, *[""] * 6], strict=False)), 6)
    assert isinstance(read, Secret)
    assert read.reveal() == code
