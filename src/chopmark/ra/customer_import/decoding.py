"""A sheet's octets: which encoding they are in, where lines end, and how user-defined characters of Big5 are read.

A line ends with CR LF, LF or CR. These octets never occur inside a character of UTF-8 or Big5.
"""

import codecs
from collections.abc import Iterator
from functools import partial
from typing import IO, Final

from chopmark.core.types import Text, text

LONGEST_LINE: Final = 16_384
"""Octets."""
BLOCK: Final = 1 << 20
BIG5: Final = "cp950"
"""Big5 as Windows writes it, code page 950."""
_MADE: Final = (((0xFA, 0xFE), 0xE000), ((0x8E, 0xA0), 0xE311), ((0x81, 0x8D), 0xEEB8), ((0xC6, 0xC8), 0xF6B1))
"""Rows of Big5 for user-defined characters (造字), and where Windows puts them in Unicode's private use area."""
_TRAILS: Final = (*range(0x40, 0x7F), *range(0xA1, 0xFF))
_HALF_ROW: Final = 0xA1
"""Row C6 is user-defined from here on."""
_NOT_CSV: Final = {
    b"\xff\xfe": text("This is UTF-16, which Excel calls Unicode Text. Save it as CSV UTF-8."),
    b"\xfe\xff": text("This is UTF-16, which Excel calls Unicode Text. Save it as CSV UTF-8."),
    b"PK\x03\x04": text("This is an Excel workbook. Save it as CSV UTF-8 and import that."),
    b"\xd0\xcf\x11\xe0": text("This is an Excel workbook. Save it as CSV UTF-8 and import that."),
}


def not_csv(head: bytes) -> Text | None:
    """Return a sentence that says what a file is when its first octets show that it is no CSV; otherwise None."""
    return next((said for magic, said in _NOT_CSV.items() if head.startswith(magic)), None)


def lines_of(file: IO[bytes]) -> Iterator[tuple[bytes | None, int]]:
    """Yield each line of the file and its length in octets; None in place of a line of `LONGEST_LINE` or more."""
    file.seek(0)
    rest, lost = b"", 0
    for block in iter(partial(file.read, BLOCK), b""):
        *whole, rest = _split(rest + block)
        for line in whole:
            octets = lost + len(line)
            yield (None if octets >= LONGEST_LINE else line), octets
            lost = 0
        if len(rest) >= LONGEST_LINE:  # too long: only its length is needed, and its last octet, which may be a CR
            lost, rest = lost + len(rest) - 1, rest[-1:]
    for line in rest.splitlines(keepends=True):
        octets = lost + len(line)
        yield (None if octets >= LONGEST_LINE else line), octets
        lost = 0


def _split(data: bytes) -> list[bytes]:
    """Return the whole lines with their ends, and last what follows them; a CR at the end may be half of a CR LF."""
    lines = data.splitlines(keepends=True)
    return lines if lines and not lines[-1].endswith(b"\n") else [*lines, b""]


def encoding_of(file: IO[bytes]) -> tuple[str, int]:
    """Return "utf-8" if the whole file is UTF-8, else Big5 if it is that, with line 0; else "unknown" and a bad line.

    The bad line is the first one of the encoding that could be read further.
    """
    worst = 0
    for encoding in ("utf-8", BIG5):
        line = _first_bad_line(file, encoding)
        if line == 0:
            return encoding, 0
        worst = max(worst, line)
    return "unknown", worst


def decoded(line: bytes, encoding: str) -> str:
    """Return a line's text; user-defined characters of Big5 become the private use characters that Windows uses.

    Raises UnicodeDecodeError.
    """
    if encoding != BIG5:
        return line.decode(encoding)
    made, at = "", 0
    while True:
        try:
            return made + line[at:].decode(BIG5)
        except UnicodeDecodeError as error:
            start = at + error.start
            private = _private(line[start : start + 2])
            if private is None:
                raise
            made += line[at:start].decode(BIG5) + private
            at = start + 2


def made_octets(character: str) -> str:
    """Return, as in `FA 40`, the two octets of Big5 that Windows writes for a private use character; '' for none."""
    for (first, last), base in _MADE:
        trails = _TRAILS
        offset = ord(character) - base + (_TRAILS.index(_HALF_ROW) if first == 0xC6 else 0)
        row, place = divmod(offset, len(trails))
        if ord(character) - base >= 0 and first + row <= last:
            return f"{first + row:02X} {trails[place]:02X}"
    return ""


def _private(octets: bytes) -> str | None:
    if len(octets) < 2 or octets[1] not in _TRAILS:
        return None
    for (first, last), base in _MADE:
        if first <= octets[0] <= last:
            place = (octets[0] - first) * len(_TRAILS) + _TRAILS.index(octets[1])
            half = _TRAILS.index(_HALF_ROW) if first == 0xC6 else 0
            return None if place < half else chr(base + place - half)
    return None


def _first_bad_line(file: IO[bytes], encoding: str) -> int:
    """Return the number of the first line that is not in this encoding; 0 when all lines are."""
    if encoding == BIG5:
        for number, (line, _) in enumerate(lines_of(file), 1):
            try:
                decoded(line or b"", BIG5)
            except UnicodeDecodeError:
                return number
        return 0
    decoder = codecs.getincrementaldecoder(encoding)("strict")
    file.seek(0)
    before = 0
    try:
        for block in iter(partial(file.read, BLOCK), b""):
            decoder.decode(block)
            before += len(block)
        decoder.decode(b"", final=True)
    except UnicodeDecodeError as error:
        waiting = len(bytes(error.object)) - (file.tell() - before)
        return _line_at(file, before - max(waiting, 0) + error.start)
    return 0


def _line_at(file: IO[bytes], position: int) -> int:
    """Return the number of the line that contains the octet at this position."""
    line = at = 0
    for _, octets in lines_of(file):
        line, at = line + 1, at + octets
        if at > position:
            break
    return max(line, 1)
