"""An authority that is somebody else's, over a real connection: what it may answer, and what is not believed."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import pytest

from chopmark.audit.ports import NotStamped
from chopmark.pki import tsp
from chopmark.pki.tsp_token import MAX_TOKEN_BYTES
from chopmark.va.timestamp_remote import RemoteAuthority

REQUEST = tsp.build_request(bytes(32), 7)
TYPE = "Content-Type: application/timestamp-reply"
Answer = Callable[[bytes], bytes | Awaitable[bytes]]


@asynccontextmanager
async def authority(answer: Answer) -> AsyncIterator[str]:
    """A server on loopback that gives each request's head and body to `answer` and sends what that returns."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        length = next(
            int(line[15:]) for line in head.decode().split("\r\n") if line.lower().startswith("content-length:")
        )
        answered = answer(head + await reader.readexactly(length))
        writer.write(answered if isinstance(answered, bytes) else await answered)
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with server:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/tsa"


def reply(body: bytes, *headers: str, status: str = "200 OK") -> bytes:
    named = "".join(f"{header}\r\n" for header in headers)
    return f"HTTP/1.1 {status}\r\nConnection: close\r\nContent-Length: {len(body)}\r\n{named}\r\n".encode() + body


async def test_the_request_is_posted_as_the_protocol_has_it_and_the_answer_comes_back() -> None:
    seen: list[bytes] = []

    def answer(request: bytes) -> bytes:
        seen.append(request)
        return reply(b"token", TYPE)

    async with authority(answer) as url:
        assert await RemoteAuthority(url).ask(REQUEST) == b"token"
    head, _, body = seen[0].partition(b"\r\n\r\n")
    assert head.startswith(b"POST /tsa HTTP/1.1\r\n")
    assert b"content-type: application/timestamp-query" in head.lower()
    assert body == REQUEST


@pytest.mark.parametrize(
    ("answered", "why"),
    [
        (reply(b"", TYPE, status="500 Oops"), "status 500"),
        (reply(b"", "Location: http://127.0.0.1:1/", TYPE, status="302 Found"), "status 302"),
        (reply(b"<html>", "Content-Type: text/html"), "no time-stamp reply"),
        (reply(b"token"), "no time-stamp reply"),
        (reply(bytes(MAX_TOKEN_BYTES + 1), TYPE), "too long"),
        (reply(b"token", TYPE)[:-2], "cannot be reached"),
        (b"no http at all\r\n\r\n", "cannot be reached"),
    ],
)
async def test_what_is_no_answer_is_not_taken_for_one(answered: bytes, why: str) -> None:
    async with authority(lambda _: answered) as url:
        with pytest.raises(NotStamped, match=why):
            await RemoteAuthority(url).ask(REQUEST)


async def test_an_authority_that_is_not_there_is_said_to_be_out_of_reach() -> None:
    async with authority(lambda _: b"") as url:
        pass
    with pytest.raises(NotStamped, match="cannot be reached"):
        await RemoteAuthority(url).ask(REQUEST)
