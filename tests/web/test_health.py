"""Whether a process runs and can serve: named checks, 200 or 503, a look a second, no secrets; and HEAD on pages."""

import asyncio
import json
from collections.abc import Mapping
from dataclasses import replace
from datetime import timedelta
from typing import Any

import httpx2
import pytest

from chopmark.app.readiness import WAITED_TOO_LONG, checks
from chopmark.app.web import est_interface, web_services
from chopmark.audit.clockwatch import ClockWatch
from chopmark.keys.ports import OnDevice, SignerUnavailable
from chopmark.store.engine.script import Script, query
from chopmark.web.asgi.health import Check, Health
from tests.web.counter import NOW, World

ALL_WELL = dict.fromkeys(("database", "schema", "signer", "clock", "heads", "journal", "queue"), "ok")


class Lost(OnDevice):
    """A key in a device that is gone; its name is nobody's business."""

    def ready(self) -> None:
        raise SignerUnavailable("token SECRET-TOKEN at /usr/lib/maker.so is gone", retry_after_s=5)


class Counted:
    """A check that counts how often it was asked, and answers when it is told to."""

    def __init__(self, said: str | None = None) -> None:
        self.asked, self.said = 0, said
        self.begun, self.go_on = asyncio.Event(), asyncio.Event()

    async def check(self) -> str | None:
        self.asked += 1
        self.begun.set()
        await self.go_on.wait()
        return self.said


async def change(world: World, sql: str, **values: Any) -> None:
    def script() -> Script[None]:
        yield query(sql, **values)

    await world.services.foundation.engine.run(script)
    world.clock.later(seconds=1)


async def ready(world: World) -> tuple[int, Mapping[str, Any]]:
    answer = await world.browser().get("/health/ready")
    assert answer.headers["content-type"] == "application/json"
    assert answer.headers["cache-control"] == "no-store"
    return answer.status_code, answer.json()


async def delivered(world: World) -> None:
    await change(world, "UPDATE work SET done_at = :now WHERE done_at IS NULL", now=1)


async def test_a_process_that_runs_is_live_whatever_else_is_wrong(world: World) -> None:
    await world.services.foundation.engine.close()
    answer = await world.browser().get("/health/live")
    assert (answer.status_code, answer.json()) == (200, {"live": True})


async def test_an_installation_in_order_is_ready_and_each_check_is_named(world: World) -> None:
    await delivered(world)
    assert await ready(world) == (200, {"ready": True, "checks": ALL_WELL})


async def test_without_its_database_a_process_is_not_ready(world: World) -> None:
    await delivered(world)
    await world.services.foundation.engine.close()
    status, said = await ready(world)
    assert status == 503
    assert said["ready"] is False
    assert {name for name, word in said["checks"].items() if word == "The database does not answer."} == {
        "database",
        "schema",
        "queue",
    }


@pytest.mark.parametrize(
    ("revision", "word"), [("0001", "The database's schema is older than this release."), ("9999", "ok")]
)
async def test_a_schema_of_before_is_not_ready_and_a_later_one_is(world: World, revision: str, word: str) -> None:
    await delivered(world)
    await change(world, "UPDATE alembic_version SET version_num = :revision", revision=revision)
    status, said = await ready(world)
    assert (status, said["checks"]["schema"]) == (200 if word == "ok" else 503, word)


async def test_a_key_out_of_reach_is_not_ready_and_nothing_of_the_device_is_said(world: World) -> None:
    await delivered(world)
    ca = world.services.ca.built_in
    assert ca is not None
    gone: Any = Lost()
    without = replace(ca, authority=replace(ca.authority, signer=gone))
    lost = replace(world.services, ca=replace(world.services.ca, built_in=without))
    status, said = await ready(world.with_web(checks=checks(lost)))
    assert (status, said["checks"]["signer"]) == (503, "The CA's key cannot be reached.")
    assert "SECRET-TOKEN" not in json.dumps(said)
    assert "maker" not in json.dumps(said)


async def test_work_that_waits_for_longer_than_a_code_may_is_not_ready(world: World) -> None:
    await delivered(world)
    await change(
        world,
        "INSERT INTO work (id, kind, facts, attempts, not_before, leased_until) "
        "VALUES ('w', 'notice', '{}', 0, :at, 0)",
        at=int(NOW.timestamp() * 1000),
    )
    world.clock.at = NOW + WAITED_TOO_LONG
    assert (await ready(world))[0] == 200
    world.clock.later(seconds=1)
    status, said = await ready(world)
    assert (status, said["checks"]["queue"]) == (503, "Work has been waiting for 121 seconds: does a worker run?")
    await delivered(world)
    assert (await ready(world))[0] == 200


