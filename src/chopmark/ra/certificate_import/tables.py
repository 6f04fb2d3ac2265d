"""Tables of an import (CSV): certificates in cells, or lines that say to whom a serial number belongs.

The header names the columns in English or Chinese, in any order; other columns are skipped. A cell in
quotation marks may contain line ends, as PEM does.
"""

import csv
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from io import TextIOWrapper
from typing import IO, Final

from chopmark.core.types import Text, text
from chopmark.ra.customer_import.cells import unguarded
from chopmark.ra.customer_import.decoding import BIG5, encoding_of
from chopmark.tw.text import compact

_HEAD_LINE: Final = 16_384


class Cell(StrEnum):
    """The columns that an import reads."""

    CERTIFICATE = "certificate"
    SERIAL = "serial"
    CUSTOMER = "customer"
    PERSON_ID = "person_id"
    ACCOUNT = "account"
    KEY = "key"


_TITLES: Final = {cell.value: cell for cell in Cell} | {
    "cert": Cell.CERTIFICATE,
    "pem": Cell.CERTIFICATE,
    "x509": Cell.CERTIFICATE,
    "憑證": Cell.CERTIFICATE,
    "憑證內容": Cell.CERTIFICATE,
    "憑證資料": Cell.CERTIFICATE,
    "serialnumber": Cell.SERIAL,
    "serial_number": Cell.SERIAL,
    "憑證序號": Cell.SERIAL,
    "序號": Cell.SERIAL,
    "customer_number": Cell.CUSTOMER,
    "客戶編號": Cell.CUSTOMER,
    "客戶代號": Cell.CUSTOMER,
    "身分證字號": Cell.PERSON_ID,
    "身分證號": Cell.PERSON_ID,
    "帳號": Cell.ACCOUNT,
    "key_home": Cell.KEY,
    "金鑰位置": Cell.KEY,
    "存放位置": Cell.KEY,
}
_WHOSE: Final = frozenset({Cell.CUSTOMER, Cell.PERSON_ID, Cell.ACCOUNT})


@dataclass(frozen=True, slots=True)
class TableRow:
    """A line of a table: its cells, or in `text` what is wrong with it. `position` is its rough offset in octets."""

    line: int
    cells: Mapping[Cell, str]
    position: int
    with_certificates: bool
    text: Text | None = None


def is_table(head: bytes) -> bool:
    """Tell whether a file that begins with `head` is a table of an import: its first line has known titles."""
    first = head[:_HEAD_LINE].lstrip().splitlines()[:1]
    for encoding in ("utf-8-sig", BIG5):
        try:
            columns = _columns(first[0].decode(encoding)) if first else None
        except UnicodeDecodeError:
            continue
        if columns is not None:
            return True
    return False


def _columns(written: str) -> Sequence[Cell | None] | None:
    """Return what each column means, or None if the line is no header of such a table."""
    separator = next((one for one in "\t;" if one in written), ",")
    try:
        cells = next(csv.reader([written.removeprefix("\ufeff")], delimiter=separator, strict=True), [])
    except csv.Error:
        return None
    columns = [_TITLES.get(compact(unguarded(cell)).lower()) for cell in cells]
    there = {column for column in columns if column is not None}
    if len(there) != sum(column is not None for column in columns):
        return None
    return columns if Cell.CERTIFICATE in there or (Cell.SERIAL in there and there & _WHOSE) else None


def table_rows(file: IO[bytes]) -> Iterator[TableRow]:
    """Yield the lines of a table that `is_table` accepted, without its header and blank lines."""
    encoding, bad = encoding_of(file)
    if bad:
        yield TableRow(
            bad, {}, 0, True, text("The file is neither UTF-8 nor Big5 here. Save it again as CSV in UTF-8.")
        )
        return
    file.seek(0)
    lines = TextIOWrapper(file, "utf-8-sig" if encoding == "utf-8" else encoding, "replace", newline="")
    try:
        header, above = lines.readline(_HEAD_LINE), 1
        while header and not header.strip():
            header, above = lines.readline(_HEAD_LINE), above + 1
        columns = _columns(header) or ()
        separator = next((one for one in "\t;" if one in header), ",")
        reader = csv.reader(lines, delimiter=separator, strict=True)
        with_certificates = Cell.CERTIFICATE in columns
        while True:
            try:
                cells = next(reader, None)
            except csv.Error:
                said = text("The quotation marks here do not match, or a cell is too long; the rest was not read.")
                yield TableRow(reader.line_num + above, {}, 0, True, said)
                return
            if cells is None:
                return
            line = reader.line_num + above
            if any(cell.strip() for cell in cells):
                found = {column: unguarded(cell) for column, cell in zip(columns, cells, strict=False) if column}
                yield TableRow(line, found, file.tell(), with_certificates)
    finally:
        lines.detach()
