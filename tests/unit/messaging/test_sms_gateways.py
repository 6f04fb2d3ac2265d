"""The SMS gateways that are shipped, against stubs of their providers: the kit, and what is each provider's own."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import timedelta
from pathlib import Path
from typing import cast

import httpx2
import pytest

from chopmark.core.types import Channel, Secret
from chopmark.messaging.configuration import GatewayConfig
from chopmark.messaging.every8d import REFUSED as EVERY8D_CODES
from chopmark.messaging.mitake import REFUSED as MITAKE_CODES
from chopmark.messaging.mitake import Mitake
from chopmark.messaging.ports import FaultReason, Gateway, GatewayFault, Message, Receipt, Verdict
from chopmark.messaging.registry import gateway_of
from chopmark.messaging.reports import Report, Reports, ReportState
from chopmark.messaging.smsgo import REFUSED as SMSGO_CODES
from chopmark.testing.gateways import CHECKS, MESSAGE, TEXT, Check, Specimen, outcome_of
from chopmark.testing.http_stub import Heard, HttpStub, Mode, Says
from chopmark.testing.sms_stubs import PASSWORD, USER, Every8dStub, MitakeStub, SmsgoStub, SmsStub
from tests.unit.messaging.own_gateway import OwnSpecimen


@dataclass(frozen=True)
class Shipped:
    """A specimen of a kind of ours, made from its entry in the list."""

    kind: str
    make: Callable[[], SmsStub]
    secret: str = "password"

    def stub(self) -> SmsStub:
        return self.make()

    def gateway(self, address: str, trust: Path | None = None, answer_s: float = 10.0, **more: object) -> Gateway:
        return self._made(address, PASSWORD, trust, answer_s, more)

    def with_wrong_password(self, address: str) -> Gateway:
        return self._made(address, "wrong", None, 10.0, {})

    def _made(
        self, address: str, password: str, trust: Path | None, answer_s: float, more: dict[str, object]
    ) -> Gateway:
        options = {"url": address, "user": USER, "answer_s": answer_s, "reach_s": 5.0, **more}
        if trust is not None:
            options["trust"] = str(trust)
        secrets = {self.secret: Secret(password)}
        if "callback" in more:
            secrets["report"] = Secret("r" * 32)
        return gateway_of(GatewayConfig("one", self.kind, Channel.MOBILE, options=options, secrets=secrets), [])

    def shown(self, stub: HttpStub) -> list[str]:
        return [sms.text for sms in cast(SmsStub, stub).phone]


MITAKE, EVERY8D, SMSGO = (
    Shipped("mitake", MitakeStub),
    Shipped("every8d", Every8dStub),
    Shipped("smsgo", SmsgoStub, "key"),
)
ALL = (MITAKE, EVERY8D, SMSGO)


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
@pytest.mark.parametrize("specimen", [*ALL, OwnSpecimen()], ids=lambda specimen: getattr(specimen, "kind", "own"))
async def test_the_kit(specimen: Specimen, check: Check, tmp_path: Path) -> None:
    await check(specimen, tmp_path)


PASSED_BY_ANYBODY = {
    "nothing_is_claimed_of_a_provider_that_hangs_up_at_once",
    "an_answer_in_big5_is_understood",
    "trying_it_sends_nothing_and_finds_a_wrong_password",
    "until_when_its_certificate_is_can_be_asked",
}
"""Where to say "later" whatever happens, and to believe whatever comes, happens to be right. The last two are asked
only of gateways that can be tried, and that show a certificate."""
CODES = [
    *((MITAKE, code, outcome) for code, outcome in MITAKE_CODES.items()),
    *((EVERY8D, code, outcome) for code, outcome in EVERY8D_CODES.items()),
    *((SMSGO, code, outcome) for code, outcome in SMSGO_CODES.items()),
]


async def test_each_code_of_each_provider_is_an_outcome() -> None:
    for specimen in ALL:
        stub = specimen.stub()
        async with stub.listening() as address:
            gateway = specimen.gateway(address)
            for mine, code, expected in CODES:
                if mine is specimen:
                    stub.refuse = [code]
                    outcome = await outcome_of(gateway)
                    assert isinstance(outcome, GatewayFault), code
                    assert (outcome.reason, outcome.verdict) == expected
            assert stub.phone == []


@pytest.mark.parametrize(
    ("verdict", "codes"),
    [
        (Verdict.LATER, "*ablrw"),
        (Verdict.ALARM, "cdefhkmnps"),
        (Verdict.FINAL, "tuvxy567"),
    ],
)
def test_mitakes_letters_mean_what_its_document_says(verdict: Verdict, codes: str) -> None:
    assert {MITAKE_CODES[code][1] for code in codes} == {verdict}


async def test_mitake_is_told_when_the_code_ends_who_the_message_is_and_where_to_report() -> None:
    stub = MitakeStub()
    async with stub.listening() as address:
        gateway = MITAKE.gateway(address, callback="https://counter.example/hooks/gateways/one/")
        receipt = await gateway.send(MESSAGE)
        again = await gateway.send(MESSAGE)
        later = await gateway.send(replace(MESSAGE, message_id="x" * 50, at=MESSAGE.at + timedelta(minutes=1)))
    (sms, other) = stub.phone
    assert receipt.provider_id == again.provider_id == sms.provider_id
    assert later.provider_id == other.provider_id
    assert (sms.number, sms.text) == ("0912555001", TEXT)
    assert sms.fields["vldtime"] == "20261122100500"  # 02:05 UTC, five minutes after the code came to be
    assert sms.fields["clientid"] == MESSAGE.message_id
    assert len(other.fields["clientid"]) <= 36
    assert sms.fields["response"] == "https://counter.example/hooks/gateways/one/" + "r" * 32


async def test_a_wrong_charset_would_show() -> None:
    """The stub is no friend: who does not say UTF-8 to Mitake gets its default."""
    stub = MitakeStub()
    async with stub.listening() as address:
        gateway = cast(Mitake, MITAKE.gateway(address))
        form = {"username": USER, "password": PASSWORD, "dstaddr": "0912555001", "smbody": TEXT}
        await gateway.wire.post("/api/mtk/SmSend", form=form)
    assert stub.phone[0].text != TEXT


@pytest.mark.parametrize(
    ("specimen", "code", "state"),
    [
        (MITAKE, "1", ReportState.WAITING),
        (MITAKE, "4", ReportState.DELIVERED),
        (MITAKE, "6", ReportState.FAILED),
        (EVERY8D, "0", ReportState.WAITING),
        (EVERY8D, "100", ReportState.DELIVERED),
        (EVERY8D, "101", ReportState.WAITING),
        (EVERY8D, "103", ReportState.FAILED),
        (SMSGO, "0", ReportState.DELIVERED),
        (SMSGO, "-6", ReportState.FAILED),
    ],
)
async def test_a_provider_that_is_asked_says_what_became_of_a_message(
    specimen: Shipped, code: str, state: ReportState
) -> None:
    stub = specimen.stub()
    async with stub.listening() as address:
        gateway = specimen.gateway(address)
        assert isinstance(gateway, Reports)
        number = (await gateway.send(MESSAGE)).provider_id or ""
        stub.states[number] = code
        assert await gateway.ask([number]) == [Report(number, state, code)]
        stub.mode = Mode.GARBAGE
        assert await gateway.ask([number]) == []
        stub.mode = Mode.RESET
        assert await gateway.ask([number]) == []


async def test_a_text_that_smsgo_would_cut_is_sent_as_a_long_one() -> None:
    stub = SmsgoStub()
    async with stub.listening() as address:
        gateway = SMSGO.gateway(address)
        english = "Demo: you are renewing your e-certificate. Code 019283 for 5 min, ref BDFG. Tell no one. " * 2
        for text in (english, TEXT * 2):
            assert isinstance(await gateway.send(replace(MESSAGE, text=Secret(text))), Receipt)
    assert [sms.text for sms in stub.phone] == [english, TEXT * 2]
    assert [sms.fields["encoding"] for sms in stub.phone] == ["LASCII", "LUCS2"]


class Poor(Every8dStub):
    """EVERY8D with an account that has no money left."""

    def answer(self, heard: Heard) -> Says:
        del heard
        return Says("0.0,0,0,1,batch-1")


async def test_every8d_that_sent_nothing_has_no_money_left() -> None:
    async with Poor().listening() as address:
        outcome = await outcome_of(EVERY8D.gateway(address))
    assert isinstance(outcome, GatewayFault)
    assert (outcome.reason, outcome.verdict) == (FaultReason.CREDIT, Verdict.ALARM)


class Naive:
    """A gateway as one writes it in ten minutes: it believes status 200, and calls every failure a later."""

    channel, name, repeats = Channel.MOBILE, "naive", False

    def __init__(self, address: str, password: str, answer_s: float) -> None:
        self._address, self._password, self._answer_s = address, password, answer_s

    async def send(self, message: Message) -> Receipt:
        query = {"username": USER, "password": self._password, "dstaddr": "0" + message.destination.reveal()[4:]}
        query["smbody"] = message.text.reveal()
        try:
            async with httpx2.AsyncClient(verify=False, follow_redirects=True, timeout=self._answer_s) as client:
                answer = await client.get(self._address + "/api/mtk/SmSend", params=query)
        except httpx2.HTTPError as error:
            raise GatewayFault(FaultReason.BUSY, Verdict.LATER) from error
        return Receipt(self.name, answer.text)

    async def close(self) -> None:
        """Nothing is kept open."""


class NaiveSpecimen(Shipped):
    def _made(
        self, address: str, password: str, trust: Path | None, answer_s: float, more: dict[str, object]
    ) -> Gateway:
        del trust, more
        return Naive(address, password, answer_s)


@pytest.mark.parametrize(
    "check",
    [check for check in CHECKS if check.__name__ not in PASSED_BY_ANYBODY],
    ids=lambda check: check.__name__,
)
async def test_the_kit_finds_what_a_naive_gateway_does_wrong(check: Check, tmp_path: Path) -> None:
    with pytest.raises(AssertionError):
        await check(NaiveSpecimen("mitake", MitakeStub), tmp_path)
