"""Fetching from an old CA: a list into a file beside the data, an OCSP answer into memory, bounded in time and size.

Redirects are not followed, because the settings name whom to believe; no proxy of the environment is used.
"""

import asyncio
import binascii
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from tempfile import TemporaryFile
from typing import IO, Final

import httpx2

from chopmark.va.former.ports import Location, NotFetched

LIST_S: Final = 300.0
ANSWER_S: Final = 5.0
QUIET_S: Final = 15.0
"""No byte for so long ends a fetch."""
MAX_ANSWER: Final = 64 * 1024
_PIECE: Final = 1 << 20
_PEM: Final = b"-----BEGIN X509 CRL-----"
_MOVED: Final = range(300, 400)
_GONE: Final = (404, 410)


class Spool:
    """A fetched list in a file that has no name; implements `pki.crl_reading.Source`."""

    def __init__(self, file: IO[bytes], size: int) -> None:
        self._file = file
        self._size = size

    @property
    def size(self) -> int:
        """How many bytes there are."""
        return self._size

    def read(self, offset: int, size: int) -> bytes:
        """Return `size` bytes from `offset` on."""
        self._file.seek(offset)
        return self._file.read(size)


@asynccontextmanager
async def fetched(location: Location, folder: Path, most: int) -> AsyncIterator[Spool]:
    """Give a list as it lies at its place; raises NotFetched. The file lies in `folder` and goes away afterwards."""
    with TemporaryFile(dir=folder) as file:
        if location.is_address:
            await _download(location.place, file, most)
        else:
            await asyncio.to_thread(_copy, Path(location.place), file, most)
        size = await asyncio.to_thread(_as_der, file)
        yield Spool(file, size)


async def _download(url: str, file: IO[bytes], most: int) -> None:
    try:
        async with (
            asyncio.timeout(LIST_S),
            _client(url, QUIET_S) as client,
            client.stream("GET", url, headers={"accept-encoding": "identity"}) as answer,
        ):
            _require_ok(answer.status_code)
            got = 0
            async for part in answer.aiter_raw(_PIECE):
                got += len(part)
                if got > most:
                    raise NotFetched("too_large")
                await asyncio.to_thread(file.write, part)
    except (TimeoutError, httpx2.HTTPError) as error:
        raise NotFetched("unreachable") from error


def _client(url: str, timeout_s: float) -> httpx2.AsyncClient:
    # Lists and answers are signed, so they mostly come by plain http: then no trust store is read.
    trust = True if url.startswith("https://") else ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    return httpx2.AsyncClient(verify=trust, timeout=timeout_s, follow_redirects=False, trust_env=False)


def _require_ok(status: int) -> None:
    if status in _MOVED:
        raise NotFetched("moved")
    if status in _GONE:
        raise NotFetched("not_found")
    if status != httpx2.codes.OK:
        raise NotFetched("http")


def _copy(path: Path, file: IO[bytes], most: int) -> None:
    """Copy a file, so that it may be replaced while it is read."""
    try:
        with path.open("rb") as there:
            while piece := there.read(_PIECE):
                if file.tell() + len(piece) > most:
                    raise NotFetched("too_large")
                file.write(piece)
    except OSError as error:
        raise NotFetched("no_file") from error


def _as_der(file: IO[bytes]) -> int:
    """Turn a list in PEM into DER in its place, a line at a time, and return the list's size.

    Base64 is longer than what it stands for, so what is written never reaches what is still to be read.
    """
    file.seek(0)
    if file.read(len(_PEM)) != _PEM:
        return file.seek(0, 2)
    file.readline()
    read, written = file.tell(), 0
    while (line := file.readline(_PIECE)) and not line.startswith(b"-----END"):
        read = file.tell()
        try:
            piece = binascii.a2b_base64(line)
        except binascii.Error as error:
            raise NotFetched("malformed") from error
        file.seek(written)
        written += file.write(piece)
        file.seek(read)
    return written


async def asked(url: str, request_der: bytes) -> bytes:
    """Return what an OCSP responder answers, at most 64 KiB, within five seconds; raises NotFetched."""
    headers = {"content-type": "application/ocsp-request", "accept": "application/ocsp-response"}
    try:
        async with (
            asyncio.timeout(ANSWER_S),
            _client(url, ANSWER_S) as client,
            client.stream("POST", url, content=request_der, headers=headers) as answer,
        ):
            _require_ok(answer.status_code)
            got = bytearray()
            async for part in answer.aiter_raw():
                got += part
                if len(got) > MAX_ANSWER:
                    raise NotFetched("too_large")
            return bytes(got)
    except (TimeoutError, httpx2.HTTPError) as error:
        raise NotFetched("unreachable") from error
