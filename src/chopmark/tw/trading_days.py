"""On which days the Taiwan Stock Exchange trades. Pure: the text of the calendar comes from whoever reads the file.

The market's days are counted in Taiwan's time. A year that the calendar does not cover has only its weekends as closed
days, and `standing` says so.
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
"""When the session begins, in Taiwan."""
MARKET_CLOSES = time(13, 30)
"""When it ends."""

_LONGEST_CLOSURE = timedelta(days=60)
"""No closure in a calendar is longer; 12 days were the longest ever."""


class CalendarError(ValueError):
    """A calendar that must not be used; the message says which line is wrong."""


class Standing(StrEnum):
    """How sure the calendar is of a year."""

    ANNOUNCED = "announced"
    EXPECTED = "expected"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class TradingYear:
    """One year: what is closed beside Saturdays and Sundays, and which of those are open."""

    standing: Standing
    source: str
    closed: Mapping[date, str]
    open: frozenset[date]


@dataclass(frozen=True, slots=True)
class TradingCalendar:
    """The exchange's trading days, by year."""

    years: Mapping[int, TradingYear] = field(default_factory=lambda: MappingProxyType({}))

    def standing(self, day: date) -> Standing:
        """Say how sure the calendar is of this day's year; UNKNOWN means that only weekends are known as closed."""
        year = self.years.get(day.year)
        return Standing.UNKNOWN if year is None else year.standing

    def is_trading_day(self, day: date) -> bool:
        """Tell whether the exchange trades on this day."""
        year = self.years.get(day.year)
        if year is None:
            return day.weekday() < 5
        return day in year.open or (day.weekday() < 5 and day not in year.closed)

    def why_closed(self, day: date) -> str:
        """Return the name of the holiday, in Chinese; empty at weekends and on trading days."""
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
        """Count the trading days that a certificate has left: their session is not over, and begins by its end."""
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
    """Return the calendar in a TOML text: a table a year, as in `trading_days.toml`. Raises CalendarError."""
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
    """Refuse a year that is closed for two months: somebody has listed the open days, and searches would not end."""
    calendar = TradingCalendar({number: year})
    day, last = date(number, 1, 1), date(number, 1, 1) - timedelta(days=1)
    while day.year == number and day < date.max:
        if calendar.is_trading_day(day):
            last = day
        elif day - last > _LONGEST_CLOSURE:
            raise CalendarError(f"[{number}] has no trading day from {last + timedelta(days=1)} to {day}")
        day += timedelta(days=1)
