"""The days on which the Taiwan Stock Exchange trades. Pure: the caller reads the calendar file and passes its text.

Days are days in Taiwan's time zone. In a year that the calendar does not cover, only weekends count as closed, and
`standing` says so.
"""

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date, datetime, time, timedelta
from enum import StrEnum
from types import MappingProxyType
from typing import Any

from chopmark.tw.zone import TAIPEI, local_date

MARKET_OPENS = time(9, 0)
"""When the session begins (Taiwan time)."""
MARKET_CLOSES = time(13, 30)
"""When the session ends (Taiwan time)."""

_LONGEST_CLOSURE = timedelta(days=60)
"""The longest closure that a calendar may have. The longest ever was 12 days."""


class CalendarError(ValueError):
    """The calendar cannot be used; the message says which entry is wrong."""


class Standing(StrEnum):
    """How certain the calendar is about a year."""

    ANNOUNCED = "announced"
    EXPECTED = "expected"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class TradingYear:
    """One year: the days that are closed besides Saturdays and Sundays, and the Saturdays and Sundays that are open."""

    standing: Standing
    source: str
    closed: Mapping[date, str]
    open: frozenset[date]


@dataclass(frozen=True, slots=True)
class TradingCalendar:
    """The exchange's trading days, by year."""

    years: Mapping[int, TradingYear] = field(default_factory=lambda: MappingProxyType({}))

    def standing(self, day: date) -> Standing:
        """Return how certain the calendar is about this day's year.

        UNKNOWN: only its weekends are known to be closed.
        """
        year = self.years.get(day.year)
        return Standing.UNKNOWN if year is None else year.standing

    def is_trading_day(self, day: date) -> bool:
        """Tell whether the exchange trades on this day."""
        year = self.years.get(day.year)
        if year is None:
            return day.weekday() < 5
        return day in year.open or (day.weekday() < 5 and day not in year.closed)

    def why_closed(self, day: date) -> str:
        """Return the Chinese name of the holiday on this day; empty for weekends and trading days."""
        year = self.years.get(day.year)
        return "" if year is None else year.closed.get(day, "")

    def last_trading_day_before(self, day: date) -> date:
        """Return the nearest trading day that is earlier than `day`."""
        return self._nearest(day, timedelta(days=-1))

    def next_trading_day_after(self, day: date) -> date:
        """Return the nearest trading day that is later than `day`."""
        return self._nearest(day, timedelta(days=1))

    def trading_days_between(self, start: date, end: date) -> int:
        """Count the trading days from `start` until just before `end`; 0 if `end` is not later."""
        return sum(self.is_trading_day(start + timedelta(days=n)) for n in range((end - start).days))

    def last_trading_day_within(self, not_after: datetime) -> date:
        """Return the last trading day whose session begins while a certificate that ends at `not_after` is valid."""
        day = local_date(not_after)
        if self.is_trading_day(day) and opens(day) <= not_after:
            return day
        return self.last_trading_day_before(day)

    def trading_days_left(self, not_after: datetime, now: datetime) -> int:
        """Count the trading days left: those whose session is not over, and begins at `not_after` or earlier."""
        first, after = local_date(now), local_date(not_after) + timedelta(days=1)
        days = (first + timedelta(days=n) for n in range((after - first).days))
        return sum(now < closes(day) and opens(day) <= not_after for day in days if self.is_trading_day(day))

    def next_session(self, now: datetime) -> datetime:
        """Return when the exchange opens next: aware, later than `now`."""
        today = local_date(now)
        if self.is_trading_day(today) and now < opens(today):
            return opens(today)
        return opens(self.next_trading_day_after(today))

    def with_years_of(self, other: "TradingCalendar") -> "TradingCalendar":
        """Return this calendar with each year that `other` has taken from `other`."""
        return TradingCalendar(MappingProxyType({**self.years, **other.years}))

    def _nearest(self, day: date, step: timedelta) -> date:
        found = day + step
        while not self.is_trading_day(found):
            found += step
        return found


def opens(day: date) -> datetime:
    """Return when the session of a trading day begins: aware, in Taiwan's time."""
    return datetime.combine(day, MARKET_OPENS, TAIPEI)


def closes(day: date) -> datetime:
    """Return when the session of a trading day ends: aware, in Taiwan's time."""
    return datetime.combine(day, MARKET_CLOSES, TAIPEI)


def read_calendar(text: str) -> TradingCalendar:
    """Return the calendar of a TOML text with one table for each year, like `trading_days.toml`.

    Raises CalendarError.
    """
    try:
        tables = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise CalendarError(f"no TOML: {error}") from error
    return TradingCalendar(MappingProxyType({_year(name): _read_year(name, table) for name, table in tables.items()}))


def _year(name: str) -> int:
    if not (name.isascii() and name.isdecimal() and len(name) == 4):
        raise CalendarError(f"[{name}] is no year of four digits")
    return int(name)


def _read_year(name: str, table: Any) -> TradingYear:
    if not isinstance(table, dict) or set(table) != {"standing", "source", "open", "closed"}:
        raise CalendarError(f"[{name}] has standing, source, open and closed, and nothing else")
    if table["standing"] not in {Standing.ANNOUNCED.value, Standing.EXPECTED.value}:
        raise CalendarError(f"[{name}] standing is announced or expected")
    source, closed, opened = table["source"], table["closed"], table["open"]
    if not isinstance(source, str) or not source.strip():
        raise CalendarError(f"[{name}] source says where the dates come from")
    if not isinstance(closed, dict) or not all(isinstance(why, str) for why in closed.values()):
        raise CalendarError(f"[{name}.closed] has a date and its holiday on each line")
    if not isinstance(opened, list):
        raise CalendarError(f"[{name}] open is a list of dates")
    year = TradingYear(
        Standing(table["standing"]),
        source,
        MappingProxyType({_day(name, day): why for day, why in closed.items()}),
        frozenset(_day(name, day) for day in opened),
    )
    for day in year.closed:
        if day.weekday() >= 5:
            raise CalendarError(f"{day} is a Saturday or Sunday: it is closed without being named")
    for day in year.open:
        if day.weekday() < 5:
            raise CalendarError(f"{day} is neither Saturday nor Sunday: it is open without being named")
    _require_short_closures(int(name), year)
    return year


def _day(name: str, written: Any) -> date:
    try:
        day = date.fromisoformat(written)
    except (TypeError, ValueError):
        raise CalendarError(f"[{name}] {written!r} is no date such as 2026-01-01") from None
    if str(day.year) != name or day.isoformat() != written:
        raise CalendarError(f"[{name}] {written} is no date of this year, written as 2026-01-01")
    return day


def _require_short_closures(number: int, year: TradingYear) -> None:
    """Raise CalendarError if a year has a closure that is too long.

    Then somebody listed the open days as closed, and searches for the next trading day might not end.
    """
    calendar = TradingCalendar({number: year})
    day, last = date(number, 1, 1), date(number, 1, 1) - timedelta(days=1)
    while day.year == number and day < date.max:
        if calendar.is_trading_day(day):
            last = day
        elif day - last > _LONGEST_CLOSURE:
            raise CalendarError(f"[{number}] has no trading day from {last + timedelta(days=1)} to {day}")
        day += timedelta(days=1)
