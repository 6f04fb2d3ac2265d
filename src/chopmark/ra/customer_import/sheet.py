"""The customers' sheet: its header, and each line as a checked row or as the faults that it has.

A sheet is CSV (RFC 4180) without line ends inside cells, so that a wrong quotation mark spoils only one line. What
spreadsheets do to cells is undone or reported (`cells`). Every value is parsed by the package `tw`; this module knows
neither the directory nor the file.
"""

import csv
import re
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import date
from enum import StrEnum
from functools import lru_cache
from typing import Final, TypeVar

from chopmark.core.refusal import Kind, Refusal
from chopmark.core.types import AccountKind, CustomerId, Text, text
from chopmark.identity.ports import AccountRow
from chopmark.ra.customer_import.cells import Dates, read_date, spoiled, unguarded, zero_lost
from chopmark.tw.account import label, parse_account
from chopmark.tw.customer_number import parse_customer_number
from chopmark.tw.email import EmailAddress, parse_email
from chopmark.tw.mobile import E164, TAIWAN, parse_mobile
from chopmark.tw.person_id import PersonId, PersonIdKind, parse_person_id
from chopmark.tw.text import capitals, compact, has_hidden

T = TypeVar("T")

LONGEST_NAME: Final = 200
"""In characters. A common name in a certificate could hold only 64, but no profile of ours puts the name there."""
MOST_ACCOUNTS: Final = 50


class Column(StrEnum):
    """The columns of a sheet; the header must have all of them, in any order."""

    CUSTOMER = "customer"
    PERSON_ID = "person_id"
    NAME = "name"
    BIRTH_DATE = "birth_date"
    MOBILE = "mobile"
    EMAIL = "email"
    ACCOUNTS = "accounts"
    VERIFIED_ON = "verified_on"


_TITLES: Final = {column.value: column for column in Column} | {
    "客戶編號": Column.CUSTOMER,
    "身分證字號": Column.PERSON_ID,
    "姓名": Column.NAME,
    "生日": Column.BIRTH_DATE,
    "手機": Column.MOBILE,
    "電子郵件": Column.EMAIL,
    "帳號": Column.ACCOUNTS,
    "驗證日": Column.VERIFIED_ON,
}
_TAGS: Final = {label(kind): kind for kind in AccountKind}
_ORDER: Final = {column.value: place for place, column in enumerate(Column)}
_SEPARATOR: Final = re.compile(r'"?sep=([,;|\t])"?', re.IGNORECASE)
_PLAIN_EMAIL: Final = re.compile(r"([A-Za-z0-9_+-]+(?:\.[A-Za-z0-9_+-]+)*)@([a-z0-9-]+(?:\.[a-z0-9-]+)+)")


@dataclass(frozen=True, slots=True)
class Fault:
    """What is wrong in one place: the line counts from 1 with the header; `column` is None for the whole line.

    `code` stays the same over releases. The text never repeats the content of the cell.
    """

    line: int
    column: str | None
    code: str
    text: Text


@dataclass(frozen=True, slots=True)
class Row:
    """A checked line: every value in its normal form, dates in the Gregorian calendar."""

    customer: CustomerId
    person: PersonId
    name: str = field(repr=False)
    birth_date: date | None = field(repr=False)
    mobile: E164 | None = field(repr=False)
    email: EmailAddress | None = field(repr=False)
    accounts: tuple[AccountRow, ...]
    verified_on: date | None


@dataclass(frozen=True, slots=True)
class Header:
    """The order of the columns, and the character that separates cells."""

    columns: tuple[Column, ...]
    separator: str = ","


def separator_of(written: str) -> str | None:
    """Return the separator that Excel's line `sep=;` before the header names; None for any other line."""
    named = _SEPARATOR.fullmatch(written.strip("\ufeff\r\n"))
    return None if named is None else named[1]


