"""Mobile numbers: reading every common spelling into one form, and masking.

Numbers of Taiwan, and of the other countries whose calling codes the firm's settings name.
"""

import re
from collections.abc import Collection
from typing import Final, NewType

from chopmark.core.refusal import Refusal
from chopmark.core.types import Text, text
from chopmark.tw.malformed import malformed
from chopmark.tw.text import DOT, compact

E164 = NewType("E164", str)
"""A mobile number in the form of ITU-T E.164; a Taiwanese one is `+8869` and eight digits."""
TAIWAN: Final = "886"
_TWO_DIGITS: Final = frozenset(
    "20 27 30 31 32 33 34 36 39 40 41 43 44 45 46 47 48 49 51 52 53 54 55 56 57 58 60 61 62 63 64 65 66 81 82 84 86 "
    "90 91 92 93 94 95 98".split()
)
"""ITU-T E.164: the calling codes of two digits; 1 and 7 have one digit, all others three."""
_SHORTEST_ABROAD: Final = 7
_LONGEST: Final = 15

_EXTENSION: Final = re.compile(r"[#*,;x轉]|ext|分機", re.IGNORECASE)
_SEPARATORS: Final = str.maketrans("", "", "-.()/")


def parse_mobile(raw: str, countries: Collection[str] = (TAIWAN,)) -> E164 | Refusal:
    """Return a mobile number in the form `+8869…`, or why it is none; `countries` are the allowed calling codes.

    Understood: 0912345678, +886912345678, 00886912345678, 886912345678, in full width, in digits of any script, and
    with spaces, hyphens, dots, slashes or brackets. The zero of 09 is allowed only without 886.
    """
    typed = compact(raw)
    if not typed:
        return _no("empty", text("Enter the mobile number."))
    if _EXTENSION.search(typed):
        return _no("extension", text("A mobile number has no extension. Enter only the ten digits from 09."))
    plain = typed.translate(_SEPARATORS)
    if not re.fullmatch(r"\+?[0-9]+", plain):
        return _no("not_digits", text("A mobile number has only digits. Remove letters and signs."))
    for prefix in ("+886", "00886", "886"):
        if plain.startswith(prefix):
            return _after_country(plain.removeprefix(prefix))
    if plain.startswith(("+", "00")):
        abroad = plain.removeprefix("+") if plain.startswith("+") else plain.removeprefix("00")
        if calling_code(abroad) in countries:
            return _abroad(abroad)
        return _no("foreign", text("Only Taiwanese mobile numbers can be used here. Enter a number from 09."))
    return _local(plain)


def mask_mobile(number: E164) -> str:
    """Return the number with its last three digits only: `09•• ••• 678`."""
    if not number.startswith(f"+{TAIWAN}"):
        return f"+{calling_code(number)} {DOT * 2} {DOT * 3} {number[-3:]}"
    return f"09{DOT * 2} {DOT * 3} {number[-3:]}"


def calling_code(number: str) -> str:
    """Return the calling code of the country that a number belongs to, with or without its +."""
    digits = number.removeprefix("+")
    if digits[:1] in {"1", "7"}:
        return digits[:1]
    return digits[:2] if digits[:2] in _TWO_DIGITS else digits[:3]


def is_calling_code(written: str) -> bool:
    """Whether this is the form of a calling code."""
    return written.isascii() and written.isdigit() and calling_code(written + "0" * 12) == written


def is_local(number: E164) -> bool:
    """Whether the number is one of Taiwan."""
    return number.startswith(f"+{TAIWAN}")


def local_form(number: E164) -> str:
    """Return the number as it is dialled in Taiwan: `0912345678`."""
    return "0" + number.removeprefix("+886")


def _abroad(digits: str) -> E164 | Refusal:
    code = calling_code(digits)
    rest = digits.removeprefix(code)
    if rest.startswith("0"):
        return _no("zero_after_country", text("Leave out the 0 after the country's calling code."))
    if len(rest) < _SHORTEST_ABROAD or len(digits) > _LONGEST:
        return _no("length_abroad", text("A number of this length does not exist. Check it, digit by digit."))
    return E164("+" + digits)


def _after_country(rest: str) -> E164 | Refusal:
    if rest.startswith("09"):
        return _no("zero_after_886", text("Leave out the 0 after 886, or enter the number from 09 without 886."))
    if not rest.startswith("9"):
        return _landline()
    return E164("+886" + rest) if len(rest) == 9 else _length()


def _local(plain: str) -> E164 | Refusal:
    if plain.startswith("09"):
        return E164("+886" + plain[1:]) if len(plain) == 10 else _length()
    if plain.startswith("0"):
        return _landline()
    if plain.startswith("9") and len(plain) == 9:
        return _no(
            "no_leading_zero", text("The first 0 of the mobile number is missing. Enter all ten digits from 09.")
        )
    return _no("form", text("A Taiwanese mobile number begins with 09. Check the first digits."))


def _length() -> Refusal:
    return _no("length", text("A mobile number has ten digits, from 09. Check that none is missing or typed twice."))


def _landline() -> Refusal:
    return _no("landline", text("This is not a mobile number, and no message reaches it. Enter a number from 09."))


def _no(reason: str, public: Text) -> Refusal:
    return malformed(f"mobile.{reason}", public, "mobile")
