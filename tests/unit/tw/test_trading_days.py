"""The exchange's trading days.

Expected values come from the exchange's announcement for 2026 (29 October 2025) and, for 2027, from the government's
office calendar with the exchange's practice of two days of settlement before Lunar New Year.
"""

from datetime import UTC, date, datetime, timedelta
from importlib import resources

import pytest

from chopmark.tw.trading_days import CalendarError, Standing, TradingCalendar, opens, read_calendar

SHIPPED = read_calendar((resources.files("chopmark.tw") / "trading_days.toml").read_text(encoding="utf-8"))
YEAR = '[2030]\nstanding = "expected"\nsource = "a test"\n'


def day(written: str) -> date:
    return date.fromisoformat(written)


def at(written: str) -> datetime:
    """A moment in Taiwan."""
    return datetime.fromisoformat(written + "+08:00")


def test_a_week_without_holidays_trades_from_monday_to_friday():
    week = [day("2026-11-30") + timedelta(days=n) for n in range(7)]
    assert [SHIPPED.is_trading_day(one) for one in week] == [True] * 5 + [False] * 2


@pytest.mark.parametrize(
    ("last", "first"),
    [
        (
            "2026-02-11",
            "2026-02-23",
        ),  # the exchange: last day of the snake on 11 February, first of the horse on the 23rd
        ("2027-02-01", "2027-02-11"),  # expected
        ("2025-12-31", "2026-01-02"),
        ("2026-12-31", "2027-01-04"),
        ("2027-12-30", "2028-01-03"),  # 1 January 2028 is a Saturday: its holiday is Friday the 31st
        ("2026-04-02", "2026-04-07"),
        ("2026-09-24", "2026-09-29"),
        ("2027-04-02", "2027-04-07"),
    ],
)
def test_holidays_separate_the_last_trading_day_before_from_the_first_after(last: str, first: str):
    assert SHIPPED.next_trading_day_after(day(last)) == day(first)
    assert SHIPPED.last_trading_day_before(day(first)) == day(last)
    assert SHIPPED.trading_days_between(day(last) + timedelta(days=1), day(first)) == 0


def test_the_two_days_before_lunar_new_year_only_settle():
    assert SHIPPED.why_closed(day("2026-02-12")) == "市場無交易，僅辦理結算交割作業"
    assert not SHIPPED.is_trading_day(day("2026-02-13"))


def test_a_year_has_as_many_trading_days_as_weekdays_less_holidays():
    # 2026: 261 weekdays less the 18 that the exchange announced; 2027: 261 less 19.
    assert SHIPPED.trading_days_between(day("2026-01-01"), day("2027-01-01")) == 243
    assert SHIPPED.trading_days_between(day("2027-01-01"), day("2028-01-01")) == 242


def test_the_calendar_says_how_sure_it_is_and_knows_only_weekends_outside_its_years():
    assert SHIPPED.standing(day("2026-06-01")) is Standing.ANNOUNCED
    assert SHIPPED.standing(day("2027-06-01")) is Standing.EXPECTED
    assert SHIPPED.standing(day("2028-06-01")) is Standing.UNKNOWN
    assert SHIPPED.is_trading_day(day("2028-10-10")), "a Tuesday, a holiday that an uncovered year does not know"
    assert not SHIPPED.is_trading_day(day("2028-10-14"))


@pytest.mark.parametrize(
    ("ends", "last"),
    [
        ("2026-12-04T15:00:00", "2026-12-04"),
        ("2026-12-04T09:00:00", "2026-12-04"),
        ("2026-12-04T08:59:59", "2026-12-03"),
        ("2026-12-06T23:59:59", "2026-12-04"),
        ("2027-02-10T23:59:59", "2027-02-01"),
        ("2027-01-01T05:00:00", "2026-12-31"),
    ],
)
def test_the_last_trading_day_of_a_certificate_is_the_last_session_that_begins_while_it_is_valid(ends: str, last: str):
    assert SHIPPED.last_trading_day_within(at(ends)) == day(last)
    assert SHIPPED.last_trading_day_within(at(ends).astimezone(UTC)) == day(last)


