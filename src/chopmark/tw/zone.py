"""Dates in Taiwan's time zone, and adding and subtracting calendar months."""

from calendar import monthrange
from datetime import UTC, date, datetime, time, timedelta, timezone

TAIPEI: timezone = timezone(timedelta(hours=8), "Asia/Taipei")
"""UTC+08:00, all year; no summer time since 1979."""


def local_date(moment: datetime) -> date:
    """Return the day it is in Taiwan at an aware moment; raises ValueError for a naive one."""
    if moment.utcoffset() is None:
        raise ValueError("a moment without a time zone has no local date")
    return moment.astimezone(TAIPEI).date()


def local_midnight(day: date) -> datetime:
    """Return the moment a day begins in Taiwan: aware UTC, whole seconds."""
    return datetime.combine(day, time(), TAIPEI).astimezone(UTC)


def plus_months(day: date, months: int) -> date:
    """Return the same day of the month, `months` later; the month's last day where there is no such day.

    31 January and one month make 28 or 29 February. Raises ValueError outside the years 1 to 9999.
    """
    year, month0 = divmod(day.year * 12 + day.month - 1 + months, 12)
    if not 1 <= year <= 9999:
        raise ValueError(f"{day} and {months} months is outside the calendar")
    return date(year, month0 + 1, min(day.day, monthrange(year, month0 + 1)[1]))


def minus_months(day: date, months: int) -> date:
    """Return the same day of the month, `months` earlier: 31 March less one month is 28 or 29 February."""
    return plus_months(day, -months)
