"""Translate pages into the customer's language, write dates in both calendars, and negotiate the language."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, datetime
from enum import StrEnum
from functools import lru_cache
from importlib import resources
from io import BytesIO

from babel.messages.mofile import write_mo
from babel.messages.pofile import read_po
from babel.support import Translations

from chopmark.core.types import Text
from chopmark.tw.zone import TAIPEI

_ISO_DAY = re.compile(r"[12]\d{3}-(0[1-9]|1[0-2])-([0-2]\d|3[01])")
_MONTHS = ("January February March April May June July August September October November December").split()


class Lang(StrEnum):
    """A language of the portal, as it stands in `?lang=` and in the cookie."""

    ZH_TW = "zh-TW"
    EN = "en"

    @property
    def html(self) -> str:
        """The value of the page's `lang` attribute (BCP 47)."""
        return "zh-Hant-TW" if self is Lang.ZH_TW else "en"

    @property
    def own_name(self) -> str:
        """The language's name in itself."""
        return "中文" if self is Lang.ZH_TW else "English"


_LANGS = frozenset(Lang)
_LONGEST_WISH = 200


@dataclass(frozen=True, slots=True)
class Bilingual:
    """Words of the firm in both languages; they come from settings, not from the catalogue."""

    zh: str
    en: str

    def to(self, lang: Lang) -> str:
        """Return the words in that language."""
        return self.zh if lang is Lang.ZH_TW else self.en


def load_catalogues() -> Mapping[Lang, Translations]:
    """Return both catalogues, read from `web/locale/*.po`; the message ids are English."""
    files = {Lang.ZH_TW: "zh_TW.po", Lang.EN: "en.po"}
    return {lang: _read(name) for lang, name in files.items()}


def _read(name: str) -> Translations:
    source = resources.files("chopmark.web").joinpath("locale", name)
    with source.open("rb") as stream:
        catalogue = read_po(stream)
    compiled = BytesIO()
    write_mo(compiled, catalogue)
    compiled.seek(0)
    return Translations(fp=compiled, domain="messages")


class Translator:
    """Translates sentences; made once at start, and safe to share between requests."""

    def __init__(self, catalogues: Mapping[Lang, Translations]) -> None:
        self.catalogues = catalogues

    def translate(self, said: Text | str | Bilingual, lang: Lang) -> str:
        """Return the sentence in `lang`; values that are themselves Text are translated first.

        A value that is a day written `2026-11-22` is shown in both calendars.

        A plain str is taken as a message id without values; one that the catalogue lacks stays English.
        """
        if isinstance(said, Bilingual):
            return said.to(lang)
        if isinstance(said, str):
            return self.catalogues[lang].gettext(said) if said else ""
        pattern: str = self.catalogues[lang].gettext(said.msgid)
        if not said.values:
            return pattern
        return pattern % {name: self._value(value, lang) for name, value in said.values}

    def _value(self, value: str | int | Text, lang: Lang) -> str:
        if isinstance(value, Text):
            return self.translate(value, lang)
        if isinstance(value, str) and _ISO_DAY.fullmatch(value):
            return both_dates(date.fromisoformat(value), lang)
        return str(value)


def negotiate(query: str | None, cookie: str | None, accept_language: str | None) -> Lang:
    """Return the language to answer in: the link just pressed, else the cookie, else the browser's wish.

    zh-TW comes first: an unknown or absent wish is zh-TW, and English is chosen only when it is asked
    for before any Chinese (RFC 9110 s.12.5.4).
    """
    for wish in (query, cookie):
        if wish in _LANGS:
            return Lang(wish)
    return _browser_wish((accept_language or "")[:_LONGEST_WISH])


@lru_cache(maxsize=256)
def _browser_wish(header: str) -> Lang:
    ranked: list[tuple[float, int, Lang]] = []
    for place, item in enumerate(header.split(",")[:20]):
        tag, _, parameter = item.strip().partition(";")
        primary = tag.strip().lower().split("-")[0]
        lang = {"zh": Lang.ZH_TW, "en": Lang.EN}.get(primary)
        weight = _weight(parameter)
        if lang is not None and weight > 0:
            ranked.append((-weight, place, lang))
    return min(ranked)[2] if ranked else Lang.ZH_TW


def _weight(parameter: str) -> float:
    name, _, value = parameter.strip().partition("=")
    if name.strip().lower() != "q":
        return 1.0
    try:
        return min(max(float(value), 0.0), 1.0)
    except ValueError:
        return 0.0


def roc_year(year: int, lang: Lang) -> str:
    """Return a western year as ROC: 民國115年, and 民國前1年 for 1911 (there is no ROC year 0)."""
    before, number = year < 1912, year - 1911 if year >= 1912 else 1912 - year
    if lang is Lang.ZH_TW:
        return f"民國{'前' if before else ''}{number}年"
    return f"ROC year {number}" if not before else f"{number} before ROC"


def _day(value: date | datetime) -> date:
    if isinstance(value, datetime):
        if value.utcoffset() is None:
            raise ValueError("a moment without a time zone has no local date")
        return value.astimezone(TAIPEI).date()
    return value


def roc_date(value: date | datetime, lang: Lang) -> str:
    """Return the day in Taiwan in the ROC calendar: 民國115年11月22日."""
    day = _day(value)
    if lang is Lang.ZH_TW:
        return f"{roc_year(day.year, lang)}{day.month}月{day.day}日"
    return f"{roc_year(day.year, lang)}, {_MONTHS[day.month - 1]} {day.day}"


def western_date(value: date | datetime, lang: Lang) -> str:
    """Return the day in Taiwan in the western calendar: 2026年11月22日, 22 November 2026."""
    day = _day(value)
    if lang is Lang.ZH_TW:
        return f"{day.year}年{day.month}月{day.day}日"
    return f"{day.day} {_MONTHS[day.month - 1]} {day.year}"


def both_dates(value: date | datetime, lang: Lang) -> str:
    """Return the day in both calendars, the customer's usual one first."""
    day = _day(value)
    if lang is Lang.ZH_TW:
        return f"{roc_date(day, lang)}（西元{western_date(day, lang)}）"
    return f"{western_date(day, lang)} ({roc_year(day.year, lang)})"


def clock_time(value: datetime) -> str:
    """Return the time of day in Taiwan: 14:05:09."""
    if value.utcoffset() is None:
        raise ValueError("a moment without a time zone has no local time")
    return value.astimezone(TAIPEI).strftime("%H:%M:%S")


def moment(value: datetime, lang: Lang) -> str:
    """Return the day in both calendars and the time, in Taiwan."""
    return f"{both_dates(value, lang)} {clock_time(value)}"
