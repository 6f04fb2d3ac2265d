"""POST /tsa as strangers use it: openssl's queries, its verdict, and what is turned away."""

import asyncio
from pathlib import Path

import pytest

from chopmark.app.worker import tasks
from chopmark.pki import tsp
from tests.vectors.pki.house import openssl, pem
from tests.web.counter import NOW, Answer, World

TSA = "/tsa"
QUERY = {"Content-Type": "application/timestamp-query"}


@pytest.fixture
async def founded(world: World) -> World:
    (job,) = [task.job for task in tasks(world.services) if task.name == "timestamp-key"]
    assert await job() == 1
    return world


async def post(world: World, content: bytes, **headers: str) -> Answer:
    return await world.browser().request("POST", TSA, content=content, headers={**QUERY, **headers})


@pytest.mark.parametrize("digest", ["-sha256", "-sha512"])
async def test_openssl_verifies_the_answer_to_its_own_query(founded: World, tmp_path: Path, digest: str) -> None:
    (tmp_path / "trade").write_bytes(b"a trade")
    asked = await asyncio.to_thread(openssl, "ts", "-query", "-data", tmp_path / "trade", digest, "-cert")
    answer = await post(founded, asked.stdout)
    assert (answer.status_code, answer.headers["content-type"]) == (200, "application/timestamp-reply")
    assert answer.headers["cache-control"] == "no-store"
    (tmp_path / "query").write_bytes(asked.stdout)
    (tmp_path / "reply").write_bytes(answer.content)
    (tmp_path / "root.pem").write_bytes(pem(founded.services.ca.authority.chain[-1]))
    files = ["-queryfile", tmp_path / "query", "-in", tmp_path / "reply", "-CAfile", tmp_path / "root.pem"]
    judged = await asyncio.to_thread(openssl, "ts", "-verify", *files, "-attime", int(NOW.timestamp()))
    assert b"Verification: OK" in judged.stdout, judged.stderr


async def test_a_request_that_cannot_be_stamped_gets_a_rejection_and_status_200(founded: World) -> None:
    answer = await post(founded, b"nonsense")
    assert (answer.status_code, answer.content) == (200, tsp.rejection(tsp.FailInfo.BAD_DATA_FORMAT))


async def test_before_the_worker_has_founded_it_the_authority_says_that_it_cannot(world: World) -> None:
    answer = await post(world, tsp.build_request(bytes(32), 1))
    assert (answer.status_code, answer.content) == (200, tsp.rejection(tsp.FailInfo.SYSTEM_FAILURE))


async def test_what_is_no_time_stamp_query_is_turned_away(founded: World) -> None:
    browser = founded.browser()
    got = await browser.get(TSA)
    assert (got.status_code, got.headers["allow"]) == (405, "POST")
    assert (await post(founded, b"{}", **{"Content-Type": "application/json"})).status_code == 415
    assert (await post(founded, bytes(tsp.MAX_REQUEST_BYTES + 1))).status_code == 413
    accepted = await post(
        founded, tsp.build_request(bytes(32), 1), **{"Content-Type": "Application/Timestamp-Query; x=y"}
    )
    assert accepted.status_code == 200


async def test_every_refusal_carries_its_text(founded: World) -> None:
    got = await founded.browser().get(TSA)
    unlike = await post(founded, b"{}", **{"Content-Type": "application/json"})
    long = await post(founded, bytes(tsp.MAX_REQUEST_BYTES + 1))
    for answer, named in ((got, "POST"), (unlike, "application/timestamp-query"), (long, "4096")):
        assert answer.headers["content-type"] == "text/plain; charset=utf-8"
        assert named in answer.text
