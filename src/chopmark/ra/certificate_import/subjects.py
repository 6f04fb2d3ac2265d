r"""Subject templates: how a former issuer's subjects name the customer. Pure.

A template describes the subjects of one issuer, for example `CN=TW{person_id}*, OU=RA-broker01`. Each of its
parts has to fit an attribute of the subject; attributes that the template does not name may be anything, and the order
does not matter. `{person_id}`, `{customer}` and `{account}` stand for what names the customer; a template has one of
them. `*` (or `…`) stands for any characters. A comma inside a value is written `\,`.
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from cryptography import x509

from chopmark.core.refusal import Refusal
from chopmark.tw.customer_number import parse_customer_number
from chopmark.tw.person_id import parse_person_id

MOST_READINGS: Final = 16
"""A subject that could be read in more ways than this is taken to name nobody."""


class Names(StrEnum):
    """The kind of number by which a subject names a customer."""

    PERSON_ID = "person_id"
    CUSTOMER = "customer"
    ACCOUNT = "account"


@dataclass(frozen=True, slots=True)
class Named:
    """A number that names a customer: its kind, and the number in its normal form."""

    by: Names
    value: str


@dataclass(frozen=True, slots=True)
class Template:
    """A parsed template: a pattern for each attribute type (dotted OID), one of which has the customer."""

    parts: tuple[tuple[str, "re.Pattern[str]"], ...]
    names: Names


_TYPES: Final = {
    "CN": "2.5.4.3",
    "SN": "2.5.4.4",
    "SERIALNUMBER": "2.5.4.5",
    "C": "2.5.4.6",
    "L": "2.5.4.7",
    "ST": "2.5.4.8",
    "O": "2.5.4.10",
    "OU": "2.5.4.11",
    "T": "2.5.4.12",
    "TITLE": "2.5.4.12",
    "UID": "0.9.2342.19200300.100.1.1",
    "E": "1.2.840.113549.1.9.1",
    "EMAIL": "1.2.840.113549.1.9.1",
}
_PATTERNS: Final = {
    Names.PERSON_ID: r"(?P<named>[A-Za-z][A-Za-z0-9][0-9]{8}|[0-9]{8})",
    Names.CUSTOMER: r"(?P<named>[A-Za-z0-9-]{1,20})",
    Names.ACCOUNT: r"(?P<named>[A-Za-z0-9-]{1,32})",
}
_TOKENS: Final = re.compile(r"\{([a-z_]+)\}|(\*|…)|\\(.)|([^{*…\\]+)|(.)", re.DOTALL)
_COMMA: Final = re.compile(r"(?<!\\),")


def parse_template(written: str) -> Template:
    """Return the parsed template. Raises ValueError with a sentence for the operator if it is malformed."""
    parts: list[tuple[str, re.Pattern[str]]] = []
    names: list[Names] = []
    for part in _COMMA.split(written):
        kind, equals, value = part.partition("=")
        if not equals or not value.strip():
            raise ValueError(f"{part.strip()!r} is no TYPE=value")
        parts.append((_type_of(kind.strip()), _pattern(value.strip(), names)))
    if len(names) != 1:
        raise ValueError("a template has exactly one of {person_id}, {customer} and {account}")
    return Template(tuple(parts), names[0])


def _type_of(kind: str) -> str:
    found = _TYPES.get(kind.upper(), kind.removeprefix("OID."))
    if not re.fullmatch(r"[0-2](\.[0-9]+)+", found):
        raise ValueError(f"{kind!r} is no attribute of a name")
    return found


def _pattern(value: str, names: list[Names]) -> "re.Pattern[str]":
    written = ""
    for token in _TOKENS.finditer(value):
        name, anything, escaped, plain, odd = token.groups()
        if name is not None:
            if name not in set(Names):
                raise ValueError(f"{{{name}}} is none of {{person_id}}, {{customer}}, {{account}}")
            names.append(Names(name))
            written += _PATTERNS[Names(name)] if len(names) == 1 else ""
        elif anything is not None:
            written += ".*"
        elif odd is not None:
            raise ValueError(f"{odd!r} in {value!r}: write \\{odd} for the sign itself")
        else:
            written += re.escape(escaped or plain)
    return re.compile(written, re.DOTALL)


def read_subject(subject: x509.Name, templates: Sequence[Template]) -> frozenset[Named]:
    """Return all whom the subject may name by these templates; nobody if none fits or there are too many readings."""
    found: set[Named] = set()
    for template in templates:
        found.update(_readings(subject, template))
        if len(found) > MOST_READINGS:
            return frozenset()
    return frozenset(found)


def _readings(subject: x509.Name, template: Template) -> Iterator[Named]:
    """Yield all whom a subject may name by one template. For every part some attribute of its type has to fit."""
    values: dict[str, list[str]] = {}
    for attribute in subject:
        if isinstance(attribute.value, str):
            values.setdefault(attribute.oid.dotted_string, []).append(attribute.value)
    named: list[str] = []
    for kind, pattern in template.parts:
        fits = [match for value in values.get(kind, ()) if (match := pattern.fullmatch(value))]
        if not fits:
            return
        if "named" in pattern.groupindex:
            named = [match["named"] for match in fits]
    for value in named:
        normal = _normal(template.names, value)
        if normal is not None:
            yield Named(template.names, normal)


def _normal(names: Names, value: str) -> str | None:
    if names is Names.PERSON_ID:
        person = parse_person_id(value)
        return None if isinstance(person, Refusal) else person.value
    if names is Names.CUSTOMER:
        customer = parse_customer_number(value)
        return None if isinstance(customer, Refusal) else customer
    return value.upper()
