"""A sheet on disk: its encoding and hash, its lines, and the sealed spool with checked rows that wait to be written.

Everything is read as a stream. Memory holds at most one block and one batch of rows, and eight bytes for each number
and contact of the file.
"""

import hashlib
import json
from array import array
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass
from datetime import date
from functools import partial
from itertools import pairwise
from typing import IO, Any, Final

from chopmark.core.types import AccountKind, AccountNumber, Channel, CustomerId, Text, text
from chopmark.identity.ports import AccountRow
from chopmark.identity.sealed import Sealer
from chopmark.ra.customer_import.cells import Dates
from chopmark.ra.customer_import.decoding import BLOCK, decoded, encoding_of, lines_of, not_csv
from chopmark.ra.customer_import.sheet import Column, Fault, Header, Row, check_line, parse_header, separator_of
from chopmark.tw.email import EmailAddress
from chopmark.tw.mobile import E164, TAIWAN
from chopmark.tw.person_id import PersonId, PersonIdKind

BATCH: Final = 1000
"""How many lines are checked, and later written, together."""
MOST_FAULTS: Final = 10_000
"""How many faults a report lists; further ones are only counted."""
_LENGTH_OCTETS: Final = 4
_ONCE: Final = (Column.CUSTOMER, Column.PERSON_ID, Column.ACCOUNTS)
_SHAREABLE: Final = (Column.MOBILE, Column.EMAIL)
_PART_BITS: Final = 3


@dataclass(frozen=True, slots=True)
class Scan:
    """A whole file: its size in octets, SHA-256 in hexadecimal, and encoding; a fault if the encoding is unknown."""

    size: int
    sha256: str
    encoding: str
    fault: Fault | None


@dataclass(frozen=True, slots=True)
class Judged:
    """A line that is not blank: its row or its faults; `position` is the number of octets up to its end."""

    line: int
    found: Row | tuple[Fault, ...]
    position: int


@dataclass(frozen=True, slots=True)
class Waiting:
    """A checked row in the spool, with its line and the keyed hashes of its person id and contacts."""

    line: int
    row: Row
    person_hash: str
    mobile_hash: str | None = None
    email_hash: str | None = None

    def contact_hash(self, channel: Channel) -> str | None:
        """Return the keyed hash of this contact."""
        return self.mobile_hash if channel is Channel.MOBILE else self.email_hash


def scan(file: IO[bytes]) -> Scan:
    """Return size, hash and encoding of the file: UTF-8 if all of it is, else Big5 as Windows writes it (cp950)."""
    digest, size, head = hashlib.sha256(), 0, b""
    for block in iter(partial(file.read, BLOCK), b""):
        head = head or block[:8]
        digest.update(block)
        size += len(block)
    if said := not_csv(head):
        return Scan(size, digest.hexdigest(), "unknown", Fault(1, None, "encoding", said))
    encoding, line = encoding_of(file)
    neither = text("The file is neither UTF-8 nor Big5 here. Save it again as CSV in UTF-8.")
    return Scan(size, digest.hexdigest(), encoding, Fault(line, None, "encoding", neither) if line else None)


def judged_lines(
    file: IO[bytes],
    encoding: str,
    today: date,
    dates: Dates = Dates.PLAIN,
    countries: Collection[str] = (TAIWAN,),
) -> Iterator[Judged]:
    """Yield every line of the file that is not blank; stop after a header that has faults."""
    header: Header | None = None
    position, separator = 0, ","
    for line, (written, octets) in enumerate(lines_of(file), 1):
        position += octets
        if written is None:
            said = text("This line is too long. Check whether a line end is missing.")
            yield Judged(line, (Fault(line, None, "too_long", said),), position)
            if header is None:
                return
            continue
        plain = decoded(written, encoding)
        if header is None:
            plain = plain.removeprefix("\ufeff")
            if line == 1 and (named := separator_of(plain)):
                separator = named
                continue
            first = parse_header(plain, line, separator)
            if not isinstance(first, Header):
                yield Judged(line, first, position)
                return
            header = first
            continue
        found = check_line(plain, line, header, today, dates, countries)
        if found is not None:
            yield Judged(line, found, position)
    if header is None:
        yield Judged(1, (Fault(1, None, "empty", text("The file is empty. It needs a header and lines.")),), position)


class Spool:
    """Checked rows on disk in sealed batches, in the order of the file; without the key nobody can read them.

    The import writes the rows from here and does not read the file again, so that it writes exactly what was checked.
    """

    def __init__(self, file: IO[bytes], sealer: Sealer, nonce: Callable[[], bytes]) -> None:
        self._file = file
        self._sealer = sealer
        self._nonce = nonce
        self._batches = 0
        self.lines = 0

    def add(self, rows: Sequence[Waiting]) -> None:
        """Append one batch."""
        plain = json.dumps([_packed(row) for row in rows], ensure_ascii=False, separators=(",", ":"))
        sealed = self._sealer.seal(plain, "intake", "rows", str(self._batches), 1, self._nonce())
        self._file.write(len(sealed).to_bytes(_LENGTH_OCTETS, "big"))
        self._file.write(sealed)
        self._batches += 1
        self.lines += len(rows)

    def batches(self) -> Iterator[list[Waiting]]:
        """Yield all batches, the first one first."""
        self._file.seek(0)
        for number in range(self._batches):
            sealed = self._file.read(int.from_bytes(self._file.read(_LENGTH_OCTETS), "big"))
            plain = self._sealer.open(sealed, "intake", "rows", str(number), 1).reveal()
            yield [_unpacked(packed) for packed in json.loads(plain)]