def parse_header(written: str, line: int = 1, separator: str = ",") -> Header | tuple[Fault, ...]:
    """Return the header, or its faults if it does not have every column exactly once.

    Columns without a title at the end are ignored: spreadsheets sometimes add them.
    """
    cells = _cells(written, separator)
    if cells is None:
        return (_quotes(line),)
    while cells and not unguarded(cells[-1]):
        cells.pop()
    columns = [_TITLES.get(compact(unguarded(cell)).lower()) for cell in cells]
    faults = [
        Fault(line, None, "header.unknown", text("Column %(place)s has a title that is not known.", place=place))
        for place, column in enumerate(columns, 1)
        if column is None
    ]
    for column in Column:
        if column not in columns:
            missing = text("The header has no column %(column)s. Separate the titles with commas.", column=column)
            faults.append(Fault(line, column, "header.missing", missing))
        elif columns.count(column) > 1:
            twice = text("The header has the column %(column)s more than once.", column=column)
            faults.append(Fault(line, column, "header.twice", twice))
    return tuple(faults) or Header(tuple(column for column in columns if column is not None), separator)


def check_line(
    written: str,
    line: int,
    header: Header,
    today: date,
    dates: Dates = Dates.PLAIN,
    countries: Collection[str] = (TAIWAN,),
) -> Row | tuple[Fault, ...] | None:
    """Return the line's row, or its faults, or None for a blank line."""
    cells = _cells(written, header.separator)
    if cells is None:
        return (_quotes(line),)
    if not any(cell.strip() for cell in cells):
        return None
    while len(cells) > len(header.columns) and not unguarded(cells[-1]):
        cells.pop()
    if len(cells) != len(header.columns):
        wrong = text(
            "The header has %(wanted)s cells and this line has %(found)s.", found=len(cells), wanted=len(header.columns)
        )
        return (Fault(line, None, "cells", wrong),)
    return check_cells(dict(zip(header.columns, cells, strict=True)), line, today, dates, countries)


def check_cells(
    cells: Mapping[Column, str],
    line: int,
    today: date,
    dates: Dates = Dates.PLAIN,
    countries: Collection[str] = (TAIWAN,),
) -> Row | tuple[Fault, ...]:
    """Return the row that these cells make, or all their faults; `today` is the date in Taiwan."""
    typed = {column: unguarded(cell) for column, cell in cells.items()}
    lost = {column: why for column, cell in typed.items() if (why := spoiled(cell))}
    faults = [Fault(line, column.value, f"{column}.{code}", said) for column, (code, said) in lost.items()]

    def sound(column: Column, value: T | Refusal) -> T | None:
        if column in lost:
            return None
        if isinstance(value, Refusal):
            faults.append(Fault(line, column.value, value.code or value.kind.value, value.public))
            return None
        return value

    def unless_empty(column: Column, parse: Callable[[str], T | Refusal]) -> T | None:
        return sound(column, parse(typed[column])) if typed[column] else None

    customer = sound(Column.CUSTOMER, parse_customer_number(typed[Column.CUSTOMER]))
    person = sound(Column.PERSON_ID, _person_id(typed[Column.PERSON_ID]))
    birth_date = unless_empty(Column.BIRTH_DATE, lambda raw: read_date(raw, today, dates))
    mobile = unless_empty(Column.MOBILE, lambda raw: _mobile(raw, countries))
    email = unless_empty(Column.EMAIL, email_address)
    accounts = tuple(sound(Column.ACCOUNTS, found) for found in _accounts(typed[Column.ACCOUNTS]))
    whole = tuple(account for account in accounts if account is not None)
    verified_on = unless_empty(Column.VERIFIED_ON, lambda raw: _past_day(raw, today))
    beside = _beside(typed, person, whole, today)
    faults += [Fault(line, column.value, *why) for column, why in beside if column not in lost]
    if faults or customer is None or person is None:
        return tuple(sorted(faults, key=lambda fault: _ORDER[fault.column or ""]))
    name = " ".join(typed[Column.NAME].split())
    return Row(customer, person, name, birth_date, mobile, email, whole, verified_on)


def csv_lines(faults: Iterable[Fault]) -> Iterator[str]:
    """Yield the report as lines of CSV without line ends: a header, then line, column, code and English sentence."""
    yield "line,column,code,reason"
    for fault in faults:
        said = str(fault.text).replace('"', '""')
        yield f'{fault.line},{fault.column or ""},{fault.code},"{said}"'


def email_address(raw: str) -> EmailAddress | Refusal:
    """Return what `tw.email.parse_email` returns, from a cache of domains if the address is a plain one."""
    plain = _PLAIN_EMAIL.fullmatch(raw)
    if plain is None or len(plain[1]) > 64 or len(raw) > 200:
        return parse_email(raw)
    judged = _at_domain(plain[2])
    return parse_email(raw) if isinstance(judged, Refusal) else EmailAddress(plain[1] + judged[1:])


