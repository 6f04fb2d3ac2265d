"""The reference in a notice with which the customer stops a replacement: ten letters, 40 bits, in two groups.

Like a code it is derived whenever it is needed, with a key outside the database; only a keyed hash is stored, by which
a typed reference is found. It has no letters that look like others or like digits, so it is not mistaken for a code.
"""

import unicodedata
from typing import Final

from chopmark.core.types import OrderId, Secret
from chopmark.identity.people import People
from chopmark.pki.key_words import LETTERS

STOP_LETTERS: Final = 10
_TO_LETTERS: Final = str.maketrans("0123456789abcdef", LETTERS)


def stop_code(people: People, order: OrderId, stop: str) -> Secret:
    """Return the reference of an order's notice; `stop` is the id it is derived from, which is no secret."""
    letters = people.keyed("stop-code", f"{order}:{stop}")[:STOP_LETTERS].translate(_TO_LETTERS)
    return Secret(f"{letters[: STOP_LETTERS // 2]}-{letters[STOP_LETTERS // 2 :]}")


def stop_hash(people: People, typed: str) -> str:
    """Return the hash by which a reference is found, the same for any case, width and grouping of what was typed."""
    folded = unicodedata.normalize("NFKC", typed[:100]).upper()
    return people.keyed("stop-hash", "".join(letter for letter in folded if letter.isalnum()))
