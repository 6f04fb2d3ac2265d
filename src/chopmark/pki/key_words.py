"""What people call a key: letters that are compared by eye and typed by hand. Pure.

Each hexadecimal digit of the SHA-256 of the SubjectPublicKeyInfo (DER) becomes one letter, 0 to F in the order of
LETTERS. There are no vowels, so that no word appears, and none of the letters that look like another or like a digit.
Anybody can make them: `openssl pkey -pubin -outform DER | sha256sum | tr 0-9a-f BCDFGHJKLMNPRSTW`.
"""

import hmac
import unicodedata
from typing import Final

LETTERS: Final = "BCDFGHJKLMNPRSTW"
NAME_LETTERS: Final = 4
"""A key's short name, for messages: two keys of one customer differ in it, and it is never a code (no digits)."""
WORD_LETTERS: Final = 12
"""A key's words: 48 bits, so that nobody makes a key with the words of another (2^47 keys on average)."""
_TO_LETTERS: Final = str.maketrans("0123456789abcdef", LETTERS)


def key_name(spki_sha256: str) -> str:
    """Return the short name of a key, four capital letters; `spki_sha256` is lower-case hexadecimal."""
    return spki_sha256[:NAME_LETTERS].translate(_TO_LETTERS)


def key_words(spki_sha256: str) -> str:
    """Return the words of a key: three groups of four capital letters, the first of which is its short name."""
    letters = spki_sha256[:WORD_LETTERS].translate(_TO_LETTERS)
    return "-".join(letters[i : i + 4] for i in range(0, WORD_LETTERS, 4))


def are_key_words(typed: str, spki_sha256: str) -> bool:
    """Tell whether these are the words of this key, in any case or width, whatever stands between the groups."""
    folded = unicodedata.normalize("NFKC", typed[:100]).upper()
    letters = "".join(c for c in folded if c.isalnum())
    return hmac.compare_digest(letters.encode(), key_words(spki_sha256).replace("-", "").encode())
