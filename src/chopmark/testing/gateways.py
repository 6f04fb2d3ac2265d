"""The tests that every gateway must pass, ours and a firm's own, whatever its provider does.

A firm that writes a gateway writes a `Specimen` of it and runs, in its own tests:

    @pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
    async def test_gateway(check, tmp_path):
        await check(MySpecimen(), tmp_path)

A check raises AssertionError with a sentence. No check sleeps: a gateway that gets no answer gives up after `ANSWER_S`
seconds.
"""

import socket
import traceback
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Final, Protocol

from chopmark.core.types import ChallengeId, Channel, CustomerId, Secret
from chopmark.messaging.ports import FaultReason, Gateway, GatewayFault, Message, Purpose, Receipt, Verdict
from chopmark.messaging.probes import Probing, Reached, Shown
from chopmark.testing.http_stub import HttpStub, Mode
from chopmark.testing.tls import server_identity

ANSWER_S: Final = 0.3
PATIENT_S: Final = 10.0
CODE: Final = "019283"
NUMBER: Final = "+886912555001"
TEXT: Final = f"【示範】展延電子憑證。\n驗證碼{CODE}，限5分鐘，參考BDFG。本公司不索取，勿告知他人。"
MESSAGE: Final = Message(
    message_id="MFRGGZDFMZTWQ2LKNNWG23TPOB",
    channel=Channel.MOBILE,
    destination=Secret(NUMBER),
    subject="",
    text=Secret(TEXT),
    purpose=Purpose.CODE_RENEWAL,
    at=datetime(2026, 11, 22, 2, 0, tzinfo=UTC),
    ttl_s=300,
    customer=CustomerId("C-1"),
    challenge=ChallengeId("MFRGGZDFMZTWQ2LKNNWG23TPOB"),
    code=Secret(CODE),
)
"""A synthetic message: a text with Chinese and a line break, in one SMS."""


class Specimen(Protocol):
    """A gateway under test, with a stub of its provider."""

    def stub(self) -> HttpStub:
        """Return a new stub that plays the provider in each `Mode`."""
        ...

    def gateway(self, address: str, trust: Path | None, answer_s: float) -> Gateway:
        """Return a gateway with a valid account at the provider of that address."""
        ...

    def with_wrong_password(self, address: str) -> Gateway:
        """Return a gateway whose account the provider rejects."""
        ...

    def shown(self, stub: HttpStub) -> list[str]:
        """Return the texts that the phone shows, in their order."""
        ...


@dataclass(frozen=True, slots=True)
class _Stage:
    stub: HttpStub
    gateway: Gateway


@asynccontextmanager
async def _stage(specimen: Specimen, mode: Mode, answer_s: float = PATIENT_S) -> AsyncIterator[_Stage]:
    stub = specimen.stub()
    stub.mode = mode
    async with stub.listening() as address:
        gateway = specimen.gateway(address, None, answer_s)
        try:
            yield _Stage(stub, gateway)
        finally:
            await gateway.close()


async def outcome_of(gateway: Gateway, message: Message = MESSAGE) -> Receipt | GatewayFault:
    """Return the gateway's receipt or fault for a message; other exceptions are errors and are not caught."""
    try:
        return await gateway.send(message)
    except GatewayFault as fault:
        _assert_silent(fault)
        return fault


def _assert_silent(fault: GatewayFault) -> None:
    """A fault and its causes contain neither number, text nor code, because they are written to logs and records."""
    said = "".join(traceback.format_exception(fault)) + repr(fault.__dict__)
    for secret in (CODE, NUMBER, NUMBER[-9:], "驗證碼"):
        assert secret not in said, "a fault spells something of the message"


async def a_text_arrives_whole_and_once(specimen: Specimen, folder: Path) -> None:
    """The phone shows exactly the text, once, and the receipt names gateway and message."""
    del folder
    async with _stage(specimen, Mode.WELL) as stage:
        receipt = await outcome_of(stage.gateway)
        assert isinstance(receipt, Receipt), f"not taken: {receipt}"
        assert receipt.gateway == stage.gateway.name, "the receipt names another gateway"
        assert receipt.provider_id, "the receipt has no number of the provider's"
        assert specimen.shown(stage.stub) == [TEXT], "the phone does not show the text"


