"""Normalise typed text: full-width forms, digits of any script, stray spaces and invisible characters."""

import unicodedata
from typing import Final

FOLD_LIMIT: Final = 400
"""Characters; longer text is only trimmed, because normalising it can take quadratic time."""

DOT: Final = "•"
"""The character that replaces hidden ones in every mask: U+2022."""

_DASHES: Final = dict.fromkeys((*range(0x2010, 0x2016), 0x2043, 0x2212), "-")
_CAPITALS: Final = {ord("a") + place: chr(ord("A") + place) for place in range(26)}
_HIDDEN: Final = frozenset({"Cc", "Cf", "Cs", "Co"})
_NEVER_SEEN: Final = (
    *(range(start, start + 2) for start in range(0xFFFE, 0x110000, 0x10000)),
    *(range(0xFDD0, 0xFDF0), range(0x2065, 0x2066), range(0xFFF0, 0xFFF9), range(0xE0000, 0xE1000)),
)
"""Code points that will never be visible characters: noncharacters, and those reserved for invisible ones."""


def _hidden(char: str) -> bool:
    """Tell whether a character is invisible; one that Python's tables lack may be a letter of a newer Unicode."""
    category = unicodedata.category(char)
    if category == "Cn":
        return any(ord(char) in reserved for reserved in _NEVER_SEEN)
    return category in _HIDDEN and not char.isspace()


def _at_the_edge(char: str) -> bool:
    """Tell whether a character at an end may be dropped; private-use characters are not, as some fonts show them."""
    return char.isspace() or (_hidden(char) and unicodedata.category(char) != "Co")


def has_hidden(value: str) -> bool:
    """Tell whether a text has characters nobody sees: bidi marks, zero width, controls, lone surrogates.

    Spaces of any kind, tabs and line ends do not count.
    """
    return any(_hidden(char) for char in value)


def is_one_line(value: str, most: int) -> bool:
    """Tell whether a text is one line of 1 to `most` characters that people see: no controls, no bidi marks."""
    return bool(value.strip()) and len(value) <= most and value.isprintable()


def trim(value: str) -> str:
    """Return the text without spaces and invisible characters at its ends."""
    start, end = 0, len(value)
    while start < end and _at_the_edge(value[start]):
        start += 1
    while end > start and _at_the_edge(value[end - 1]):
        end -= 1
    return value[start:end]


def fold(value: str, *, inner_spaces: bool = True) -> str:
    """Return the text in NFKC, trimmed, with digits of any script as 0 to 9, without invisible characters.

    Invisible are bidi marks, controls and what has no width. Runs of spaces, tabs and line ends inside become one
    space, or nothing with `inner_spaces=False`. Text of more than FOLD_LIMIT characters is only trimmed.
    """
    if len(value) > FOLD_LIMIT:
        return trim(value)
    if value.isascii() and value.isprintable():
        return (" " if inner_spaces else "").join(value.split())
    plain = unicodedata.normalize("NFKC", value)
    seen = "".join(plain_digit(char) for char in plain if not _hidden(char))
    return (" " if inner_spaces else "").join(seen.split())


def plain_digit(char: str) -> str:
    """Return a decimal digit of any script, such as Arabic or Thai, as 0 to 9; every other character as it is."""
    value = unicodedata.decimal(char, None)
    return char if value is None else str(value)


def compact(value: str) -> str:
    """Return the folded text without any space, and with every kind of dash as '-'."""
    return fold(value, inner_spaces=False).translate(_DASHES)


def capitals(value: str) -> str:
    """Return the compact text with a-z as A-Z; other letters stay (ß would become SS)."""
    return compact(value).translate(_CAPITALS)
