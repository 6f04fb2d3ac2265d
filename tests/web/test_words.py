"""Languages, sentences and dates, as customers meet them."""

from datetime import UTC, date, datetime

import pytest

from chopmark.core.types import text
from chopmark.web.i18n import (
    Bilingual,
    Lang,
    Translator,
    both_dates,
    load_catalogues,
    moment,
    negotiate,
    roc_date,
    western_date,
)

SAY = Translator(load_catalogues())


@pytest.mark.parametrize(
    ("query", "cookie", "header", "lang"),
    [
        (None, None, None, Lang.ZH_TW),
        ("en", "zh-TW", "zh-TW", Lang.EN),
        (None, "en", "zh-TW", Lang.EN),
        ("fr", None, "en-GB,en;q=0.9", Lang.EN),
        (None, None, "en;q=0.8,zh-TW;q=0.9", Lang.ZH_TW),
        (None, None, "fr-FR, ja;q=0.5", Lang.ZH_TW),
        (None, None, "en;q=0, de", Lang.ZH_TW),
        (None, None, "en;q=high", Lang.ZH_TW),
        (None, None, "zh-Hant", Lang.ZH_TW),
    ],
)
def test_the_link_wins_over_the_cookie_and_the_cookie_over_the_browser(
    query: str | None, cookie: str | None, header: str | None, lang: Lang
) -> None:
    """Chinese is what nobody has to ask for."""
    assert negotiate(query, cookie, header) is lang


def test_a_sentence_is_translated_with_the_sentences_inside_it() -> None:
    """A Text may be the value of a Text."""
    inner = text("Mobile phone")
    assert SAY.translate(text("Registered on %(date)s", date=inner), Lang.ZH_TW) == "登記日期 行動電話"
    assert SAY.translate(text("Registered on %(date)s", date=inner), Lang.EN) == "Registered on Mobile phone"


def test_a_day_inside_a_sentence_is_shown_in_both_calendars() -> None:
    """`2026-12-12` is a program's way to write a day, not a customer's."""
    said = text("Valid until %(date)s", date="2026-12-12")
    assert SAY.translate(said, Lang.ZH_TW) == "有效至 民國115年12月12日（西元2026年12月12日）"
    assert SAY.translate(said, Lang.EN) == "Valid until 12 December 2026 (ROC year 115)"


def test_an_unknown_sentence_stays_english_and_the_firms_words_are_not_looked_up() -> None:
    """A missing translation is better than no sentence."""
    assert SAY.translate("No such sentence.", Lang.ZH_TW) == "No such sentence."
    assert SAY.translate(Bilingual("甲", "A"), Lang.EN) == "A"
    assert SAY.translate("", Lang.ZH_TW) == ""


def test_a_day_is_told_as_in_taiwan_and_there_is_no_roc_year_zero() -> None:
    """1912 is ROC year 1, 1911 is one before it; half past four in the afternoon UTC is the next day."""
    assert roc_date(date(1912, 1, 1), Lang.ZH_TW) == "民國1年1月1日"
    assert roc_date(date(1911, 12, 31), Lang.ZH_TW) == "民國前1年12月31日"
    assert western_date(datetime(2026, 11, 21, 16, 30, tzinfo=UTC), Lang.ZH_TW) == "2026年11月22日"
    assert moment(datetime(2026, 11, 21, 16, 30, tzinfo=UTC), Lang.EN) == "22 November 2026 (ROC year 115) 00:30:00"


def test_a_moment_without_a_zone_is_refused() -> None:
    """It could be any of two days."""
    naive = datetime(2026, 11, 22, tzinfo=UTC).replace(tzinfo=None)
    with pytest.raises(ValueError, match="time zone"):
        both_dates(naive, Lang.EN)