async def a_text_that_takes_two_sms_arrives_whole_or_not_at_all(specimen: Specimen, folder: Path) -> None:
    """A text must not be cut, because its code or its warning could be missing."""
    del folder
    long = replace(MESSAGE, text=Secret(TEXT + "這是第二則簡訊才放得下的文字。" * 4))
    async with _stage(specimen, Mode.WELL) as stage:
        outcome = await outcome_of(stage.gateway, long)
        shown = specimen.shown(stage.stub)
        if isinstance(outcome, Receipt):
            assert shown == [long.text.reveal()], "the phone shows a cut text"
        else:
            assert shown == [], "a text that was refused was sent"
            assert outcome.verdict in {Verdict.OTHER, Verdict.FINAL}, "it would be tried again for nothing"


async def a_lost_answer_leaves_the_fate_unknown(specimen: Specimen, folder: Path) -> None:
    """Without an answer the message may have been delivered: the gateway must not say that it was not taken."""
    del folder
    for mode in (Mode.HANG, Mode.DRIP, Mode.RESET, Mode.GARBAGE, Mode.HUGE, Mode.BROKEN):
        waits = ANSWER_S if mode in {Mode.HANG, Mode.DRIP} else PATIENT_S
        async with _stage(specimen, mode, waits) as stage:
            outcome = await outcome_of(stage.gateway)
            assert isinstance(outcome, GatewayFault), f"{mode}: a receipt without an answer"
            expected = {Verdict.UNKNOWN} | ({Verdict.LATER} if stage.gateway.repeats else set())
            assert outcome.verdict in expected, f"{mode}: {outcome}, and the phone may show the message"
            assert len(specimen.shown(stage.stub)) <= 1, f"{mode}: sent twice"


async def nothing_is_claimed_of_a_provider_that_hangs_up_at_once(specimen: Specimen, folder: Path) -> None:
    """The message was not taken; the gateway may report either that or an unknown fate."""
    del folder
    async with _stage(specimen, Mode.DEAF) as stage:
        outcome = await outcome_of(stage.gateway)
        assert isinstance(outcome, GatewayFault), "a receipt from nobody"
        assert outcome.verdict in {Verdict.UNKNOWN, Verdict.LATER}, f"{outcome}: another gateway is to be tried"


async def a_provider_that_is_not_there_is_tried_later(specimen: Specimen, folder: Path) -> None:
    """Nothing listens at the address, so the message was certainly not taken."""
    del folder
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        gateway = specimen.gateway(f"http://127.0.0.1:{silent.getsockname()[1]}", None, PATIENT_S)
        outcome = await outcome_of(gateway)
        await gateway.close()
    assert isinstance(outcome, GatewayFault), "a receipt from nobody"
    assert (outcome.reason, outcome.verdict) == (FaultReason.UNREACHABLE, Verdict.LATER), str(outcome)


async def a_provider_that_is_busy_is_tried_later(specimen: Specimen, folder: Path) -> None:
    """The provider says that it is busy, and has not taken the message."""
    del folder
    async with _stage(specimen, Mode.BUSY) as stage:
        outcome = await outcome_of(stage.gateway)
        assert isinstance(outcome, GatewayFault), "a receipt for what was refused"
        assert outcome.verdict is Verdict.LATER, str(outcome)


async def what_only_an_operator_can_mend_is_an_alarm(specimen: Specimen, folder: Path) -> None:
    """A wrong password, a forbidden or moved service: neither customers nor retries can solve these."""
    del folder
    for mode in (Mode.FORBIDDEN, Mode.MOVED):
        async with _stage(specimen, mode) as stage:
            outcome = await outcome_of(stage.gateway)
            assert isinstance(outcome, GatewayFault), f"{mode}: a receipt for what was refused"
            assert outcome.verdict is Verdict.ALARM, f"{mode}: {outcome}"
            assert len(stage.stub.heard) == 1, f"{mode}: the message went to another address"
    stub = specimen.stub()
    async with stub.listening() as address:
        gateway = specimen.with_wrong_password(address)
        outcome = await outcome_of(gateway)
        await gateway.close()
        assert isinstance(outcome, GatewayFault), "a receipt for an account that is unknown"
        assert outcome.verdict is Verdict.ALARM, f"a wrong password: {outcome}"
        assert specimen.shown(stub) == [], "sent without an account"


