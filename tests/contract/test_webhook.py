"""Telling an order host which certificates have changed: in order, at least once, by one worker at a time."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from ssl import PROTOCOL_TLS_SERVER, SSLContext
from typing import Any

import pytest

from chopmark.app.settings import Settings
from chopmark.app.webhooks import WebhookUnfit, webhook_of
from chopmark.core.types import Secret, Serial
from chopmark.jobs.webhook import LEASE, PASSED, ChangesTold
from chopmark.messaging.webhook import Webhook, WebhookNotTaken, read_secret, signature
from chopmark.store.repositories.ra.feed import FeedRepository, WebhookCursor
from tests.contract.world import ANN, BEN, World, world_fixture
from tests.tls import certified

world = world_fixture()
SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
OTHER = "whsec_" + "B" * 32


@dataclass
class OrderHost:
    """A receiver that may refuse, or lose its answer after it has taken a message."""

    taken: list[tuple[str, Any]] = field(default_factory=list)
    refuses: int = 0
    loses: int = 0

    async def send(self, message: str, at: datetime, body: bytes) -> None:
        if self.refuses:
            self.refuses -= 1
            raise WebhookNotTaken
        self.taken.append((message, json.loads(body)))
        if self.loses:
            self.loses -= 1
            raise WebhookNotTaken

    @property
    def states(self) -> list[tuple[str, str]]:
        """What has been told, in its order."""
        return [(one["serial"], one["state"]) for _, body in self.taken for one in body["data"]["changes"]]


def worker(world: World, host: OrderHost, name: str = "a") -> ChangesTold:
    engine = world.services.foundation.engine
    return ChangesTold(FeedRepository(engine), WebhookCursor(engine), host.send, world.clock, name)


async def active(world: World, customer: str) -> Serial:
    """Have a customer get a certificate that works, and its records their place."""
    await world.to_active(customer)
    await placed(world)
    return world.held[customer].certificate.serial


async def placed(world: World) -> None:
    """Have every record get its place; the sequencer before this one is gone."""
    world.clock.later(seconds=11)
    await world.work()


async def run(job: ChangesTold) -> None:
    while await job.once():
        pass


async def test_every_change_is_told_in_the_order_of_the_records_and_once_when_all_is_well(world: World) -> None:
    host = OrderHost()
    job = worker(world, host)
    ann = await active(world, ANN)
    await run(job)
    ben = await active(world, BEN)
    await run(job)
    await world.services.ra.suspension.hold(ann, "alice", "bob")
    await placed(world)
    await run(job)
    await run(worker(world, host))  # a process that was started anew goes on where the other was
    assert [one for one in host.states if one[1] != "issued"] == [(ann, "active"), (ben, "active"), (ann, "held")]
    assert {body["type"] for _, body in host.taken} == {"certificates.changed"}
    told, records = await WebhookCursor(world.services.foundation.engine).told()
    assert 0 < told <= records


async def test_a_message_that_is_not_taken_comes_again_and_nothing_comes_before_it(world: World) -> None:
    host = OrderHost(refuses=2)
    job = worker(world, host)
    ann = await active(world, ANN)
    for _ in range(2):
        with pytest.raises(WebhookNotTaken):
            await job.once()
    ben = await active(world, BEN)
    await run(job)
    assert [one for one in host.states if one[1] == "active"] == [(ann, "active"), (ben, "active")]


async def test_a_lost_answer_repeats_the_message_under_its_id_and_more_of_it_under_another(world: World) -> None:
    host = OrderHost(loses=2)
    job = worker(world, host)
    await active(world, ANN)
    for _ in range(2):
        with pytest.raises(WebhookNotTaken):
            await job.once()
    (first, body), (again, same) = host.taken
    assert (first, body) == (again, same)
    ben = await active(world, BEN)
    await run(job)
    grown, content = host.taken[2]
    assert grown != first
    assert [one["serial"] for one in content["data"]["changes"]][-1] == ben
    assert content["data"]["changes"][: len(body["data"]["changes"])] == body["data"]["changes"]


async def test_of_two_workers_one_sends_and_the_other_goes_on_when_it_is_gone(world: World) -> None:
    one, other = OrderHost(refuses=1), OrderHost()
    await active(world, ANN)
    first, second = worker(world, one, "a"), worker(world, other, "b")
    with pytest.raises(WebhookNotTaken):
        await first.once()
    assert await second.once() == 0
    assert other.taken == []
    world.clock.later(seconds=LEASE.total_seconds())
    await run(second)
    assert len(other.states) > 0
    await run(first)
    assert one.taken == []


async def test_a_worker_that_was_overtaken_does_not_move_the_cursor_back_or_on(world: World) -> None:
    await active(world, ANN)
    cursor = WebhookCursor(world.services.foundation.engine)
    assert await cursor.take("a", world.clock.now(), timedelta(seconds=1)) == 0
    world.clock.later(seconds=2)
    assert await cursor.take("b", world.clock.now(), timedelta(seconds=1)) == 0
    assert await cursor.move(0, 9)
    assert not await cursor.move(0, 5)
    assert (await cursor.told())[0] == 9


async def test_records_without_a_certificate_are_passed_without_a_write_for_each(world: World) -> None:
    host = OrderHost()
    job = worker(world, host)
    await active(world, ANN)
    await run(job)
    before = await WebhookCursor(world.services.foundation.engine).told()
    await world.services.identity.launches.put_client("desk", "desk", "alice")
    await placed(world)
    await run(job)
    told, records = await WebhookCursor(world.services.foundation.engine).told()
    assert (told, len(host.taken)) == (before[0], len(host.taken))
    assert before[1] < records < told + PASSED
    await world.change("UPDATE installation SET value = '0' WHERE name = 'webhook:cursor'")  # as a restore may
    sent = len(host.taken)
    await run(job)
    assert len(host.taken) > sent


@asynccontextmanager
async def answering(answer: bytes, **tls: Any) -> AsyncIterator[tuple[int, list[bytes]]]:
    """Listen, keep what is sent, and answer the same to everybody."""
    heard: list[bytes] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        (length,) = (
            int(line.split(b":")[1]) for line in head.lower().splitlines() if line.startswith(b"content-length")
        )
        heard.append(head + await reader.readexactly(length))
        writer.write(answer)
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0, **tls)
    async with server:
        yield server.sockets[0].getsockname()[1], heard


NO_CONTENT = b"HTTP/1.1 204 No Content\r\n\r\n"
AT = datetime.fromisoformat("2026-07-15T00:58:00+00:00")


async def test_a_message_bears_a_signature_by_each_secret_and_the_headers_of_the_standard() -> None:
    async with answering(NO_CONTENT) as (port, heard):
        hook = Webhook(f"http://127.0.0.1:{port}/certificates?a=b", [Secret(SECRET), Secret(OTHER)])
        await hook.send("msg_1", AT, b'{"x":1}')
    head, _, body = heard[0].partition(b"\r\n\r\n")
    lines = head.decode().split("\r\n")
    named = dict(line.lower().split(": ", 1) for line in lines[1:] if not line.lower().startswith("webhook-sig"))
    assert lines[0] == "POST /certificates?a=b HTTP/1.1"
    assert (named["webhook-id"], named["webhook-timestamp"]) == ("msg_1", str(int(AT.timestamp())))
    assert (named["content-type"], body) == ("application/json", b'{"x":1}')
    (signed,) = (line.split(": ", 1)[1] for line in lines if line.lower().startswith("webhook-signature"))
    keys = [read_secret(SECRET), read_secret(OTHER)]
    assert signed.split(" ") == [signature(key, "msg_1", int(AT.timestamp()), body) for key in keys]


@pytest.mark.parametrize("status", ["301 Moved Permanently", "307 Temporary Redirect", "410 Gone", "500 Broken"])
async def test_anything_but_a_yes_is_a_no_and_no_redirect_is_followed(status: str) -> None:
    async with answering(NO_CONTENT) as (elsewhere, never):
        moved = f"HTTP/1.1 {status}\r\nLocation: http://127.0.0.1:{elsewhere}/\r\nContent-Length: 0\r\n\r\n".encode()
        async with answering(moved) as (port, heard):
            with pytest.raises(WebhookNotTaken, match=f"answered with {status[:3]}"):
                await Webhook(f"http://127.0.0.1:{port}/", [Secret(SECRET)]).send("msg_1", AT, b"{}")
        assert (len(heard), never) == (1, [])


async def test_a_receiver_that_says_nothing_or_nonsense_has_not_taken_it() -> None:
    gone = 0
    for answer in (b"", b"nonsense\r\n\r\n"):
        async with answering(answer) as (port, _):
            gone = port
            with pytest.raises(WebhookNotTaken, match="ended the connection"):
                await Webhook(f"http://127.0.0.1:{port}/", [Secret(SECRET)]).send("msg_1", AT, b"{}")
    with pytest.raises(WebhookNotTaken, match="cannot be reached"):
        await Webhook(f"http://127.0.0.1:{gone}/", [Secret(SECRET)]).send("msg_1", AT, b"{}")


async def test_https_is_verified_with_the_firm_s_own_authority(tmp_path: Path) -> None:
    files = {}
    for name in ("ours", "theirs"):
        key, certificate = certified("127.0.0.1")
        files[name] = (tmp_path / f"{name}.pem", tmp_path / f"{name}.key")
        files[name][0].write_bytes(certificate)
        files[name][1].write_bytes(key)
    context = SSLContext(PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*files["ours"])
    async with answering(NO_CONTENT, ssl=context) as (port, heard):
        for trust in ("theirs", "ours"):
            url = f"https://127.0.0.1:{port}/"
            hook = webhook_of(
                Settings.model_validate({"webhook": {"url": url, "secret": SECRET, "ca": files[trust][0]}})
            )
            assert hook is not None
            if trust == "theirs":
                with pytest.raises(WebhookNotTaken, match="certificate is not trusted"):
                    await hook.send("msg_1", AT, b"{}")
                assert heard == []
            else:
                await hook.send("msg_1", AT, b"{}")
    assert len(heard) == 1
    (tmp_path / "none.pem").write_text("nothing")
    wrong = Settings.model_validate(
        {"webhook": {"url": "https://127.0.0.1/", "secret": SECRET, "ca": tmp_path / "none.pem"}}
    )
    with pytest.raises(WebhookUnfit, match=r"webhook\.ca"):
        webhook_of(wrong)
