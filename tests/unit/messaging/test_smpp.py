"""SMPP 3.4: the kit over a stub of ours, and the npm package `smpp` as a stranger's message centre."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from datetime import timedelta
from pathlib import Path
from typing import Any, cast
from urllib.parse import urlsplit

import pytest

from chopmark.core.types import Channel, Secret
from chopmark.messaging.configuration import GatewayConfig, GatewayMisconfigured
from chopmark.messaging.ports import FaultReason, Gateway, GatewayFault, Receipt, Verdict
from chopmark.messaging.registry import gateway_of
from chopmark.messaging.reports import Report, ReportState
from chopmark.messaging.smpp import REFUSED, SmppGateway, pieces_of
from chopmark.messaging.smpp_session import receipt_in
from chopmark.testing.gateways import CHECKS, MESSAGE, TEXT, Check, outcome_of
from chopmark.testing.http_stub import HttpStub
from chopmark.testing.smpp_stub import SmppStub
from chopmark.testing.sms_stubs import PASSWORD, USER

LONG = TEXT + "這是第二則簡訊才放得下的文字。" * 4
ENGLISH = "Demo Securities: you are renewing your e-certificate. Code 019283 for 5 min, ref BDFG. "


@dataclass(frozen=True)
class Specimen:
    """SMPP as an entry of the list."""

    def stub(self) -> SmppStub:
        return SmppStub()

    def gateway(self, address: str, trust: Path | None = None, answer_s: float = 10.0) -> Gateway:
        return made(address, PASSWORD, trust, answer_s)

    def with_wrong_password(self, address: str) -> Gateway:
        return made(address, "wrong")

    def shown(self, stub: HttpStub) -> list[str]:
        return cast(SmppStub, stub).texts()


def made(address: str, password: str = PASSWORD, trust: Path | None = None, answer_s: float = 10.0) -> SmppGateway:
    split = urlsplit(address)
    options: dict[str, Any] = {
        "host": split.hostname,
        "port": split.port,
        "user": USER,
        "source": "DEMO",
        "tls": split.scheme == "https",
        "answer_s": answer_s,
        "reach_s": 5.0,
        **({} if trust is None else {"trust": str(trust)}),
    }
    config = GatewayConfig("one", "smpp", Channel.MOBILE, options=options, secrets={"password": Secret(password)})
    gateway = gateway_of(config, [])
    assert isinstance(gateway, SmppGateway)
    return gateway


@asynccontextmanager
async def centre() -> AsyncIterator[tuple[SmppStub, SmppGateway]]:
    stub = SmppStub()
    async with stub.listening() as address:
        gateway = made(address)
        try:
            yield stub, gateway
        finally:
            await gateway.close()


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
async def test_the_kit(check: Check, tmp_path: Path) -> None:
    await check(Specimen(), tmp_path)


async def test_one_connection_carries_many_messages_and_a_new_one_is_made_when_it_ended() -> None:
    async with centre() as (stub, gateway):
        taken = await asyncio.gather(*(gateway.send(replace(MESSAGE, message_id=f"M{n}")) for n in range(5)))
        assert len({receipt.provider_id for receipt in taken}) == 5
        assert stub.binds == 1
        session = gateway.session
        assert session is not None
        stub.hang_up()
        while not session.ended:  # noqa: ASYNC110 - nothing of a stranger's is an event
            await asyncio.sleep(0)
        assert isinstance(await outcome_of(gateway), Receipt)
        assert stub.binds == 2
        assert len(stub.texts()) == 6


async def test_a_centre_that_says_nothing_any_more_is_given_up_at_the_second_enquiry() -> None:
    async with centre() as (stub, gateway):
        await gateway.send(MESSAGE)
        session = gateway.session
        assert session is not None
        session.enquire()
        while not session.heard:  # noqa: ASYNC110 - nothing of a stranger's is an event
            await asyncio.sleep(0)
        assert stub.enquiries == 1
        session.enquire()
        session.enquire()  # nothing was heard in between
        assert session.ended


async def test_a_centre_is_told_until_when_the_code_is_good_and_a_receipt_is_asked_for() -> None:
    async with centre() as (stub, gateway):
        await gateway.send(replace(MESSAGE, handed_at=MESSAGE.at + timedelta(seconds=1)))
        (one,) = stub.submitted
        assert (one.validity, one.registered, one.coding) == ("000000000459000R", 1, 8)
        assert (one.source, one.destination) == ("DEMO", "886912555001")


async def test_long_texts_are_cut_into_parts_that_the_phone_joins() -> None:
    async with centre() as (stub, gateway):
        for text in (LONG, ENGLISH * 2, ENGLISH, "𠮷" * 70):
            await gateway.send(replace(MESSAGE, text=Secret(text)))
        assert stub.texts() == [LONG, ENGLISH * 2, ENGLISH, "𠮷" * 70]
        assert [one.coding for one in stub.submitted][:5] == [8, 8, 0, 0, 0]
        assert all(len(one.content) <= 140 if one.coding == 8 else len(one.content) <= 160 for one in stub.submitted)


async def test_a_text_of_which_one_part_was_taken_is_of_unknown_fate() -> None:
    async with centre() as (stub, gateway):
        await gateway.send(MESSAGE)
        stub.refuse = [0, 0x58]  # the stub takes none of these two, and says ok to the first
        outcome = await outcome_of(gateway, replace(MESSAGE, text=Secret(LONG)))
        assert isinstance(outcome, GatewayFault)
        assert outcome.verdict is Verdict.UNKNOWN


@pytest.mark.parametrize(("status", "expected"), REFUSED.items())
async def test_each_status_is_an_outcome(status: int, expected: tuple[FaultReason, Verdict]) -> None:
    async with centre() as (stub, gateway):
        stub.refuse = [status]
        outcome = await outcome_of(gateway)
        assert isinstance(outcome, GatewayFault)
        assert (outcome.reason, outcome.verdict) == expected


async def test_receipts_come_over_the_connection() -> None:
    async with centre() as (stub, gateway):
        number = (await gateway.send(MESSAGE)).provider_id or ""
        for state in ("ENROUTE", "DELIVRD", "UNDELIV", "NONSENSE"):
            stub.receipt(number, state)
        await gateway.send(replace(MESSAGE, message_id="after"))  # what came before its answer was read before it
        assert gateway.arrived() == [
            Report(number, ReportState.WAITING, "ENROUTE"),
            Report(number, ReportState.DELIVERED, "DELIVRD"),
            Report(number, ReportState.FAILED, "UNDELIV"),
        ]
        assert gateway.arrived() == []


@pytest.mark.parametrize("body", [b"", b"\0", b"\0\1\1", b"\0\1\1a\0\1\1b\0\4\0\0\0\0\0\0\0\0", b"\xff" * 40])
def test_a_broken_receipt_is_none(body: bytes) -> None:
    assert receipt_in(body) is None


def test_no_surrogate_pair_is_cut() -> None:
    content = ("一" + "𠮷" * 40).encode("utf-16-be")
    assert "".join(piece.decode("utf-16-be") for piece in pieces_of(content, 134, 2)) == "一" + "𠮷" * 40


def test_without_tls_a_line_has_to_be_called_private() -> None:
    options = {"host": "smsc.example", "user": "u", "tls": False}
    config = GatewayConfig("one", "smpp", Channel.MOBILE, options=options, secrets={"password": Secret("p")})
    with pytest.raises(GatewayMisconfigured, match="private_line"):
        gateway_of(config, [])
    gateway_of(replace(config, options={**options, "private_line": True}), [])


SERVER = Path(__file__).with_name("smpp_server.cjs")


@asynccontextmanager
async def stranger(refuse: str = "") -> AsyncIterator[tuple[int, asyncio.StreamReader]]:
    """The npm package's server; the lines are what it read, as JSON."""
    process = await asyncio.create_subprocess_exec(
        "node", SERVER, refuse, stdout=asyncio.subprocess.PIPE, cwd=Path(__file__).parents[3] / "browser"
    )
    assert process.stdout is not None
    try:
        yield int(await process.stdout.readline()), process.stdout
    finally:
        process.terminate()
        await process.wait()


