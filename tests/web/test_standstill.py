"""While the database is behind what stands outside it, customers get a page that says so and nothing is done."""

import pytest

from chopmark.app.readiness import checks
from chopmark.app.web import est_interface
from chopmark.audit.journal import Deed, Line
from chopmark.core.types import IssuerId, OrderId, Serial
from tests.web.counter import NOW, World
from tests.web.test_health import ready

SAID = "We are checking our records after a fault and take no orders until that is done. Please try again later."
LOST = Line(Deed.RESERVED, NOW, IssuerId("investor"), Serial("0102"), OrderId("LOST"), 0, NOW, body=b"{}")
"""A reservation that the journal has and the database knows nothing of."""


async def stand_still(world: World) -> None:
    await world.services.foundation.journal.write(LOST)
    await world.services.foundation.restorewatch.look()
    assert world.services.foundation.restorewatch.behind


@pytest.mark.parametrize("path", ["/", "/sign-in", "/home", "/stop", "/launch?ticket=x"])
async def test_every_page_says_it_and_when_to_come_again(world: World, path: str) -> None:
    browser = await world.signed_in("C10002")
    await stand_still(world)
    answer = await browser.get(path, **{"accept-language": "en"})
    assert answer.status_code == 503
    assert answer.headers["retry-after"] == "60"
    assert SAID in answer.text
    chinese = await browser.get(path, **{"accept-language": "zh-TW"})
    assert "系統故障後正在核對紀錄，核對完成前暫停辦理，請稍後再試。" in chinese.text


async def test_programs_get_a_problem_and_nothing_is_done(world: World) -> None:
    browser = await world.signed_in("C10002")
    await stand_still(world)
    before = await world.services.foundation.audit_repository.tip("customer:C10002")  # type: ignore[arg-type]
    answer = await browser.api("/orders", {"operation": "enrol"}, key="k" * 20)
    assert answer.status_code == 503
    assert (answer.json()["code"], answer.json()["detail"]) == ("standstill", SAID)
    assert await world.services.foundation.audit_repository.tip("customer:C10002") == before  # type: ignore[arg-type]


async def test_the_files_of_the_page_and_status_go_on(world: World) -> None:
    browser = world.browser()
    await stand_still(world)
    assert (await browser.get("/brand.css")).status_code == 200
    assert (await browser.get("/static/logo.svg")).status_code == 200
    assert (await browser.get("/pki/investor.cer")).status_code == 200
    assert (await browser.get("/health/live")).status_code == 200
    status, said = await ready(world)
    assert (status, said["checks"]["heads"]) == (503, "The database is older than what stands outside it.")


async def test_the_est_door_stands_still_as_well(world: World) -> None:
    await stand_still(world)
    sent: list[dict[str, object]] = []

    async def send(message: dict[str, object]) -> None:
        sent.append(message)

    async def receive() -> dict[str, object]:
        return {"type": "http.request", "body": b"", "more_body": False}

    scope = {
        "type": "http",
        "method": "GET",
        "path": "/.well-known/est/cacerts",
        "headers": [],
        "query_string": b"",
        "client": ("127.0.0.1", 1),
    }
    await est_interface(world.services)(scope, receive, send)  # type: ignore[arg-type]
    assert sent[0]["status"] == 503
    assert (b"retry-after", b"60") in sent[0]["headers"]  # type: ignore[operator]


async def test_a_journal_that_cannot_be_read_or_written_is_not_ready(world: World) -> None:
    outside = world.services.foundation.settings.outside
    check = checks(world.services)["journal"]
    assert await check() is None
    heads = outside / "heads.jsonl"
    heads.unlink(missing_ok=True)
    heads.mkdir()
    await world.services.foundation.restorewatch.look()
    assert await check() == "Signed heads or journal cannot be read."
    heads.rmdir()
    await world.services.foundation.restorewatch.look()
    assert await check() is None
