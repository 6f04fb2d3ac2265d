"""How many SMS a text takes: character sets and segments (3GPP TS 23.038, TS 23.040)."""

from typing import Final

_GSM7: Final = frozenset(
    "@£$¥èéùìòÇ\nØø\rÅåΔ_ΦΓΛΩΠΨΣΘΞÆæßÉ !\"#¤%&'()*+,-./0123456789:;<=>?"
    "¡ABCDEFGHIJKLMNOPQRSTUVWXYZÄÖÑÜ§¿abcdefghijklmnopqrstuvwxyzäöñüà"
)
_GSM7_EXTENSION: Final = frozenset("\f^{}\\[~]|€")

GSM7_SINGLE: Final = 160
GSM7_JOINED: Final = 153
UCS2_SINGLE: Final = 70
UCS2_JOINED: Final = 67


def is_gsm7(text: str) -> bool:
    """Return whether the GSM-7 alphabet with its extension has every character of the text."""
    return all(c in _GSM7 or c in _GSM7_EXTENSION for c in text)


def units(text: str) -> tuple[int, ...]:
    """Return how many units each character takes: GSM-7 septets, or UCS-2 units if the text does not fit GSM-7."""
    if is_gsm7(text):
        return tuple(2 if c in _GSM7_EXTENSION else 1 for c in text)
    return tuple(2 if ord(c) > 0xFFFF else 1 for c in text)


def segments(text: str) -> int:
    """Return how many SMS the text takes; an empty text takes one.

    A text of several SMS has 153 septets or 67 units in each. Escape pairs and surrogate pairs are not split.
    """
    single, joined = (GSM7_SINGLE, GSM7_JOINED) if is_gsm7(text) else (UCS2_SINGLE, UCS2_JOINED)
    sizes = units(text)
    if sum(sizes) <= single:
        return 1
    count, room = 1, joined
    for size in sizes:
        if size > room:
            count, room = count + 1, joined
        room -= size
    return count


def big5_gaps(text: str) -> tuple[str, ...]:
    """Return the characters that are lost at a gateway that uses Big5: each once, in the order of the text."""
    return tuple(c for c in dict.fromkeys(text) if not _in_big5(c))


def _in_big5(character: str) -> bool:
    try:
        character.encode("big5")
    except UnicodeEncodeError:
        return False
    return True
