"""What spreadsheets do to cells: remove the signs that protect a value, and report values that a program has destroyed.

The sentences name Excel because people know it; LibreOffice, Numbers and Google Sheets do the same.
"""

import re
import unicodedata
from datetime import date
from enum import StrEnum
from typing import Final

from chopmark.core.refusal import Kind, Refusal
from chopmark.core.types import Text, text
from chopmark.ra.customer_import.decoding import made_octets
from chopmark.tw.roc import parse_roc_date, roc_date
from chopmark.tw.text import fold, trim


class Dates(StrEnum):
    """Which calendar the importer says an ambiguous date of the sheet is in; with PLAIN ambiguous dates are refused."""

    PLAIN = "plain"
    ROC = "roc"
    WESTERN = "western"


_GUARD: Final = re.compile(r'="((?:[^"]|"")*)"')
_SHORTENED: Final = re.compile(r"[+-]?[0-9]+(?:[.,][0-9]+)?[Ee][+-][0-9]+")
_HASHES: Final = re.compile(r"#{2,}|#(?:N/A|REF!|VALUE!|NAME\?|DIV/0!|NUM!|NULL!|SPILL!|CALC!)")
_DECIMAL: Final = re.compile(r"([0-9]{8,})\.0+")
_MIDNIGHT: Final = re.compile(r"(?:T|\s+)(?:上午\s*|AM\s*)?(?:0?0|12):00(?::00(?:\.0+)?)?(?:\s*AM|Z)?$", re.IGNORECASE)
_ISO: Final = re.compile(r"((?:18|19|20)[0-9]{2})(?:-([0-9]{2})-([0-9]{2})|([0-9]{2})([0-9]{2}))")
_WESTERN: Final = re.compile(r"((?:18|19|20)[0-9]{2})\s*[年/.\- ]\s*([0-9]{1,2})\s*[月/.\- ]\s*([0-9]{1,2})\s*日?")
_SHORT_YEAR: Final = re.compile(r"[0-9]{1,2}\s*[年/.\- ]\s*[0-9]{1,2}\s*[月/.\- ]\s*[0-9]{1,2}\s*[日號]?|[0-9]{6}")
_TURNED_ROUND: Final = re.compile(
    r"[0-9]{1,2}[/.\-][0-9]{1,2}[/.\-](?:18|19|20)[0-9]{2}|(?:[0-9]{1,2}[- ])?[A-Za-z]{3,9}[- ,.]+[0-9]{2,4}"
    r"|[A-Za-z]{3,9} [0-9]{1,2}, [0-9]{4}|[0-9]{5}(?:\.[0-9]+)?"
)
_MADE_FROM_TWO_DIGITS: Final = range(1930, 2050)
"""Western years that a spreadsheet may have made of two digits; where the century changes differs between releases."""


def unguarded(cell: str) -> str:
    """Return the cell without signs that keep spreadsheets from changing it: `="0912…"`, or an apostrophe in front."""
    plain = trim(cell)
    if guarded := _GUARD.fullmatch(plain):
        return trim(guarded[1].replace('""', '"'))
    if plain.startswith("'") and not plain.endswith("'"):
        return trim(plain[1:])
    return plain


def spoiled(cell: str) -> tuple[str, Text] | None:
    """Return the fault's code and sentence for a value that a program has destroyed; None for any other value."""
    if _SHORTENED.fullmatch(cell):
        return "excel.shortened", text(
            "Excel has shortened this number, and its last digits are lost. Export the sheet again, and open it in "
            "Excel only by Data, From Text/CSV, with this column as Text."
        )
    if _HASHES.fullmatch(cell):
        return "excel.hashes", text(
            "Excel has written signs in place of the value: the column was too narrow, or a formula failed. Export "
            "the sheet again."
        )
    if private := [character for character in cell if unicodedata.category(character) == "Co"]:
        octets = made_octets(private[0])
        named = f"U+{ord(private[0]):04X}" + (f", {octets} in Big5" if octets else "")
        return "made", text(
            "This has a character that somebody's computer was taught (造字: %(character)s), and no other computer "
            "knows it. Look the character up in CNS 11643 (全字庫), write it in Unicode, and save as CSV UTF-8.",
            character=named,
        )
    if _DECIMAL.fullmatch(cell):
        return "excel.decimal", text(
            "A program has taken this for an amount and added a decimal point. Export the sheet again, with this "
            "column as Text."
        )
    return None


def zero_lost(cell: str) -> Text | None:
    """Return the sentence for a mobile or company number that has lost its leading 0; None for any other cell."""
    if re.fullmatch(r"9[0-9]{8}|[0-9]{7}", cell):
        return text(
            "Excel has taken the 0 in front of this number away. Export the sheet again, and open it in Excel only by "
            "Data, From Text/CSV, with this column as Text."
        )
    return None


def read_date(raw: str, today: date, dates: Dates, *, of_birth: bool = True) -> date | Refusal:
    """Return the day that a cell means, or a refusal where it is no date or an ambiguous one.

    Always read: 1960-07-15, 19600715, 民國49年7月15日, 049/07/15. 49/7/15 is read only if `dates` is ROC, and 1960/7/15
    only if it is WESTERN: Excel turns 49/7/15 into 1949/7/15, and afterwards nobody can tell which was meant. If
    `of_birth` is False the date is a recent one, so its western year is never ambiguous.
    """
    plain = _MIDNIGHT.sub("", fold(raw)) if ":" in raw else fold(raw)
    if iso := _ISO.fullmatch(plain):
        return _western(iso[1], iso[2] or iso[4], iso[3] or iso[5], today)
    if western := _WESTERN.fullmatch(plain):
        mistakable = of_birth and int(western[1]) in _MADE_FROM_TWO_DIGITS
        if mistakable and dates is not Dates.WESTERN:
            return _no("century", _CHANGED)
        return _western(western[1], western[2], western[3], today)
    if _TURNED_ROUND.fullmatch(plain):
        return _no("date", _TURNED)
    if _SHORT_YEAR.fullmatch(plain) and dates is not Dates.ROC:
        return _no("two_digits", _TWO_DIGITS)
    read = parse_roc_date(plain, today=today)
    return read if isinstance(read, Refusal) else read.value


def _western(year: str, month: str, day: str, today: date) -> date | Refusal:
    """Return a day of the western calendar, checked by the same rules as a date of the Republic."""
    number = int(year)
    before = number < 1912
    read = roc_date(str(1912 - number if before else number - 1911), month, day, before_roc=before, today=today)
    return read if isinstance(read, Refusal) else read.value


_CHANGED: Final = text(
    "Excel makes 1949/7/15 of 49/7/15, so this year can be either. Write 1949-07-15, 19490715 or 民國38年7月15日; or "
    "import with --dates western when every year of this sheet is western."
)
_TWO_DIGITS: Final = text(
    "A year of two digits can be either calendar's, and Excel takes it for a western one. Write 民國49年7月15日, "
    "1960-07-15 or 19600715; or import with --dates roc when every such year of this sheet is a year of the Republic."
)
_TURNED: Final = text(
    "Excel has written this date in its own way. Write it as 1960-07-15, 19600715 or 民國49年7月15日, in a column of "
    "Text."
)


def _no(reason: str, public: Text) -> Refusal:
    return Refusal(Kind.MALFORMED, public, code=f"excel.{reason}")