def test_a_countdown_counts_the_sessions_that_are_not_over():
    ends = at("2026-12-04T15:00:00")  # a Friday
    assert SHIPPED.trading_days_left(ends, at("2026-12-02T08:00:00")) == 3
    assert SHIPPED.trading_days_left(ends, at("2026-12-02T13:29:59")) == 3
    assert SHIPPED.trading_days_left(ends, at("2026-12-02T13:30:00")) == 2, "the session of today is over"
    assert SHIPPED.trading_days_left(ends, at("2026-12-04T14:00:00")) == 0
    assert SHIPPED.trading_days_left(at("2026-12-04T08:00:00"), at("2026-12-04T07:00:00")) == 0, "it ends before nine"
    assert SHIPPED.trading_days_left(ends, at("2026-12-20T08:00:00")) == 0


def test_the_next_session_is_today_until_nine_and_then_that_of_the_next_trading_day():
    assert SHIPPED.next_session(at("2026-12-31T08:59:59")) == at("2026-12-31T09:00:00")
    assert SHIPPED.next_session(at("2026-12-31T09:00:00")) == at("2027-01-04T09:00:00")
    assert opens(day("2026-07-01")).utcoffset() == opens(day("2026-12-31")).utcoffset() == timedelta(hours=8)


def test_a_firm_s_year_replaces_the_shipped_one_and_other_years_stay():
    own = read_calendar(
        '[2027]\nstanding = "announced"\nsource = "the exchange"\nopen = ["2027-01-16"]\n'
        '[2027.closed]\n"2027-01-29" = "市場無交易"\n'
    )
    merged = SHIPPED.with_years_of(own)
    assert merged.is_trading_day(day("2027-01-16")), "a Saturday on which the exchange trades"
    assert not merged.is_trading_day(day("2027-01-29"))
    assert merged.is_trading_day(day("2027-02-02"))
    assert merged.standing(day("2027-02-02")) is Standing.ANNOUNCED
    assert not merged.is_trading_day(day("2026-02-12"))


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("[20x6]\n", "no year of four digits"),
        ("closed", "no TOML"),
        ("[2030]\n", "standing, source, open and closed"),
        ("2030 = 1\n", "standing, source, open and closed"),
        (YEAR.replace("expected", "perhaps") + "open = []\n[2030.closed]\n", "announced or expected"),
        (YEAR.replace("a test", " ") + "open = []\n[2030.closed]\n", "where the dates come from"),
        (YEAR + 'open = []\n[2030.closed]\n"2030-01-05" = "x"\n', "Saturday or Sunday"),
        (YEAR + 'open = ["2030-01-04"]\n[2030.closed]\n', "neither Saturday nor Sunday"),
        (YEAR + 'open = []\n[2030.closed]\n"2031-01-01" = "x"\n', "no date of this year"),
        (YEAR + 'open = []\n[2030.closed]\n"20300101" = "x"\n', "no date of this year"),
        (YEAR + 'open = []\n[2030.closed]\n"1/1" = "x"\n', "no date such as"),
        (YEAR + "open = [1]\n[2030.closed]\n", "no date such as"),
        (YEAR + 'open = "2030-01-05"\n[2030.closed]\n', "list of dates"),
        (YEAR + 'open = []\n[2030.closed]\n"2030-01-01" = 1\n', "its holiday on each line"),
    ],
)
def test_a_calendar_with_a_mistake_is_refused_with_the_place_of_it(text: str, complaint: str):
    with pytest.raises(CalendarError, match=complaint):
        read_calendar(text)


def test_a_list_of_open_days_given_as_closed_days_is_refused():
    days = (day("2030-01-01") + timedelta(days=n) for n in range(365))
    lines = "".join(f'"{one}" = "x"\n' for one in days if one.weekday() < 5)
    with pytest.raises(CalendarError, match="no trading day from 2030-01-01"):
        read_calendar(YEAR + "open = []\n[2030.closed]\n" + lines)


def test_an_empty_calendar_knows_weekends():
    assert TradingCalendar().next_trading_day_after(day("2026-12-04")) == day("2026-12-07")
