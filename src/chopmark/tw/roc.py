"""Birth dates in the calendar of the Republic of China: reading what people type, and writing both calendars.

ROC year n is n + 1911, 民國前 n is 1912 - n, and there is no year 0 between them. Only the Gregorian
date is kept; leap years follow the Gregorian year.
"""

import re
from calendar import monthrange
from dataclasses import dataclass
from datetime import date
from typing import Final, Literal

from chopmark.core.refusal import Refusal
from chopmark.core.types import Text, text
from chopmark.tw.chinese_number import chinese_number
from chopmark.tw.malformed import malformed
from chopmark.tw.text import compact, fold

Field = Literal["year", "month", "day"]
Lang = Literal["zh", "en"]

OLDEST: Final = 120
"""The highest age, in years, that a birth date may result in."""
ADULT: Final = 18
"""Years: who is younger needs a guardian (Civil Code art. 12, since 2023-01-01)."""

_ROC_EPOCH: Final = 1911
_WESTERN_FROM: Final = 1900
_PREFIX: Final = re.compile(
    r"\s*(?:(?P<before_en>before\s+ROC)|ROC|(?:中華)?民國(?P<before>前)?|(?P<short>前))\s*", re.IGNORECASE
)
_BETWEEN: Final = re.compile(r"\s*[年月/.\-]\s*|\s+")
_UNRUN: Final = {8: ((4, 6),), 7: ((3, 5),), 6: ((2, 4), (3, 4), (3, 5))}
"""How digits typed without separators may be divided, by their number; the usual way first."""
_EMPTY: Final[dict[Field, Text]] = {
    "year": text("Enter the year of birth."),
    "month": text("Enter the month of birth."),
    "day": text("Enter the day of birth."),
}
_NOT_A_NUMBER: Final[dict[Field, Text]] = {
    "year": text("The year of birth is not a number. Type it with the digits 0 to 9."),
    "month": text("The month of birth is not a number. Type it with the digits 0 to 9."),
    "day": text("The day of birth is not a number. Type it with the digits 0 to 9."),
}
_TAILS: Final[dict[Field, str]] = {"year": "年", "month": "月", "day": "日號"}


@dataclass(frozen=True, slots=True)
class RocReading:
    """A birth date that was understood: the Gregorian date, and whether the person is under 18 today."""

    value: date
    minor: bool


def parse_roc_date(written: str, *, before_roc: bool = False, today: date) -> RocReading | Refusal:
    """Return the date that a text means, or why it is none.

    Understood: 90/7/15, 090-07-15, 0900715, 民國90年7月15日, 民國九十年七月十五日, in full width too.
    民國前 in the text counts as `before_roc`. Six digits are refused where they can be cut into two
    dates of this calendar. `today` is the date in Taiwan. `field` of a refusal is year, month or
    day, or None where the whole text is meant.
    """
    plain = fold(written)
    if not plain:
        return _no("empty", text("Enter the date of birth."), None)
    prefix = _PREFIX.match(plain)
    rest = plain[prefix.end() :] if prefix else plain
    before = before_roc or bool(prefix and (prefix["before"] or prefix["before_en"] or prefix["short"]))
    if re.fullmatch(r"[0-9]+", rest):
        return _run_together(rest, before_roc=before, today=today)
    parts = _BETWEEN.split(rest.rstrip("日號 "))
    if not 2 <= len(parts) <= 3:
        return _form()
    year, month, day = (*parts, "")[:3]
    return roc_date(year, month, day, before_roc=before, today=today)


def roc_date(year: str, month: str, day: str, *, before_roc: bool, today: date) -> RocReading | Refusal:
    """Return the date in three fields, or the first thing that is wrong and its field.

    Each field may hold digits (in full width and of any script too) or a Chinese number. `today` is the date in Taiwan.
    """
    numbers: list[int] = []
    typed: tuple[tuple[Field, str], ...] = (("year", year), ("month", month), ("day", day))
    for field, raw in typed:
        number = _number(field, raw)
        if isinstance(number, Refusal):
            return number
        numbers.append(number)
    gregorian = _gregorian_year(numbers[0], before_roc=before_roc, today=today)
    if isinstance(gregorian, Refusal):
        return gregorian
    return _reading(gregorian, numbers[1], numbers[2], today)


