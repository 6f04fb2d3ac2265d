"""The reference by which a contact stops a replacement: ten letters, 40 bits, in two groups.

It is derived whenever it is needed, as codes are, under a key outside the database; what is stored is a keyed hash by
which it is found. Letters that look like another or like a digit do not occur, and nobody takes it for a code.
"""

import unicodedata
from typing import Final

from chopmark.core.types import OrderId, Secret
from chopmark.identity.people import People
from chopmark.pki.key_words import LETTERS

STOP_LETTERS: Final = 10
_TO_LETTERS: Final = str.maketrans("0123456789abcdef", LETTERS)


def stop_code(people: People, order: OrderId, stop: str) -> Secret:
    """Return the reference of an order's notice; `stop` is the id of that notice's reference, which is no secret."""
    letters = people.keyed("stop-code", f"{order}:{stop}")[:STOP_LETTERS].translate(_TO_LETTERS)
    return Secret(f"{letters[: STOP_LETTERS // 2]}-{letters[STOP_LETTERS // 2 :]}")


def stop_hash(people: People, typed: str) -> str:
    """Return the hash under which a reference is found, in whatever case, width and grouping it was typed."""
    folded = unicodedata.normalize("NFKC", typed[:100]).upper()
    return people.keyed("stop-hash", "".join(letter for letter in folded if letter.isalnum()))
