"""Letters by which people tell keys apart: compared by eye and typed by hand. Pure.

Each hexadecimal digit of the SHA-256 of the SubjectPublicKeyInfo (DER) becomes one letter, 0 to F in the order of
LETTERS. LETTERS has no vowels, so that no words appear, and no letter that looks like another one or like a digit.
Anybody can compute them: `openssl pkey -pubin -outform DER | sha256sum | tr 0-9a-f BCDFGHJKLMNPRSTW`.
"""

import hmac
import unicodedata
from typing import Final

LETTERS: Final = "BCDFGHJKLMNPRSTW"
NAME_LETTERS: Final = 4
"""A key's short name, for messages: two keys of one customer differ in it, and it is never a code (no digits)."""
WORD_LETTERS: Final = 12
"""The length of a key's words: 48 bits, so that making a key with the words of another one takes 2^47 tries on
average."""
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