async def test_a_flood_of_probes_is_one_look_a_second(world: World) -> None:
    counted = Counted()
    health = Health({"one": counted.check}, world.clock)
    flood = [asyncio.create_task(health.look()) for _ in range(100)]
    await counted.begun.wait()
    counted.go_on.set()
    assert await asyncio.gather(*flood) == [{"one": "ok"}] * 100
    assert counted.asked == 1
    world.clock.later(seconds=0.999)
    await health.look()
    assert counted.asked == 1
    world.clock.later(seconds=0.001)
    await health.look()
    assert counted.asked == 2
    world.clock.at -= timedelta(days=1)
    await health.look()
    assert counted.asked == 3


async def test_a_check_that_hangs_is_an_answer_too(world: World) -> None:
    counted, well = Counted(), Counted()
    well.go_on.set()
    named: dict[str, Check] = {"hangs": counted.check, "well": well.check}
    assert await Health(named, world.clock, patience_s=0.0).look() == {
        "hangs": "There was no answer within 0 seconds.",
        "well": "ok",
    }


@pytest.mark.parametrize("path", ["/health/live", "/health/ready"])
async def test_probes_may_ask_by_head_and_change_nothing(world: World, path: str) -> None:
    browser = world.browser()
    whole, head = await browser.get(path), await browser.request("HEAD", path)
    assert (head.status_code, head.content) == (whole.status_code, b"")
    assert dict(head.headers) == dict(whole.headers)
    assert (await browser.request("POST", path)).status_code == 405
    assert "set-cookie" not in whole.headers


async def test_there_is_no_other_health(world: World) -> None:
    assert (await world.browser().get("/health/")).status_code == 404
    assert (await world.browser().get("/health/ready/x")).status_code == 404


async def test_nothing_secret_and_no_version_is_said(world: World) -> None:
    said = (await world.browser().get("/health/ready")).text
    settings = world.services.foundation.settings
    for word in (str(settings.data), "sqlite", "python", "0013", settings.csrf_key.get_secret_value()):
        assert word not in said


async def test_the_est_door_has_the_same_health(world: World) -> None:
    await delivered(world)
    door: Any = est_interface(world.services)
    transport = httpx2.ASGITransport(door)
    async with httpx2.AsyncClient(transport=transport, base_url="https://est.example.com") as client:
        assert (await client.get("/health/live")).json() == {"live": True}
        assert (await client.get("/health/ready")).json() == {"ready": True, "checks": ALL_WELL}


async def test_what_the_processes_are_given_has_the_checks(world: World) -> None:
    assert list(web_services(world.services).checks) == list(ALL_WELL)


PAGES = ["/", "/sign-in", "/help/browser", "/repository", "/brand.css", "/openapi.json", "/api/v1/status", "/nowhere"]


@pytest.mark.parametrize("path", [*PAGES, "/static/favicon.svg", "/repository/root.pem"])
async def test_head_on_a_page_says_what_get_says_without_the_body(world: World, path: str) -> None:
    """RFC 9110 s.9.3.2."""
    browser = world.browser()
    await browser.get("/sign-in")
    whole, head = await browser.get(path), await browser.request("HEAD", path)
    assert (head.status_code, head.content) == (whole.status_code, b"")
    assert {name for name in whole.headers if whole.headers[name] != head.headers.get(name)} <= {"set-cookie"}


async def test_head_on_what_only_takes_post_is_refused_as_get_is(world: World) -> None:
    browser = world.browser()
    assert (
        (await browser.request("HEAD", "/sign-out")).status_code == (await browser.get("/sign-out")).status_code == 405
    )


async def test_head_on_a_customers_page_needs_the_session_that_get_needs(world: World) -> None:
    assert (await world.browser().request("HEAD", "/home")).status_code == 303
    assert (await (await world.signed_in("C10002")).request("HEAD", "/home")).status_code == 200


class Leaping:
    """A machine that has run for a minute since it was asked first, whatever its wall clock says."""

    def since_boot(self) -> timedelta:
        return timedelta(minutes=1)

    def synchronised(self) -> bool | None:
        return True


async def test_a_process_whose_clock_has_leapt_is_not_ready(world: World) -> None:
    await delivered(world)
    watch = ClockWatch(world.clock, Leaping(), None)
    services = replace(world.services, audit=replace(world.services.audit, clockwatch=watch))
    check = checks(services)["clock"]
    assert await check() is None
    world.clock.later(days=1)
    assert await check() == "The clock cannot be believed."
