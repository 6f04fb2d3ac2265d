"""The files of an import as a stream of certificates: PEM, DER, PKCS #7, and tables (CSV) with a certificate in a cell.

Everything is read as a stream; memory holds one certificate, or one PKCS #7 file of at most `LARGEST_BAG`. Whatever
cannot be read is yielded as `Unreadable` with its place; reading goes on after it if possible.
"""

import base64
import binascii
import hashlib
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import IO, Final

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.serialization import Encoding, load_der_private_key, pkcs7

from chopmark.core.refusal import Kind, Refusal, Refused
from chopmark.core.types import Text, text
from chopmark.ra.certificate_import.report import Unreadable
from chopmark.ra.certificate_import.tables import Cell, is_table, table_rows

LARGEST: Final = 64 * 1024
"""The most octets that one certificate may have."""
LARGEST_BAG: Final = 64 * 1024 * 1024
"""The most octets of a PKCS #7 file, because such a file cannot be read as a stream."""
LONGEST_LINE: Final = LARGEST * 2
BLOCK: Final = 1 << 20
_HEAD: Final = 64 * 1024
_BEGIN: Final = re.compile(rb"-----BEGIN ([A-Z0-9 #]+)-----")
_CERTIFICATES: Final = frozenset({b"CERTIFICATE", b"X509 CERTIFICATE", b"TRUSTED CERTIFICATE"})
_BAGS: Final = frozenset({b"PKCS7", b"PKCS #7 SIGNED DATA", b"CMS"})
_SIGNED_DATA: Final = bytes.fromhex("06092a864886f70d010702")


@dataclass(frozen=True, slots=True)
class Entry:
    """A certificate of the input (DER), and the cells of its line in a table. `position`: octets, over all files."""

    file: str
    place: int
    der: bytes
    cells: Mapping[Cell, str]
    position: int


@dataclass(frozen=True, slots=True)
class Input:
    """All files of an import in a fixed order, their total size, and the SHA-256 of their names and contents."""

    files: tuple[Path, ...]
    size: int
    sha256: str


def open_input(paths: Sequence[Path], at: Callable[[int, int], None]) -> Input:
    """Return the files that these paths name. A folder stands for all files in it except hidden ones.

    `at` is called with the octets read so far and the total. Raises Refused: NOT_FOUND if a path is missing or cannot
    be read, MALFORMED if the paths lead to no file at all.
    """
    files: list[Path] = []
    for path in paths:
        if path.is_dir():
            inside = (one for one in sorted(path.rglob("*")) if one.is_file())
            files += (one for one in inside if not any(part.startswith(".") for part in one.relative_to(path).parts))
        else:
            files.append(path)
    if not files:
        raise Refused(Refusal(Kind.MALFORMED, text("There is no file to import."), field="file", code="file"))
    digest, read = hashlib.sha256(), 0
    total = sum(_size(path) for path in files)
    for path in files:
        digest.update(hashlib.sha256(path.name.encode("utf-8", "surrogateescape")).digest())
        contents = hashlib.sha256()
        with _opened(path) as file:
            for block in iter(partial(file.read, BLOCK), b""):
                contents.update(block)
                read += len(block)
                at(read, 2 * total)
        digest.update(contents.digest())
    return Input(tuple(files), total, digest.hexdigest())


def entries_of(whole: Input) -> Iterator[Entry | Unreadable]:
    """Yield every certificate of the input, and Unreadable for whatever is none. Skip tables without certificates."""
    before = 0
    for path in whole.files:
        with _opened(path) as file:
            yield from _file_entries(file, path.name, before)
        before += _size(path)


def sheets_of(whole: Input) -> Iterator[Mapping[Cell, str]]:
    """Yield the lines of tables without certificates; these say to whom a serial number belongs."""
    for path in whole.files:
        with _opened(path) as file:
            if is_table(file.read(_HEAD)):
                yield from (
                    row.cells for row in table_rows(file) if row.text is None and not row.cells.get(Cell.CERTIFICATE)
                )


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError as error:
        raise _no_file(path) from error


