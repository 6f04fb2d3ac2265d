"""What is fetched from a former issuer, over a real connection: no more than the limit, from nowhere else."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from chopmark.va.former.fetch import MAX_ANSWER, asked, fetched
from chopmark.va.former.ports import Location, NotFetched
from tests.old_places import Places, published

MOST = 1_200_000


@pytest.fixture
async def places() -> AsyncIterator[Places]:
    async with published() as found:
        yield found


async def listed(place: str, folder: Path) -> bytes:
    async with fetched(Location(place, place), folder, MOST) as spool:
        return spool.read(0, spool.size)


async def test_a_list_as_large_as_the_limit_comes_whole_and_one_octet_more_is_too_much(
    places: Places, tmp_path: Path
) -> None:
    whole = bytes(number % 251 for number in range(MOST))
    places.at |= {"/just": whole, "/more": whole + b"\0"}
    (tmp_path / "just").write_bytes(whole)
    (tmp_path / "more").write_bytes(whole + b"\0")
    for place in (f"{places.url}/just", str(tmp_path / "just")):
        assert await listed(place, tmp_path) == whole
    for place in (f"{places.url}/more", str(tmp_path / "more")):
        with pytest.raises(NotFetched, match=r"^too_large$"):
            await listed(place, tmp_path)


async def test_an_answer_as_large_as_the_limit_comes_whole_and_one_octet_more_is_too_much(places: Places) -> None:
    assert MAX_ANSWER == 64 * 1024
    places.at |= {"/just": bytes(MAX_ANSWER), "/more": bytes(MAX_ANSWER + 1)}
    assert await asked(f"{places.url}/just", b"?") == bytes(MAX_ANSWER)
    with pytest.raises(NotFetched, match=r"^too_large$"):
        await asked(f"{places.url}/more", b"?")


@pytest.mark.parametrize(
    ("status", "why"),
    [(301, "moved"), (307, "moved"), (399, "moved"), (404, "not_found"), (410, "not_found"), (403, "http"),
     (500, "http"), (202, "http")],
)  # fmt: skip
async def test_only_200_is_an_answer_and_nothing_is_fetched_from_elsewhere(
    places: Places, tmp_path: Path, status: int, why: str
) -> None:
    places.at |= {"/here": status, "/elsewhere": b"something"}
    with pytest.raises(NotFetched, match=rf"^{why}$"):
        await asked(f"{places.url}/here", b"?")
    with pytest.raises(NotFetched, match=rf"^{why}$"):
        await listed(f"{places.url}/here", tmp_path)
    assert places.asked == ["POST /here", "GET /here"]
