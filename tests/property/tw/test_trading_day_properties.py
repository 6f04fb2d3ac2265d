"""What holds for the trading days of every year, covered or not."""

from datetime import UTC, date, datetime, timedelta, timezone
from importlib import resources

from hypothesis import given
from hypothesis import strategies as st

from chopmark.tw.trading_days import closes, opens, read_calendar
from chopmark.tw.zone import local_date

CALENDAR = read_calendar((resources.files("chopmark.tw") / "trading_days.toml").read_text(encoding="utf-8"))
DAYS = st.dates(date(2025, 1, 1), date(2028, 12, 31))
MOMENTS = st.datetimes(datetime(2025, 1, 1), datetime(2028, 12, 31), timezones=st.just(UTC))  # noqa: DTZ001
ZONES = st.integers(-12 * 60, 14 * 60).map(lambda minutes: timezone(timedelta(minutes=minutes)))


@given(DAYS)
def test_before_and_after_are_trading_days_with_none_between(day: date):
    before, after = CALENDAR.last_trading_day_before(day), CALENDAR.next_trading_day_after(day)
    assert before < day < after
    assert CALENDAR.is_trading_day(before)
    assert CALENDAR.is_trading_day(after)
    assert CALENDAR.trading_days_between(before, after) == 1 + CALENDAR.is_trading_day(day)
    assert (after - before).days <= 13


@given(DAYS, DAYS, DAYS)
def test_counts_add_up(one: date, two: date, three: date):
    first, middle, last = sorted((one, two, three))
    count = CALENDAR.trading_days_between
    assert count(first, middle) + count(middle, last) == count(first, last)
    assert count(last, first) == 0


@given(MOMENTS, MOMENTS, ZONES)
def test_the_countdown_and_the_next_session_do_not_depend_on_the_zone_in_which_a_moment_is_written(
    now: datetime, ends: datetime, zone: timezone
):
    left = CALENDAR.trading_days_left(ends, now)
    assert CALENDAR.trading_days_left(ends.astimezone(zone), now.astimezone(zone)) == left
    assert CALENDAR.next_session(now.astimezone(zone)) == CALENDAR.next_session(now)
    assert (left > 0) == (now < closes(CALENDAR.last_trading_day_within(ends)))


@given(MOMENTS)
def test_nothing_is_left_once_the_last_session_is_over_and_one_just_before(ends: datetime):
    last = CALENDAR.last_trading_day_within(ends)
    assert opens(last) <= ends < CALENDAR.next_session(opens(last))
    assert CALENDAR.trading_days_left(ends, closes(last)) == 0
    assert CALENDAR.trading_days_left(ends, closes(last) - timedelta(seconds=1)) == 1
    assert local_date(opens(last)) == last