def _opened(path: Path) -> IO[bytes]:
    try:
        return path.open("rb")
    except OSError as error:
        raise _no_file(path) from error


def _no_file(path: Path) -> Refused:
    said = text("The file %(name)s cannot be read.", name=path.name)
    return Refused(Refusal(Kind.NOT_FOUND, said, field="file", code="file"))


def _file_entries(file: IO[bytes], name: str, before: int) -> Iterator[Entry | Unreadable]:
    head = file.read(_HEAD)
    file.seek(0)
    if not head.strip():
        yield Unreadable(name, 1, "empty", text("The file is empty."))
    elif said := _not_ours(head):
        yield Unreadable(name, 1, "other_file", said)
    elif head[0] == 0x30 and not is_table(head):
        yield from _binary(file, name, before)
    elif is_table(head):
        yield from _table(file, name, before)
    elif _BEGIN.search(head):
        yield from _pem(file, name, before)
    else:
        yield from _bare(file, name, before)


def _not_ours(head: bytes) -> Text | None:
    if head.startswith((b"\xff\xfe", b"\xfe\xff")):
        return text("This is UTF-16, which Excel calls Unicode Text. Save it as CSV UTF-8.")
    if head.startswith(b"PK\x03\x04"):
        return text("This is a ZIP file or an Excel workbook. Unpack it, or save it as CSV UTF-8.")
    if head.startswith(b"\xd0\xcf\x11\xe0"):
        return text("This is an Excel workbook. Save it as CSV UTF-8.")
    return None


def _binary(file: IO[bytes], name: str, before: int) -> Iterator[Entry | Unreadable]:
    """Yield a DER certificate, or those of a PKCS #7 file. A file with a private key (PKCS #12) is Unreadable."""
    data = file.read(LARGEST_BAG + 1)
    if len(data) > LARGEST_BAG:
        yield Unreadable(name, 1, "too_large", _TOO_LARGE)
    elif _SIGNED_DATA in data[:32]:
        yield from _bag(data, name, 1, before + len(data))
    elif b"\x06\x09\x2a\x86\x48\x86\xf7\x0d\x01\x07\x01" in data[:64] and data[2:16].find(b"\x02\x01\x03") >= 0:
        yield Unreadable(name, 1, "private_key", _PRIVATE)
    elif len(data) > LARGEST:
        yield Unreadable(name, 1, "too_large", _TOO_LARGE)
    elif _is_key(data):
        yield Unreadable(name, 1, "private_key", _PRIVATE)
    else:
        yield Entry(name, 1, data, {}, before + len(data))


def _is_key(der: bytes) -> bool:
    """Tell whether these octets are a private key, encrypted or not; a certificate is none."""
    try:
        load_der_private_key(der, None)
    except (TypeError, UnsupportedAlgorithm):  # a TypeError is for one that is encrypted
        return True
    except ValueError:
        return False
    return True


def _bag(data: bytes, name: str, place: int, position: int) -> Iterator[Entry | Unreadable]:
    try:
        found = pkcs7.load_der_pkcs7_certificates(data)
    except ValueError:
        yield Unreadable(name, place, "pkcs7", text("This PKCS #7 file cannot be read. Export it again."))
        return
    for number, certificate in enumerate(found):
        yield Entry(name, place + number, certificate.public_bytes(Encoding.DER), {}, position)


