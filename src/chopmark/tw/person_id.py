"""Numbers that the state assigns: national id, resident id (new and old form), company number.

The check digit finds most typing errors and proves nothing: letters collide in groups (A, M, W),
and swapping the last two digits of a personal id is never found, because both weigh 1.
"""

import re
from dataclasses import dataclass
from datetime import date
from enum import StrEnum
from typing import Final

from chopmark.core.refusal import Refusal
from chopmark.core.types import Text, text
from chopmark.tw.malformed import malformed
from chopmark.tw.text import DOT, capitals

OLD_RESIDENT_IDS_END: Final = date(2031, 1, 1)
"""The first day on which a resident id of the old form (two letters) is no longer valid."""

_FIELD: Final = "person_id"
_LETTERS: Final = dict(zip("ABCDEFGHJKLMNPQRSTUVXYWZIO", range(10, 36), strict=True))
_WEIGHTS: Final = (1, 9, 8, 7, 6, 5, 4, 3, 2, 1, 1)
_COMPANY_WEIGHTS: Final = (1, 2, 1, 2, 1, 2, 4, 1)
_MASK_HEAD: Final = 2


class PersonIdKind(StrEnum):
    """What a number of the state identifies."""

    NATIONAL = "national"
    RESIDENT = "resident"
    RESIDENT_OLD = "resident_old"
    COMPANY = "company"


@dataclass(frozen=True, slots=True)
class PersonId:
    """A well-formed number of a person or company: upper case, ASCII, no separators."""

    value: str
    kind: PersonIdKind

    def usable_on(self, day: date) -> bool:
        """Tell whether numbers of this form are valid on a day (old resident ids end 2031-01-01)."""
        return self.kind is not PersonIdKind.RESIDENT_OLD or day < OLD_RESIDENT_IDS_END

    def __repr__(self) -> str:
        return f"PersonId({self.kind.value})"


def parse_person_id(raw: str) -> PersonId | Refusal:
    """Return the number that was typed, whatever its width, case, digits, spaces and hyphens, or why it is none.

    Ten characters are a national or resident id, eight digits a company number (rule of 2023-04-01).
    """
    value = capitals(raw).replace("-", "")
    if not value:
        return _no("empty", text("Enter the ID number."))
    if value.isascii() and value.isdecimal():
        return _company(value)
    if len(value) != 10:
        return _no("length", text("An ID number has 10 characters. Check that none is missing or typed twice."))
    if value[0] not in _LETTERS:
        return _no("first_letter", text("An ID number begins with a letter from A to Z. Check its first character."))
    kind = _personal_kind(value[1])
    if kind is None:
        return _no(
            "second_character",
            text("The second character of an ID number is 1, 2, 8, 9 or a letter from A to D. Check it."),
        )
    if not re.fullmatch(r"[0-9]{8}", value[2:]):
        return _no("digits", text("The last eight characters of an ID number are digits from 0 to 9. Check them."))
    if _personal_sum(value) % 10:
        return _no("check_digit", text("This ID number contains a typing error. Compare it with your ID card."))
    return PersonId(value, kind)


def mask_person_id(value: str) -> str:
    """Return the first two characters of a normal-form number and dots: `A2-••••••••`; of anything shorter, dots."""
    head = value[:_MASK_HEAD] if len(value) >= 8 else ""
    return f"{head}-{DOT * (6 if len(value) == 8 else 8)}"


def _personal_kind(second: str) -> PersonIdKind | None:
    if second in "12":
        return PersonIdKind.NATIONAL
    if second in "89":
        return PersonIdKind.RESIDENT
    return PersonIdKind.RESIDENT_OLD if second in "ABCD" else None


def _personal_sum(value: str) -> int:
    """Return the weighted sum; a letter in second place counts with its unit digit."""
    second = _LETTERS[value[1]] % 10 if value[1] in _LETTERS else int(value[1])
    digits = (*divmod(_LETTERS[value[0]], 10), second, *map(int, value[2:]))
    return sum(digit * weight for digit, weight in zip(digits, _WEIGHTS, strict=True))


def _company(value: str) -> PersonId | Refusal:
    if len(value) != 8:
        return _no(
            "length",
            text("An ID number has a letter and 9 digits, and a company number has 8 digits. Check what is missing."),
        )
    if value == "00000000":
        return _no("zero", text("A company number cannot be all zeros. Enter the company's own number."))
    products = (int(digit) * weight for digit, weight in zip(value, _COMPANY_WEIGHTS, strict=True))
    total = sum(sum(divmod(product, 10)) for product in products)
    if total % 5 and not (value[6] == "7" and (total + 1) % 5 == 0):
        return _no("check_digit", text("This company number contains a typing error. Compare it with your papers."))
    return PersonId(value, PersonIdKind.COMPANY)


def _no(reason: str, public: Text) -> Refusal:
    return malformed(f"person_id.{reason}", public, _FIELD)
