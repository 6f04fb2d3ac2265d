"""Numbers written in Chinese characters, as people write years, months and days: 九十, 一百零五, 一〇五, 元."""

import re
from typing import Final

_FORMAL: Final = str.maketrans("壹貳參肆伍陸柒捌玖拾佰○零", "一二三四五六七八九十百〇〇")
_DIGITS: Final = "〇一二三四五六七八九"
_PLACES: Final = re.compile(rf"[{_DIGITS}]{{1,4}}")
_UNITS: Final = re.compile(
    r"(?:(?P<hundreds>[一二三四五六七八九])百)?"
    r"(?P<gap>〇)?"
    r"(?:(?P<tens>[一二三四五六七八九])?(?P<ten>十)|(?P<twenty>廿)|(?P<thirty>卅))?"
    r"(?P<ones>[一二三四五六七八九])?"
)


def chinese_number(written: str) -> int | None:
    """Return the number from 0 to 9999 (by places) or 1 to 999 (by 百 and 十); None where it is none.

    元 is 1, as in 元年. 一百五 is None: it is said for 150 and read as 105.
    """
    plain = written.translate(_FORMAL)
    if plain == "元":
        return 1
    if _PLACES.fullmatch(plain):
        return int("".join(str(_DIGITS.index(char)) for char in plain))
    found = _UNITS.fullmatch(plain)
    return _by_units(found) if found and plain else None


def _by_units(found: re.Match[str]) -> int | None:
    has_tens = bool(found["ten"] or found["twenty"] or found["thirty"])
    if found["gap"] and not (found["hundreds"] and found["ones"] and not has_tens):
        return None
    if found["hundreds"] and found["ones"] and not (has_tens or found["gap"]):
        return None
    tens = 2 if found["twenty"] else 3 if found["thirty"] else _digit(found["tens"], missing=1) if has_tens else 0
    return 100 * _digit(found["hundreds"]) + 10 * tens + _digit(found["ones"])


def _digit(char: str | None, *, missing: int = 0) -> int:
    return _DIGITS.index(char) if char else missing
