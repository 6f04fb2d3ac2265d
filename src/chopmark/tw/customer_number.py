"""The firm's own number of a customer, which is never the customer's national id."""

import re

from chopmark.core.refusal import Refusal
from chopmark.core.types import CustomerId, Text, text
from chopmark.tw.malformed import malformed
from chopmark.tw.person_id import PersonId, PersonIdKind, parse_person_id
from chopmark.tw.text import capitals

_LONGEST = 20


def parse_customer_number(raw: str) -> CustomerId | Refusal:
    """Return the number in upper case without spaces, or why it is none.

    1 to 20 of A-Z, 0-9 and '-', at least one of them a letter or digit. A number in the form of a national or resident
    id is refused; eight digits are allowed, though they look like a company number.
    """
    value = capitals(raw)
    if not value:
        return _no("empty", text("Enter the customer number."))
    if len(value) > _LONGEST:
        return _no("length", text("A customer number has at most 20 characters. Check that nothing is typed twice."))
    if not re.fullmatch(r"[A-Z0-9-]*[A-Z0-9][A-Z0-9-]*", value):
        return _no("form", text("A customer number has only letters from A to Z, digits and hyphens. Check it."))
    person = parse_person_id(value)
    if isinstance(person, PersonId) and person.kind is not PersonIdKind.COMPANY:
        return _no("person_id", text("This is an ID number. Enter the customer number that the firm gave you."))
    return CustomerId(value)


def _no(reason: str, public: Text) -> Refusal:
    return malformed(f"customer_number.{reason}", public, "customer_number")
