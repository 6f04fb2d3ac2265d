"""The page's restore, typed as it is written, on real processes in production mode under real customers (F13)."""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

import pytest

from bench.site import Site, founded
from bench.template import enrolled
from tests.contract.served.restored import Operator, Said, typed

SAID = "We are checking our records after a fault and take no orders until that is done. Please try again later."
BEHIND = "The database is older than what stands outside it."
PUT_BACK = 2
"""Blocks of the page that put a copy back, one an engine; those that follow are typed in their order."""


@contextmanager
def installation(database: str, outside: Path, customers: int) -> Iterator[Site]:
    """Give an installation in production with customers who may renew now; heads and journal are on another disk."""
    with founded(database, "", outside) as site:
        site.workers = 1
        asyncio.run(enrolled(site.settings, datetime.now(UTC), range(1, customers + 1)))
        yield site


@pytest.fixture
def small(other_disk: Path) -> Iterator[Site]:
    with installation("", other_disk, 4) as site:
        yield site


async def stands_still(operator: Operator) -> None:
    """Portal, API and readiness say what is so; status goes on."""
    await operator.until_ready(503, "heads", BEHIND)
    page = await operator.get("/")
    assert (page.status_code, page.headers["retry-after"]) == (503, "60")
    assert SAID in page.text
    answer = await operator.get("/api/v1/status")
    assert (answer.status_code, answer.json()["code"], answer.json()["detail"]) == (503, "standstill", SAID)


def says(said: Said, code: int, *words: str) -> None:
    assert said.code == code, said.text
    for word in words:
        assert word in said.text, said.text


async def declared(operator: Operator) -> list[Said]:
    """Type the page's commands, from the first look to the last; return what the last block said."""
    look, end, after = typed("The database was restored from a backup")[PUT_BACK:]
    checked, dry = operator.type(look)
    says(checked, 1, "NOT READY", "`chopmark db restored`")
    says(dry, 0, "Nothing was changed.")
    ended = operator.type(end)[0]
    says(ended, 0, "The counter works again.")
    await asyncio.to_thread(operator.site.stop)
    await operator.start()
    await operator.until_ready(200)
    return operator.type(after)


async def test_a_backup_is_put_back_as_the_page_says_and_the_counter_goes_on(small: Site, tmp_path: Path) -> None:
    operator = Operator(small, tmp_path / "operator")
    listening = await operator.codes.listen(str(small.codes), 0, 1)
    try:
        await operator.start()
        kept = await operator.renewed(1)
        await operator.until_ready(200)
        says(operator.line("chopmark check"), 0)
        operator.back_up()
        lost = await operator.renewed(2)
        await operator.revoked(kept)
        small.kill()

        operator.put_back()
        await operator.start()
        await stands_still(operator)
        assert await operator.ocsp(kept.told_serial) == "revoked"
        assert await operator.ocsp(lost.told_serial) == "good"

        checked, verified, certificates = await declared(operator)
        says(checked, 0)
        says(verified, 0, "notice records-lost", "By S1024: disk of db1 died, restored last night's copy")
        says(certificates, 0, " 0 faults.")
        assert await operator.ocsp(kept.told_serial) == "revoked"
        assert await operator.ocsp(lost.told_serial) == "good"
        again = await operator.renewed(3)
        assert await operator.ocsp(again.told_serial) == "good"
    finally:
        listening.cancel()
        await asyncio.gather(listening, return_exceptions=True)