async def test_a_strangers_message_centre_reads_what_we_say_and_we_read_what_it_says() -> None:
    async with stranger(refuse="88,0") as (port, lines):
        gateway = made(f"http://127.0.0.1:{port}", "secret08")
        throttled = await outcome_of(gateway)
        assert isinstance(throttled, GatewayFault)
        assert (throttled.reason, throttled.verdict) == (FaultReason.BUSY, Verdict.LATER)
        for text in (TEXT, LONG, ENGLISH):
            receipt = await gateway.send(replace(MESSAGE, text=Secret(text)))
            assert receipt.provider_id
        said = [json.loads(await lines.readline()) for _ in range(5)]
        assert said[1]["text"] == TEXT
        assert said[2]["text"] + said[3]["text"] == LONG
        assert said[2]["parts"] == [2, 1]
        assert said[4]["text"] == ENGLISH
        assert {one["destination"] for one in said} == {"886912555001"}
        assert all(290 <= one["valid_s"] <= 310 for one in said)
        while not (arrived := gateway.arrived()):  # noqa: ASYNC110 - nothing of a stranger's is an event
            await asyncio.sleep(0)
        assert arrived[0].state is ReportState.DELIVERED
        await gateway.close()
        wrong = made(f"http://127.0.0.1:{port}", "wrong")
        refused = await outcome_of(wrong)
        await wrong.close()
        assert isinstance(refused, GatewayFault)
        assert refused.verdict is Verdict.ALARM
