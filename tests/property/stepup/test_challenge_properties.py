"""Whatever happens in whatever order, a code is compared at most five times and is right at most once."""

from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from chopmark.core.refusal import Kind, Refusal
from chopmark.core.types import ChallengeId, Channel, CustomerId, Operation, OrderId, Secret
from chopmark.stepup.challenge import Challenge, ChallengeState, parse_code

START = datetime(2026, 11, 22, 2, 0, tzinfo=UTC)


class ChallengeMachine(RuleBasedStateMachine):
    """Plays a store that keeps one challenge and answers of which several may be under way at once."""

    def __init__(self) -> None:
        super().__init__()
        self.now = START
        self.compared = 0
        self.successes = 0
        self.under_way = 0
        self.kept = Challenge(
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
            created_at=START,
            expires_at=START + timedelta(seconds=300),
            resend_at=START + timedelta(seconds=60),
        )

    @rule(seconds=st.integers(0, 120))
    def time_passes(self, seconds: int) -> None:
        self.now += timedelta(seconds=seconds)

    @rule()
    def an_answer_is_charged(self) -> None:
        ended = self.kept.state is not ChallengeState.LIVE or self.now >= self.kept.expires_at
        result = self.kept.charge(self.now)
        if isinstance(result, Refusal):
            assert ended or self.compared == 5
            assert result.kind is Kind.CODE_DEAD
        else:
            assert not ended
            self.kept, self.compared, self.under_way = result, self.compared + 1, self.under_way + 1

    @rule(right=st.booleans())
    def an_answer_under_way_is_compared(self, right: bool) -> None:
        if self.under_way == 0:
            return
        self.under_way -= 1
        if right:
            result = self.kept.consume(self.now)
            if isinstance(result, Challenge):
                self.kept, self.successes = result, self.successes + 1
                assert self.now < self.kept.expires_at
        else:
            self.kept, told = self.kept.wrong(self.now)
            assert told.kind in (Kind.WRONG_CODE, Kind.CODE_DEAD)

    @rule()
    def a_newer_code_is_sent(self) -> None:
        self.kept = self.kept.supersede()

    @invariant()
    def at_most_five_comparisons_and_one_success(self) -> None:
        assert self.compared <= 5
        assert self.successes <= 1
        assert self.kept.attempts == self.compared
        assert (self.successes == 1) is (self.kept.state is ChallengeState.CONSUMED)

    @invariant()
    def what_may_not_be_answered_shows_no_time_left(self) -> None:
        if self.kept.state is not ChallengeState.LIVE or self.now >= self.kept.expires_at:
            assert self.kept.remaining_s(self.now) == 0
            assert self.kept.refusal(self.now) is not None


TestChallengeMachine = ChallengeMachine.TestCase


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