async def a_certificate_that_has_ended_or_is_nobodys_gets_nothing(specimen: Specimen, folder: Path) -> None:
    """The server with such a certificate may be anybody's, so it must not get any octet of the message."""
    expired, good = server_identity(folder, expired=True), server_identity(folder)
    for shown, trust in ((expired, expired.trust), (good, None)):
        stub = specimen.stub()
        async with stub.listening(tls=shown.server) as address:
            gateway = specimen.gateway(address, trust, PATIENT_S)
            outcome = await outcome_of(gateway)
            await gateway.close()
            assert isinstance(outcome, GatewayFault), "a receipt from anybody"
            assert (outcome.reason, outcome.verdict) == (FaultReason.TLS, Verdict.ALARM), str(outcome)
            assert stub.heard == [], "the message reached a server that nobody vouches for"
    stub = specimen.stub()
    async with stub.listening(tls=good.server) as address:
        gateway = specimen.gateway(address, good.trust, PATIENT_S)
        outcome = await outcome_of(gateway)
        await gateway.close()
        assert isinstance(outcome, Receipt), f"not taken over TLS that is in order: {outcome}"


async def an_answer_in_big5_is_understood(specimen: Specimen, folder: Path) -> None:
    """Providers in Taiwan answer in Big5 or UTF-8, whatever charset the request had."""
    del folder
    async with _stage(specimen, Mode.BIG5) as stage:
        outcome = await outcome_of(stage.gateway)
        assert isinstance(outcome, Receipt), f"not understood: {outcome}"


async def neither_address_nor_headers_carry_a_secret(specimen: Specimen, folder: Path) -> None:
    """Proxies log addresses, so number, text and code may only be in the body."""
    del folder
    async with _stage(specimen, Mode.WELL) as stage:
        await outcome_of(stage.gateway)
        for heard in stage.stub.heard:
            open_part = f"{heard.path} {heard.query} {sorted(heard.headers.items())}"
            for secret in (CODE, NUMBER[-9:], TEXT[:4]):
                assert secret not in open_part, "an address or a header carries something of the message"


async def trying_it_sends_nothing_and_finds_a_wrong_password(specimen: Specimen, folder: Path) -> None:
    """`chopmark check` tries each gateway: that sends no message, and it finds a wrong account."""
    del folder
    async with _stage(specimen, Mode.WELL) as stage:
        if not isinstance(stage.gateway, Probing):
            return
        outcome = await stage.gateway.probe()
        assert isinstance(outcome, Reached), f"a right account: {outcome}"
        assert specimen.shown(stage.stub) == [], "a trial was sent to a phone"
        if outcome.tried:
            wrong = specimen.with_wrong_password(stage.stub.address)
            found = await wrong.probe() if isinstance(wrong, Probing) else None
            await wrong.close()
            assert isinstance(found, GatewayFault), "a wrong password is not found"
            assert found.verdict is Verdict.ALARM, f"a wrong password: {found}"
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        gateway = specimen.gateway(f"http://127.0.0.1:{silent.getsockname()[1]}", None, PATIENT_S)
        nowhere = await gateway.probe() if isinstance(gateway, Probing) else None
        await gateway.close()
    assert isinstance(nowhere, GatewayFault), "nobody is there, and the trial says that all is well"


async def until_when_its_certificate_is_can_be_asked(specimen: Specimen, folder: Path) -> None:
    """Operators are warned before the provider's certificate expires."""
    good = server_identity(folder)
    stub = specimen.stub()
    async with stub.listening(tls=good.server) as address:
        gateway = specimen.gateway(address, good.trust, PATIENT_S)
        until = await gateway.certificate_until() if isinstance(gateway, Shown) else good.until
        await gateway.close()
    assert until == good.until, f"the certificate ends at {good.until}, not at {until}"


Check = Callable[[Specimen, Path], Awaitable[None]]
CHECKS: Final[tuple[Check, ...]] = (
    a_text_arrives_whole_and_once,
    a_text_that_takes_two_sms_arrives_whole_or_not_at_all,
    a_lost_answer_leaves_the_fate_unknown,
    nothing_is_claimed_of_a_provider_that_hangs_up_at_once,
    a_provider_that_is_not_there_is_tried_later,
    a_provider_that_is_busy_is_tried_later,
    what_only_an_operator_can_mend_is_an_alarm,
    a_certificate_that_has_ended_or_is_nobodys_gets_nothing,
    an_answer_in_big5_is_understood,
    neither_address_nor_headers_carry_a_secret,
    trying_it_sends_nothing_and_finds_a_wrong_password,
    until_when_its_certificate_is_can_be_asked,
)