class Seen:
    """Finds numbers and contacts that occur twice: it keeps eight bytes of hash each, and compares repeats in full."""

    def __init__(self) -> None:
        self._hashes = {column: array("Q") for column in (*_ONCE, *_SHAREABLE)}

    def note(self, waiting: Waiting) -> None:
        """Remember the row's numbers and contacts."""
        for column, _, short in (*_numbers(waiting), *_contacts(waiting)):
            self._hashes[column].append(short)

    @property
    def customers(self) -> "array[int]":
        """The short hashes of the customer numbers, in the order of the file."""
        return self._hashes[Column.CUSTOMER]

    def repeated(self, spool: Spool) -> tuple[list[Fault], int]:
        """Return a fault for each of the first MOST_FAULTS repetitions, and how many repetitions there are."""
        short, total = self._again(_ONCE)
        if not total:
            return [], 0
        again = _second_look(spool, short, _numbers)
        return [Fault(line, column, f"{column}.twice", _twice_text(first)) for line, column, first in again], total

    def shared(self, spool: Spool) -> tuple[list[Fault], int]:
        """Return a note for each of the first MOST_FAULTS contacts that an earlier line has too, and their count."""
        short, total = self._again(_SHAREABLE)
        if not total:
            return [], 0
        again = _second_look(spool, short, _contacts)
        return [Fault(line, column, f"{column}.shared", _shared_text(first)) for line, column, first in again], total

    def _again(self, columns: tuple[Column, ...]) -> tuple[dict[Column, set[int]], int]:
        total = 0
        short: dict[Column, set[int]] = {}
        for column in columns:
            twice = short[column] = set()
            for one in _twice(self._hashes[column]):
                total += 1
                if len(twice) < MOST_FAULTS:
                    twice.add(one)
        return short, total


def _twice(hashes: "array[int]") -> Iterator[int]:
    """Yield a hash each time that it occurs again.

    The hashes are sorted in parts, because as Python integers they need about five times the memory of the array.
    """
    for part in range(1 << _PART_BITS):
        ordered = sorted(one for one in hashes if one >> (64 - _PART_BITS) == part)
        yield from (one for one, after in pairwise(ordered) if one == after)


def _second_look(
    spool: Spool, short: dict[Column, set[int]], values: Callable[[Waiting], Iterator[tuple[Column, str, int]]]
) -> list[tuple[int, Column, int]]:
    """Return line and column of each value that occurs again, and the line in which it occurs first."""
    first: dict[tuple[Column, str], int] = {}
    again: list[tuple[int, Column, int]] = []
    for batch in spool.batches():
        for waiting in batch:
            for column, value, hashed in values(waiting):
                if hashed not in short[column]:
                    continue
                line = first.setdefault((column, value), waiting.line)
                if line != waiting.line:
                    again.append((waiting.line, column, line))
                    if len(again) == MOST_FAULTS:
                        return again
    return again


def _twice_text(line: int) -> Text:
    return text("This stands in line %(line)s already. Each may come only once.", line=line)


def _shared_text(line: int) -> Text:
    return text("The customer of line %(line)s has the same one.", line=line)


def _contacts(waiting: Waiting) -> Iterator[tuple[Column, str, int]]:
    """Yield the contacts, which may occur more than once in a file, each with eight bytes of hash."""
    for column, hashed in ((Column.MOBILE, waiting.mobile_hash), (Column.EMAIL, waiting.email_hash)):
        if hashed is not None:
            yield column, hashed, int(hashed[:16], 16)


def _numbers(waiting: Waiting) -> Iterator[tuple[Column, str, int]]:
    """Yield the numbers, which may occur only once in a file, each with eight bytes of hash."""
    yield Column.CUSTOMER, waiting.row.customer, short_hash(waiting.row.customer)
    yield Column.PERSON_ID, waiting.person_hash, int(waiting.person_hash[:16], 16)
    for account in waiting.row.accounts:
        yield Column.ACCOUNTS, account.number, short_hash(account.number)


def short_hash(value: str) -> int:
    """Return an eight-byte hash of the value as an integer."""
    return int.from_bytes(hashlib.blake2b(value.encode(), digest_size=8).digest(), "big")


def _packed(waiting: Waiting) -> list[object]:
    row = waiting.row
    return [
        waiting.line,
        waiting.person_hash,
        waiting.mobile_hash,
        waiting.email_hash,
        row.customer,
        row.person.value,
        row.person.kind,
        row.name,
        row.birth_date and row.birth_date.isoformat(),
        row.mobile,
        row.email,
        [[account.number, account.kind] for account in row.accounts],
        row.verified_on and row.verified_on.isoformat(),
    ]


def _unpacked(packed: list[Any]) -> Waiting:
    line, person_hash, mobile_hash, email_hash, customer, person, kind, *others = packed
    name, birth_date, mobile, email, accounts, verified_on = others
    row = Row(
        customer=CustomerId(customer),
        person=PersonId(person, PersonIdKind(kind)),
        name=name,
        birth_date=date.fromisoformat(birth_date) if birth_date else None,
        mobile=E164(mobile) if mobile else None,
        email=EmailAddress(email) if email else None,
        accounts=tuple(AccountRow(AccountNumber(number), AccountKind(market)) for number, market in accounts),
        verified_on=date.fromisoformat(verified_on) if verified_on else None,
    )
    return Waiting(int(line), row, person_hash, mobile_hash, email_hash)
