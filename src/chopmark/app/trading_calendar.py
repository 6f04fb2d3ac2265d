"""The exchange's trading days: those of this release; the years of the firm's own file replace its years."""

from functools import cache
from importlib import resources
from pathlib import Path

from chopmark.app.secrets import NotReady
from chopmark.tw.trading_days import CalendarError, TradingCalendar, read_calendar


def trading_calendar(own: Path | None) -> TradingCalendar:
    """Return the shipped calendar, each year of the file `own` replacing the shipped one. Raises NotReady."""
    if own is None:
        return _shipped()
    try:
        return _shipped().with_years_of(read_calendar(own.read_text(encoding="utf-8")))
    except (OSError, UnicodeDecodeError, CalendarError) as error:
        raise NotReady(f"trading_days: {own}: {error}") from error


@cache
def _shipped() -> TradingCalendar:
    return read_calendar((resources.files("chopmark.tw") / "trading_days.toml").read_text(encoding="utf-8"))