@lru_cache(maxsize=4096)
def _at_domain(domain: str) -> EmailAddress | Refusal:
    return parse_email("a@" + domain)


def _cells(written: str, separator: str) -> list[str] | None:
    try:
        return next(csv.reader([written.rstrip("\r\n")], delimiter=separator, strict=True), [])
    except csv.Error:
        return None


def _quotes(line: int) -> Fault:
    said = text("The quotation marks of this line do not match, or a cell goes on in the next line.")
    return Fault(line, None, "quotes", said)


def _beside(
    typed: Mapping[Column, str], person: PersonId | None, accounts: tuple[AccountRow, ...], today: date
) -> Iterator[tuple[Column, tuple[str, Text]]]:
    """Yield the faults that do not show in the form of a single value."""
    if person is not None and not person.usable_on(today):
        ended = text("Resident IDs with two letters are no longer valid. Enter the new one.")
        yield Column.PERSON_ID, ("person_id.ended", ended)
    if wrong := _unfit_name(" ".join(typed[Column.NAME].split())):
        yield Column.NAME, wrong
    natural = person is not None and person.kind is not PersonIdKind.COMPANY
    if natural and not typed[Column.BIRTH_DATE]:
        yield Column.BIRTH_DATE, ("birth_date.empty", text("Enter the date of birth; only a company has none."))
    if (typed[Column.MOBILE] or typed[Column.EMAIL]) and not typed[Column.VERIFIED_ON]:
        asked = text("Enter the day on which the firm verified the mobile number and the e-mail address.")
        yield Column.VERIFIED_ON, ("verified_on.empty", asked)
    if len({account.number for account in accounts}) < len(accounts):
        yield Column.ACCOUNTS, ("accounts.twice", text("The same account stands in this cell more than once."))
    if len(accounts) > MOST_ACCOUNTS:
        yield Column.ACCOUNTS, ("accounts.many", text("A customer has at most %(most)s accounts.", most=MOST_ACCOUNTS))


def _unfit_name(name: str) -> tuple[str, Text] | None:
    if not name:
        return "name.empty", text("Enter the name.")
    if len(name) > LONGEST_NAME:
        return "name.length", text("A name has at most %(most)s characters.", most=LONGEST_NAME)
    if has_hidden(name):
        return "name.hidden", text(
            "The name has a character that not every screen can show. Write it with another one."
        )
    return None


def _mobile(raw: str, countries: Collection[str]) -> E164 | Refusal:
    read, lost = parse_mobile(raw, countries), zero_lost(raw)
    return replace(read, public=lost) if isinstance(read, Refusal) and lost is not None else read


def _person_id(raw: str) -> PersonId | Refusal:
    read, lost = parse_person_id(raw), zero_lost(raw)
    return replace(read, public=lost) if isinstance(read, Refusal) and lost is not None else read


@lru_cache(maxsize=1024)
def _past_day(raw: str, today: date) -> date | Refusal:
    """Return a day in either calendar that is not in the future."""
    read = read_date(raw, today, Dates.PLAIN, of_birth=False)
    if not isinstance(read, Refusal) or (read.code or "").startswith("excel."):
        return read
    if read.code == "roc.future":
        said = text("The contacts cannot have been verified on a day in the future.")
        return Refusal(Kind.MALFORMED, said, code="verified_on.future")
    said = text("This is not a day of the calendar. Write it as 2026-07-15 or 115/07/15.")
    return Refusal(Kind.MALFORMED, said, code="verified_on.form")


def _accounts(cell: str) -> Iterator[AccountRow | Refusal]:
    for written in cell.replace("；", ";").split(";") if cell else ():
        kind, rest = _kind(written)
        number = parse_account(rest, kind)
        yield number if isinstance(number, Refusal) else AccountRow(number, kind)


def _kind(written: str) -> tuple[AccountKind, str]:
    """Return the market and the rest: by the tag in front, or without one by the form (futures begin with F)."""
    plain = written.strip() if written.isascii() else capitals(written)
    for tag, kind in _TAGS.items():
        if plain.startswith(tag):
            return kind, plain.removeprefix(tag)
    return AccountKind.FUTURES if plain[:1] in {"F", "f"} else AccountKind.SECURITIES, plain
