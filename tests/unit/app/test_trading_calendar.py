"""The trading days of the settings: shipped years, and the firm's file over them."""

from datetime import date
from pathlib import Path

import pytest

from chopmark.app.secrets import NotReady
from chopmark.app.trading_calendar import trading_calendar


def test_without_a_file_the_shipped_years_count() -> None:
    assert sorted(trading_calendar(None).years) == [2026, 2027]


def test_a_file_of_the_firm_s_replaces_the_years_that_it_has(tmp_path: Path) -> None:
    own = tmp_path / "days.toml"
    own.write_text('[2028]\nstanding = "announced"\nsource = "x"\nopen = []\n[2028.closed]\n"2028-01-03" = "x"\n')
    calendar = trading_calendar(own)
    assert sorted(calendar.years) == [2026, 2027, 2028]
    assert not calendar.is_trading_day(date(2028, 1, 3))
    assert not calendar.is_trading_day(date(2026, 2, 12))


@pytest.mark.parametrize("content", [None, b"\xff", b"[2028]\n"])
def test_a_file_that_cannot_be_read_keeps_the_counter_from_starting(tmp_path: Path, content: bytes | None) -> None:
    own = tmp_path / "days.toml"
    if content is not None:
        own.write_bytes(content)
    with pytest.raises(NotReady, match=r"trading_days: .*days\.toml"):
        trading_calendar(own)
