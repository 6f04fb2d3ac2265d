"""Fetch from a former issuer, bounded in time and size: a list into a temporary file, an OCSP answer into memory.

Redirects are not followed, because only the addresses in the settings are trusted. No proxy of the environment is used.
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
"""A fetch fails if no byte arrives for so long."""
MAX_ANSWER: Final = 64 * 1024
_PIECE: Final = 1 << 20
_PEM: Final = b"-----BEGIN X509 CRL-----"
_MOVED: Final = range(300, 400)
_GONE: Final = (404, 410)


class Spool:
    """A fetched list in an unnamed temporary file; implements `pki.crl_reading.Source`."""

    def __init__(self, file: IO[bytes], size: int) -> None:
        self._file = file
        self._size = size

    @property
    def size(self) -> int:
        """The length in bytes."""
        return self._size

    def read(self, offset: int, size: int) -> bytes:
        """Return `size` bytes from `offset` on."""
        self._file.seek(offset)
        return self._file.read(size)


@asynccontextmanager
async def fetched(location: Location, folder: Path, most: int) -> AsyncIterator[Spool]:
    """Provide the list of a location, in a file in `folder` that is deleted afterwards. Raises NotFetched."""
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
    # Lists and answers are signed, so most come by plain http. For those, do not load the trust store.
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
    """Copy a file, so that somebody may replace the original while we read."""
    try:
        with path.open("rb") as there:
            while piece := there.read(_PIECE):
                if file.tell() + len(piece) > most:
                    raise NotFetched("too_large")
                file.write(piece)
    except OSError as error:
        raise NotFetched("no_file") from error


def _as_der(file: IO[bytes]) -> int:
    """Convert a list from PEM to DER within the same file, line by line, and return its size. Leaves DER as it is.

    Base64 is longer than the bytes that it encodes, so writing never overtakes reading.
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
    """Return the answer of an OCSP responder: at most 64 KiB, within five seconds. Raises NotFetched."""
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