def _pem(file: IO[bytes], name: str, before: int) -> Iterator[Entry | Unreadable]:
    """Yield the certificates of a PEM file; text between them is skipped."""
    kind, lines, octets, place, at = b"", list[bytes](), 0, 0, 0
    for line in iter(partial(file.readline, LONGEST_LINE), b""):
        at += len(line)
        bare = line.strip()
        begun = _BEGIN.match(bare.lstrip(b"\xef\xbb\xbf"))
        if begun:
            if kind:
                yield Unreadable(name, place, "unfinished", _UNFINISHED)
            kind, lines, octets, place = begun[1], [], 0, place + 1
        elif kind and bare.startswith(b"-----END"):
            yield from _block(kind, b"".join(lines), name, place, before + at)
            kind = b""
        elif kind and octets <= (LARGEST_BAG if kind in _BAGS else LARGEST) * 3 // 2:
            lines.append(bare)
            octets += len(bare)
    if kind:
        yield Unreadable(name, place, "unfinished", _UNFINISHED)


def _block(kind: bytes, body: bytes, name: str, place: int, position: int) -> Iterator[Entry | Unreadable]:
    if b"PRIVATE KEY" in kind:
        yield Unreadable(name, place, "private_key", _PRIVATE)
        return
    if kind not in _CERTIFICATES | _BAGS:
        return  # a request, a revocation list or parameters: no certificate to import
    der = _decoded(body)
    if der is None:
        yield Unreadable(name, place, "base64", _NOT_BASE64)
    elif kind in _BAGS:
        yield from _bag(der, name, place, position)
    elif len(der) > LARGEST:
        yield Unreadable(name, place, "too_large", _TOO_LARGE)
    else:
        yield Entry(name, place, der, {}, position)


def _bare(file: IO[bytes], name: str, before: int) -> Iterator[Entry | Unreadable]:
    """Yield the one certificate of a file that holds only Base64, without PEM lines."""
    data = file.read(LARGEST * 2 + 1)
    der = _decoded(data.removeprefix(b"\xef\xbb\xbf")) if len(data) <= LARGEST * 2 else None
    if der is None or not der.startswith(b"\x30"):
        yield Unreadable(name, 1, "other_file", _NOT_KNOWN)
    elif _SIGNED_DATA in der[:32]:
        yield from _bag(der, name, 1, before + len(data))
    elif _is_key(der):
        yield Unreadable(name, 1, "private_key", _PRIVATE)
    else:
        yield Entry(name, 1, der, {}, before + len(data))


def _table(file: IO[bytes], name: str, before: int) -> Iterator[Entry | Unreadable]:
    for row in table_rows(file):
        if row.text is not None:
            yield Unreadable(name, row.line, "table", row.text)
            continue
        written = row.cells.get(Cell.CERTIFICATE)
        if not row.with_certificates:
            continue
        if not written:
            yield Unreadable(name, row.line, "no_certificate", text("This line has no certificate."))
            continue
        if "PRIVATE KEY" in written:
            yield Unreadable(name, row.line, "private_key", _PRIVATE)
            continue
        der = _decoded(_BEGIN_END.sub("", written).encode("ascii", "replace"))
        if der is None:
            yield Unreadable(name, row.line, "base64", _NOT_BASE64)
        elif len(der) > LARGEST:
            yield Unreadable(name, row.line, "too_large", _TOO_LARGE)
        else:
            yield Entry(name, row.line, der, row.cells, before + row.position)


_BEGIN_END: Final = re.compile(r"-----(?:BEGIN|END)[A-Z0-9 ]*-----")
_SPACE: Final = re.compile(rb"\s+")


def _decoded(body: bytes) -> bytes | None:
    try:
        return base64.b64decode(_SPACE.sub(b"", body), validate=True) or None
    except (binascii.Error, ValueError):
        return None


_PRIVATE: Final = text(
    "This has a private key. No key belongs into an import: export the certificates alone, and look after that file."
)
_TOO_LARGE: Final = text("This is larger than any certificate. Is it the right file?")
_NOT_BASE64: Final = text("The Base64 text of this certificate is damaged.")
_UNFINISHED: Final = text("This certificate has no END line. Was the file cut off?")
_NOT_KNOWN: Final = text("This is neither PEM, DER nor PKCS #7, and no table with a certificate in each line.")
