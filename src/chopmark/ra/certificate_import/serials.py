"""Tables that say to whom a serial number belongs, for issuers whose subjects do not name the customer.

Memory holds sixteen bytes for each line; the lines themselves are in a temporary file without a name.
"""

import hashlib
import json
import re
from array import array
from bisect import bisect_left
from collections.abc import Iterable, Mapping
from typing import IO, Final

from chopmark.ra.certificate_import.tables import Cell
from chopmark.tw.text import compact

_HEX: Final = re.compile(r"(?:0[xX])?([0-9A-Fa-f]{1,40})")
_SAID: Final = (Cell.CUSTOMER, Cell.PERSON_ID, Cell.ACCOUNT, Cell.KEY)


class Serials:
    """The lines of such tables, indexed by serial number."""

    def __init__(self, scratch: IO[bytes]) -> None:
        self._scratch = scratch
        self._hashes, self._places = array("Q"), array("Q")

    def read(self, rows: Iterable[Mapping[Cell, str]]) -> None:
        """Index the lines. A serial number of digits only may be decimal or hexadecimal, so it is indexed as both."""
        found: list[tuple[int, int]] = []
        for row in rows:
            names = set(serials_in(row.get(Cell.SERIAL, "")))
            if names:
                place = self._scratch.tell()
                said = {cell.value: row[cell] for cell in _SAID if row.get(cell)}
                self._scratch.write(json.dumps([sorted(names), said]).encode() + b"\n")
                found += ((_short(name), place) for name in names)
        found.sort()
        self._hashes = array("Q", (one for one, _ in found))
        self._places = array("Q", (place for _, place in found))

    def of(self, serial: str) -> list[Mapping[Cell, str]]:
        """Return the lines of the tables with this serial number, which is given in hexadecimal."""
        wanted = _short(serial)
        said: list[Mapping[Cell, str]] = []
        at = bisect_left(self._hashes, wanted)
        while at < len(self._hashes) and self._hashes[at] == wanted:
            self._scratch.seek(self._places[at])
            names, cells = json.loads(self._scratch.readline())
            if serial in names:
                said.append({Cell(name): value for name, value in cells.items()})
            at += 1
        return said


def serials_in(written: str) -> list[str]:
    """Return the serial numbers that a cell may mean, in the form of `pki.x509.serial_hex`."""
    bare = compact(written).replace(":", "")
    found = _HEX.fullmatch(bare)
    if found is None:
        return []
    numbers = [int(found[1], 16)]
    if bare.isdecimal():
        numbers.append(int(bare))
    return [_hex(number) for number in numbers]


def _hex(number: int) -> str:
    return number.to_bytes((number.bit_length() + 7) // 8 or 1, "big").hex().upper()


def _short(serial: str) -> int:
    return int.from_bytes(hashlib.blake2b(serial.encode(), digest_size=8).digest(), "big")
