"""Numbers with what they count: in English, as operators and auditors read it, and spans of time to be translated."""

from chopmark.core.types import Text, text


def counted(number: float, one: str, many: str = "", form: str = "") -> str:
    """Return `1 customer`, `2 customers`; `many` is the plural where it is not the noun with an s.

    `form` is how the number is written, `,` with its thousands apart.
    """
    return f"{number:{form}} {one if number == 1 else many or f'{one}s'}"


def in_seconds(number: int) -> Text:
    """Return `1 second` or `2 seconds`, as a value of another sentence."""
    return text("1 second") if number == 1 else text("%(number)s seconds", number=number)


def in_minutes(number: int) -> Text:
    """Return `1 minute` or `2 minutes`, as a value of another sentence."""
    return text("1 minute") if number == 1 else text("%(number)s minutes", number=number)
