"""Rate limits in memory: counted by name within a window, all of a call or none, and a bounded number of names."""

from datetime import UTC, datetime, timedelta

import pytest

from chopmark.limits.crowd import Crowd
from chopmark.limits.rate_limits import A_YEAR, RateLimit

NOW = datetime(2026, 3, 31, 4, 0, tzinfo=UTC)
MINUTE = timedelta(minutes=1)


def limit(name: str = "a", most: int = 2, window: timedelta = MINUTE) -> RateLimit:
    return RateLimit(name, most, window)


def test_so_many_are_let_in_within_a_window_and_the_next_is_told_when_it_ends() -> None:
    crowd = Crowd()
    assert [crowd.take((limit(),), NOW + timedelta(seconds=each)) for each in (0, 20, 30)] == [0, 0, 30]
    assert crowd.take((limit(),), NOW + timedelta(seconds=59.5)) == 1
    assert crowd.take((limit(),), NOW + MINUTE) == 0
    assert [crowd.take((limit(),), NOW + MINUTE + timedelta(seconds=1)) for _ in range(2)] == [0, 59]


def test_a_second_that_has_begun_is_waited_for() -> None:
    crowd = Crowd()
    crowd.take((limit(most=1),), NOW)
    assert crowd.take((limit(most=1),), NOW + timedelta(seconds=29.5)) == 31


def test_a_window_that_begins_in_the_future_is_none() -> None:
    crowd = Crowd()
    assert crowd.take((limit(most=1),), NOW + timedelta(hours=1)) == 0
    assert crowd.take((limit(most=1),), NOW) == 0


def test_where_one_limit_is_used_up_none_is_charged() -> None:
    crowd = Crowd()
    both = limit("wide", 3), limit("narrow", 1)
    assert crowd.take(both, NOW) == 0
    assert [crowd.take(both, NOW) for _ in range(3)] == [60] * 3
    assert [crowd.take((limit("wide", 3),), NOW) for _ in range(3)] == [0, 0, 60]


def test_of_too_many_names_the_one_that_was_used_longest_ago_is_dropped() -> None:
    crowd = Crowd(most_names=2)
    for name in ("a", "b", "a", "c"):
        crowd.take((limit(name, 2),), NOW)
    assert crowd.take((limit("a", 2),), NOW) == 60, "it was used again, and is kept"
    assert crowd.take((limit("b", 1),), NOW) == 0, "it was forgotten"


@pytest.mark.parametrize(
    ("name", "window", "fits"),
    [
        ("a", timedelta(days=1), True),
        ("a", timedelta(days=1, seconds=1), False),
        (f"a{A_YEAR}", timedelta(days=365), True),
        (f"a{A_YEAR}", timedelta(days=366), False),
    ],
)
def test_a_window_is_no_longer_than_its_counter_is_kept(name: str, window: timedelta, fits: bool) -> None:
    if fits:
        assert RateLimit(name, 1, window).window == window
        return
    with pytest.raises(ValueError, match="longer than its counter is kept"):
        RateLimit(name, 1, window)