def format_roc(day: date, lang: Lang) -> str:
    """Return `民國 90 年 7 月 15 日` or `ROC 90-07-15`; before 1912 民國前 or `before ROC`."""
    before = day.year <= _ROC_EPOCH
    year = _ROC_EPOCH + 1 - day.year if before else day.year - _ROC_EPOCH
    if lang == "zh":
        return f"{'民國前' if before else '民國'} {year} 年 {day.month} 月 {day.day} 日"
    return f"{'before ROC' if before else 'ROC'} {year}-{day.month:02d}-{day.day:02d}"


def _run_together(digits: str, *, before_roc: bool, today: date) -> RocReading | Refusal:
    """Return the one date that digits without separators can mean; refuse none and two."""
    answers = [
        roc_date(digits[:first], digits[first:second], digits[second:], before_roc=before_roc, today=today)
        for first, second in _UNRUN.get(len(digits), ())
    ]
    readings = [answer for answer in answers if isinstance(answer, RocReading)]
    if len(readings) > 1:
        return _no(
            "ambiguous",
            text("This date can be read in two ways. Write the year with three digits, or put / between the parts."),
            None,
        )
    return readings[0] if readings else answers[0] if answers else _form()


def _number(field: Field, raw: str) -> int | Refusal:
    plain = compact(raw)
    if field == "year":
        plain = plain.removeprefix("中華").removeprefix("民國").removeprefix("西元")
        if plain.startswith("前"):
            return _no(
                "before_roc_unselected",
                text("For a year before the Republic, choose 民國前 and enter only the number of the year."),
                field,
            )
    plain = plain.rstrip(_TAILS[field])
    if not plain:
        return _no("empty", _EMPTY[field], field)
    if re.fullmatch(r"[0-9]{1,9}", plain):
        return int(plain)
    number = chinese_number(plain)
    return _no("not_a_number", _NOT_A_NUMBER[field], field) if number is None else number


def _gregorian_year(year: int, *, before_roc: bool, today: date) -> int | Refusal:
    if year == 0:
        return _no("year_zero", text("There is no year 0. The first year of the Republic is year 1 (1912)."), "year")
    if _WESTERN_FROM <= year <= today.year:
        return _western(year)
    gregorian = _ROC_EPOCH + 1 - year if before_roc else _ROC_EPOCH + year
    if gregorian > today.year:
        return _future()
    return _too_old() if gregorian < today.year - OLDEST - 1 else gregorian


def _western(year: int) -> Refusal:
    if year > _ROC_EPOCH:
        asked = text(
            "%(western)s is a western year. Did you mean ROC year %(roc)s?", western=str(year), roc=year - _ROC_EPOCH
        )
    else:
        asked = text(
            "%(western)s is a western year. Did you mean year %(roc)s before the Republic (民國前)?",
            western=str(year),
            roc=_ROC_EPOCH + 1 - year,
        )
    return _no("western_year", asked, "year")


def _reading(year: int, month: int, day: int, today: date) -> RocReading | Refusal:
    """Return the reading of a Gregorian year within the range of `today`, a month and a day."""
    if not 1 <= month <= 12:
        return _no("month_range", text("The month of birth is a number from 1 to 12. Check it."), "month")
    if not 1 <= day <= 31:
        return _no("day_range", text("The day of birth is a number from 1 to 31. Check it."), "day")
    last = monthrange(year, month)[1]
    if day > last:
        return _no(
            "no_such_day", text("This month had only %(last)s days. Check the day and the year.", last=last), "day"
        )
    value = date(year, month, day)
    age = today.year - year - ((today.month, today.day) < (month, day))
    if value > today:
        return _future()
    return _too_old() if age > OLDEST else RocReading(value, minor=age < ADULT)


def _form() -> Refusal:
    return _no("form", text("This is not a date. Write year, month and day, for example 90/7/15."), None)


def _future() -> Refusal:
    return _no("future", text("This date of birth lies in the future. Check the year."), "year")


def _too_old() -> Refusal:
    return _no("too_old", text("This date of birth is more than 120 years ago. Check the year."), "year")


def _no(reason: str, public: Text, field: Field | None) -> Refusal:
    return malformed(f"roc.{reason}", public, field)
