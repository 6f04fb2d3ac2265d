"""What `chopmark check` says of the trading days."""

from datetime import UTC, datetime

from chopmark.app.trading_calendar import trading_calendar
from chopmark.cli.check import calendar_lines

YEARS = "trading days: 2026 announced, 2027 expected"


def test_sixty_days_before_a_year_that_is_not_announced_there_is_a_warning():
    calendar = trading_calendar(None)
    assert calendar_lines(calendar, datetime(2026, 11, 1, tzinfo=UTC)) == [YEARS]
    years, warning, _ = calendar_lines(calendar, datetime(2026, 11, 3, tzinfo=UTC))
    assert years == YEARS
    assert warning.startswith("WARNING: the exchange's trading days of 2027 are expected")
    assert "2028 are unknown" in calendar_lines(calendar, datetime(2027, 12, 1, tzinfo=UTC))[1]
