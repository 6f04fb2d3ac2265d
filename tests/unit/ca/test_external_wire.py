"""One exchange with another CA over a real connection: bounded, without redirects, and when it may be repeated."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from chopmark.ca.external.ports import NotReached, Silent
from chopmark.ca.external.wire import MAX_ANSWER, Address, Said, Wire
from tests.old_places import Places, published


@pytest.fixture
async def places() -> AsyncIterator[Places]:
    async with published() as found:
        yield found


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        ("0", 0),
        ("120", 120),
        (" 120 ", 120),
        ("86401", 86400),
        ("999999999", 86400),
        ("9999999999", None),
        ("", None),
        ("-1", None),
        ("1.5", None),
        ("\uff11\uff12", None),
        ("\u00b2", None),
        ("Wed, 21 Oct 2026 07:28:00 GMT", None),
    ],
)
def test_only_seconds_say_when_to_ask_again_and_a_day_at_most(value: str, seconds: int | None) -> None:
    assert Said(503, {"retry-after": value}, b"").retry_after_s == seconds
    assert Said(503, {}, b"").retry_after_s is None


def test_an_answer_is_not_shown_where_it_is_logged() -> None:
    assert "a certificate" not in repr(Said(200, {}, b"a certificate"))


async def test_a_redirect_is_an_answer_and_not_followed(places: Places) -> None:
    places.at |= {"/here": 302, "/elsewhere": b"something"}
    said = await Wire(Address(places.url)).post("/here", b"?", {})
    assert isinstance(said, Said)
    assert (said.status, said.body) == (302, b"")
    assert places.asked == ["POST /here"]


async def test_an_answer_of_256_kib_comes_whole_and_one_octet_more_is_none(places: Places) -> None:
    assert MAX_ANSWER == 256 * 1024
    places.at |= {"/just": bytes(MAX_ANSWER), "/more": bytes(MAX_ANSWER + 1)}
    wire = Wire(Address(places.url))
    said = await wire.get("/just")
    assert isinstance(said, Said)
    assert len(said.body) == MAX_ANSWER
    assert await wire.get("/more") == Silent("too_large")


async def test_nothing_was_sent_where_nobody_listens_and_all_may_have_arrived_where_nobody_answers() -> None:
    async with published() as gone:
        pass
    assert await Wire(Address(gone.url)).get("/") == NotReached("unreachable")

    async def hang_up(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.close()

    server = await asyncio.start_server(hang_up, "127.0.0.1", 0)
    async with server:
        url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        assert await Wire(Address(url)).get("/") == Silent("dropped")
