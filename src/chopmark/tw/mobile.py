"""Taiwanese mobile numbers: reading every common spelling into one form, and masking."""

import re
from typing import Final, NewType

from chopmark.core.refusal import Refusal
from chopmark.core.types import Text, text
from chopmark.tw.malformed import malformed
from chopmark.tw.text import DOT, compact, has_other_digits

E164 = NewType("E164", str)
"""A Taiwanese mobile number in the form of ITU-T E.164: `+8869` and eight digits."""

_EXTENSION: Final = re.compile(r"[#*,;x轉]|ext|分機", re.IGNORECASE)
_SEPARATORS: Final = str.maketrans("", "", "-.()/")


def parse_mobile(raw: str) -> E164 | Refusal:
    """Return a mobile number in the form `+8869…`, or why it is none.

    Understood: 0912345678, +886912345678, 00886912345678, 886912345678, in full width and with spaces, hyphens, dots,
    slashes or brackets. The zero of 09 is allowed only without 886.
    """
    typed = compact(raw)
    if not typed:
        return _no("empty", text("Enter the mobile number."))
    if has_other_digits(typed):
        return _no("other_digits", text("Type the mobile number with the digits 0 to 9."))
    if _EXTENSION.search(typed):
        return _no("extension", text("A mobile number has no extension. Enter only the ten digits from 09."))
    plain = typed.translate(_SEPARATORS)
    if not re.fullmatch(r"\+?[0-9]+", plain):
        return _no("not_digits", text("A mobile number has only digits. Remove letters and signs."))
    for prefix in ("+886", "00886", "886"):
        if plain.startswith(prefix):
            return _after_country(plain.removeprefix(prefix))
    if plain.startswith(("+", "00")):
        return _no("foreign", text("Only Taiwanese mobile numbers can be used here. Enter a number from 09."))
    return _local(plain)


def mask_mobile(number: E164) -> str:
    """Return the number with its last three digits only: `09•• ••• 678`."""
    return f"09{DOT * 2} {DOT * 3} {number[-3:]}"


def local_form(number: E164) -> str:
    """Return the number as it is dialled in Taiwan: `0912345678`."""
    return "0" + number.removeprefix("+886")


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
