"""Find the code in what a customer has typed or pasted: digits of any script, Zhuyin signs, a whole message.

The page does the same (`browser/src/code.ts`). Both are tested with `tests/vectors/codes.json`.
"""

import re
import unicodedata
from typing import Final

from chopmark.tw.text import plain_digit

MOST: Final = 2_000
"""The longest text, in characters, in which a code is looked for; a message with a code has about a tenth of it."""

_DASHES: Final = frozenset("-\u2010\u2011\u2012\u2013\u2014\u2015\u2212")
_DRAWN: Final = frozenset("\ufe0f\u20e3")
"""What makes a picture of a key out of a digit."""
_ZHUYIN: Final = "ㄅㄉˇˋㄓˊ˙ㄚㄞㄢㄦㄆㄊㄍㄐㄔㄗㄧㄛㄟㄣㄇㄋㄎㄑㄕㄘㄨㄜㄠㄤㄈㄌㄏㄒㄖㄙㄩㄝㄡㄥ"
_KEYS: Final = "1234567890-qwertyuiopasdfghjkl;zxcvbnm,./"
_UNDER: Final = str.maketrans(_ZHUYIN, _KEYS)
_LABEL: Final = re.compile(
    r"(?:驗證碼|验证码|認證碼|動態密碼|簡訊碼|\bcode\b|\bOTP\b|\bPIN\b)[^0-9\n]{0,24}", re.IGNORECASE
)


def has_zhuyin(typed: str) -> bool:
    """Tell whether the text has a sign that a Zhuyin keyboard writes."""
    return any(ord(sign) in _UNDER for sign in typed)


def folded(typed: str) -> str:
    """Return the text with Zhuyin signs as the keys they are on, digits of any script as 0 to 9, nothing invisible."""
    narrow = unicodedata.normalize("NFKC", typed.translate(_UNDER))
    return "".join(plain_digit(c) for c in narrow if unicodedata.category(c) != "Cf" and c not in _DRAWN)


def bare(text: str) -> str:
    """Return a folded text without spaces and dashes."""
    return "".join(c for c in text if not (c.isspace() or c in _DASHES))


def code_in(text: str, digits: int) -> str | None:
    """Return the code with that number of digits in a folded text; None when there is none or it is ambiguous."""
    # 1. The whole text is the code.
    whole = bare(text)
    if whole.isascii() and whole.isdigit() and len(whole) == digits:
        return whole
    # 2. Otherwise it is the only number of that length; of several, the only one that follows a word for "code"; or the
    #    only number that is written in groups.
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
