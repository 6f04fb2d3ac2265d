"""The code in whatever a keyboard inserted or a clipboard held: full-width digits, Zhuyin signs, a whole message.

The page reads it in the same way (`browser/src/code.ts`); both are held to `tests/vectors/codes.json`.
"""

import re
import unicodedata
from typing import Final

MOST: Final = 2_000
"""The longest text that is looked at; a message with a code is a tenth of it."""

_DASHES: Final = frozenset("-\u2010\u2011\u2012\u2013\u2014\u2015\u2212")
_ZHUYIN: Final = "ㄅㄉˇˋㄓˊ˙ㄚㄞㄢㄦㄆㄊㄍㄐㄔㄗㄧㄛㄟㄣㄇㄋㄎㄑㄕㄘㄨㄜㄠㄤㄈㄌㄏㄒㄖㄙㄩㄝㄡㄥ"
_KEYS: Final = "1234567890-qwertyuiopasdfghjkl;zxcvbnm,./"
_UNDER: Final = str.maketrans(_ZHUYIN, _KEYS)
_LABEL: Final = re.compile(
    r"(?:驗證碼|验证码|認證碼|動態密碼|簡訊碼|\bcode\b|\bOTP\b|\bPIN\b)[^0-9\n]{0,24}", re.IGNORECASE
)


def has_zhuyin(typed: str) -> bool:
    """Tell whether there is a sign that a Zhuyin keyboard writes."""
    return any(ord(sign) in _UNDER for sign in typed)


def folded(typed: str) -> str:
    """Return the text with the keys under Zhuyin signs, narrow digits, and nothing invisible."""
    narrow = unicodedata.normalize("NFKC", typed.translate(_UNDER))
    return "".join(c for c in narrow if unicodedata.category(c) != "Cf")


def bare(text: str) -> str:
    """Return a folded text without spaces and dashes."""
    return "".join(c for c in text if not (c.isspace() or c in _DASHES))


def code_in(text: str, digits: int) -> str | None:
    """Return the code of so many digits in a folded text; None where there is none, or more than one may be meant.

    1 the text is the code  2 the one number of that length  3 of several, the one that follows a word for it
    4 the one number that is written in groups.
    """
    whole = bare(text)
    if whole.isascii() and whole.isdigit() and len(whole) == digits:
        return whole
    edge, end = r"(?<![0-9])(?<![0-9]\.)", r"(?!\.?[0-9])"
    number = re.compile(f"{edge}[0-9]{{{digits}}}{end}", re.ASCII)
    grouped = re.compile(rf"(?<![0-9])(?<![0-9][ .\-])[0-9](?:[ \-]?[0-9]){{{digits - 1}}}(?![ .\-]?[0-9])", re.ASCII)
    found = {each.group() for each in number.finditer(text)}
    named = {after.group() for label in _LABEL.finditer(text) if (after := number.match(text, label.end()))}
    spaced = {re.sub(r"[ \-]", "", each.group()) for each in grouped.finditer(text)}
    for candidates in (found, named, spaced):
        if len(candidates) == 1:
            return candidates.pop()
    return None
