"""Taiwan's calendar."""

from datetime import UTC, date, datetime, timedelta

import pytest

from chopmark.tw.zone import TAIPEI, local_date, local_midnight, minus_months, plus_months


def test_taiwan_is_eight_hours_ahead_of_utc():
    assert TAIPEI.utcoffset(None) == timedelta(hours=8)


def test_the_day_in_taiwan_begins_at_sixteen_hours_utc():
    assert local_date(datetime(2026, 3, 30, 15, 59, 59, tzinfo=UTC)) == date(2026, 3, 30)
    assert local_date(datetime(2026, 3, 30, 16, 0, 0, tzinfo=UTC)) == date(2026, 3, 31)
    assert local_midnight(date(2026, 3, 31)) == datetime(2026, 3, 30, 16, tzinfo=UTC)
    assert local_midnight(date(2026, 3, 31)).tzinfo is UTC


def test_a_moment_without_a_time_zone_is_a_bug():
    with pytest.raises(ValueError, match="without a time zone"):
        local_date(datetime(2026, 3, 30, 15, 59, 59))  # noqa: DTZ001 - that is the bug


@pytest.mark.parametrize(
    ("day", "months", "earlier"),
    [
        ("2026-03-31", 1, "2026-02-28"),
        ("2024-03-31", 1, "2024-02-29"),
        ("2026-03-28", 1, "2026-02-28"),
        ("2026-01-15", 1, "2025-12-15"),
        ("2026-01-31", 2, "2025-11-30"),
        ("2026-05-31", 12, "2025-05-31"),
    ],
)
def test_a_month_earlier_is_the_same_day_or_the_month_s_last(day: str, months: int, earlier: str):
    assert minus_months(date.fromisoformat(day), months) == date.fromisoformat(earlier)


@pytest.mark.parametrize(
    ("day", "months", "later"),
    [("2026-01-31", 1, "2026-02-28"), ("2023-12-31", 2, "2024-02-29"), ("2026-11-30", 1, "2026-12-30")],
)
def test_a_month_later_is_the_same_day_or_the_month_s_last(day: str, months: int, later: str):
    assert plus_months(date.fromisoformat(day), months) == date.fromisoformat(later)


def test_leaving_the_calendar_is_an_error():
    with pytest.raises(ValueError, match="outside the calendar"):
        minus_months(date(1, 1, 31), 1)
