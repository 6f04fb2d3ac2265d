"""Gateways that are written down in settings: the three of the operator's page, against stubs of their providers."""

import base64
import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import timedelta
from pathlib import Path
from typing import Any, cast

import pytest

from chopmark.core.types import Secret
from chopmark.messaging.configuration import GatewayConfig, GatewayMisconfigured, read_gateways
from chopmark.messaging.json_path import Expression, JsonPath
from chopmark.messaging.ports import FaultReason, Gateway, GatewayFault, Verdict
from chopmark.messaging.registry import gateway_of
from chopmark.messaging.reports import Report, Reports, ReportState
from chopmark.testing.gateways import CHECKS, MESSAGE, TEXT, Check, outcome_of
from chopmark.testing.http_stub import Heard, HttpStub, Says

PAGES = {language: (Path("docs") / f"gateways.{language}.md").read_text() for language in ("en", "zh-TW")}
RIGHT = "r" * 32


def examples(page: str) -> dict[str, GatewayConfig]:
    """The gateways of the page's lists, with a secret that is right."""
    lists = re.findall(r"```toml\n(.*?)```", page, re.DOTALL)
    return {config.name: config for one in lists for config in read_gateways(one, lambda _: Secret(RIGHT))}


@dataclass
class JsonStub(HttpStub):
    """A provider that keeps what it took, and refuses the next messages by codes of its own."""

    def __init__(self) -> None:
        super().__init__()
        self.phone: list[str] = []
        self.refuse: list[Any] = []
        self.bodies: list[Mapping[str, Any]] = []

    def says(self, value: Any, status: int = 200) -> Says:
        return Says(json.dumps(value, ensure_ascii=False), status, "application/json")

    def take(self, text: str, body: Mapping[str, Any]) -> str:
        self.phone.append(text)
        self.bodies.append(body)
        return f"n{len(self.phone)}"


class Twilio(JsonStub):
    def answer(self, heard: Heard) -> Says:
        account = "AC" + "0" * 32
        if heard.headers.get("authorization") != "Basic " + base64.b64encode(f"{account}:{RIGHT}".encode()).decode():
            return self.says({"code": 20003, "message": "Authenticate"}, 401)
        if (heard.method, heard.path) != ("POST", f"/2010-04-01/Accounts/{account}/Messages.json"):
            return self.says({"code": 20404}, 404)
        if self.refuse:
            return self.says({"code": self.refuse.pop(0), "status": 400}, 400)
        if not 1 <= int(heard.fields["ValidityPeriod"]) <= 36000 or not heard.fields["To"].startswith("+886"):
            return self.says({"code": 21624}, 400)
        number = self.take(heard.fields["Body"], heard.fields)
        return self.says({"sid": number, "status": "queued", "error_code": None, "note": "已收"}, 201)


class Vonage(JsonStub):
    def answer(self, heard: Heard) -> Says:
        body = json.loads(heard.body)
        status = "4" if body["api_secret"] != RIGHT else self.refuse.pop(0) if self.refuse else "0"
        if status != "0":
            return self.says({"message-count": "1", "messages": [{"status": status, "error-text": "錯誤"}]})
        number = self.take(body["text"], body)
        return self.says({"message-count": "1", "messages": [{"status": "0", "message-id": number, "x": "已收"}]})


class Bank(JsonStub):
    def answer(self, heard: Heard) -> Says:
        if (
            heard.headers.get("authorization") != f"Bearer {RIGHT}"
            or heard.headers["x-system"] != "certificate-counter"
        ):
            return self.says({"result": {"code": "E401"}})
        body = json.loads(heard.body)
        number = self.take(body["message"]["body"], body)
        return self.says({"result": {"code": "0000", "ticket": number, "text": "已收"}}, 202)


@dataclass(frozen=True)
class Written:
    """A specimen out of the operator's page."""

    name: str
    make: Callable[[], JsonStub]

    def stub(self) -> JsonStub:
        return self.make()

    def gateway(self, address: str, trust: Path | None = None, answer_s: float = 10.0) -> Gateway:
        return self._made(address, RIGHT, {"trust": "" if trust is None else str(trust), "answer_s": answer_s})

    def with_wrong_password(self, address: str) -> Gateway:
        return self._made(address, "wrong", {"trust": ""})

    def _made(self, address: str, secret: str, more: dict[str, object]) -> Gateway:
        config = examples(PAGES["en"])[self.name]
        options = {**config.options, "url": address, "reach_s": 5.0, **more}
        secrets = {name: Secret(RIGHT if name == "report" else secret) for name in config.secrets}
        return gateway_of(replace(config, options=options, secrets=secrets), [])

    def shown(self, stub: HttpStub) -> list[str]:
        return cast(JsonStub, stub).phone


TWILIO, VONAGE, BANK = Written("twilio", Twilio), Written("vonage", Vonage), Written("hub", Bank)


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
@pytest.mark.parametrize("specimen", [TWILIO, VONAGE, BANK], ids=lambda specimen: specimen.name)
async def test_the_examples_of_the_page_pass_the_kit(specimen: Written, check: Check, tmp_path: Path) -> None:
    await check(specimen, tmp_path)


def test_both_pages_have_the_same_lists_and_all_of_them_can_be_used() -> None:
    english, chinese = (examples(page) for page in PAGES.values())
    assert repr(english) == repr(chinese)
    assert set(english) == {"mitake", "every8d", "twilio", "vonage", "hub"}
    for config in english.values():
        gateway_of(replace(config, options={**config.options, **({"trust": ""} if config.name == "hub" else {})}), [])


@pytest.mark.parametrize(
    ("specimen", "code", "reason", "verdict"),
    [
        (TWILIO, 21211, FaultReason.DESTINATION, Verdict.FINAL),
        (TWILIO, 21610, FaultReason.BARRED, Verdict.FINAL),
        (TWILIO, 21408, FaultReason.NOT_ALLOWED, Verdict.ALARM),
        (TWILIO, 30007, FaultReason.CONTENT, Verdict.OTHER),  # nobody wrote it down: what its status says
        (VONAGE, "1", FaultReason.BUSY, Verdict.LATER),
        (VONAGE, "7", FaultReason.BARRED, Verdict.FINAL),
        (VONAGE, "9", FaultReason.CREDIT, Verdict.ALARM),
        (VONAGE, "99", FaultReason.PROTOCOL, Verdict.UNKNOWN),
    ],
)
async def test_each_refusal_means_what_is_written(
    specimen: Written, code: object, reason: FaultReason, verdict: Verdict
) -> None:
    stub = specimen.stub()
    stub.refuse = [code]
    async with stub.listening() as address:
        outcome = await outcome_of(specimen.gateway(address))
    assert isinstance(outcome, GatewayFault)
    assert (outcome.reason, outcome.verdict) == (reason, verdict)


async def test_a_provider_is_told_how_long_the_code_is_good_from_now_and_who_the_message_is() -> None:
    later = replace(MESSAGE, handed_at=MESSAGE.at + timedelta(seconds=100))
    for specimen in (TWILIO, VONAGE, BANK):
        stub = specimen.stub()
        async with stub.listening() as address:
            await specimen.gateway(address).send(later)
        (body,) = stub.bodies
        match specimen.name:
            case "twilio":
                assert body["ValidityPeriod"] == "200"
            case "vonage":
                assert (body["ttl"], body["client-ref"]) == (200_000, MESSAGE.message_id)
            case "hub":
                assert body["message"]["expiresIn"] == 200
                assert body["receivers"] == [{"mobile": "0912555001"}]
                assert body["callbackUrl"] == "https://portal.example.com/hooks/gateways/hub/" + RIGHT


def test_a_report_is_read_as_it_is_written() -> None:
    gateway = BANK.gateway("https://hub.bank.example")
    assert isinstance(gateway, Reports)
    assert gateway.read_report({"ticket": "n1", "state": "DELIVRD"}) == Report("n1", ReportState.DELIVERED, "DELIVRD")
    assert gateway.read_report({"ticket": "n1", "state": "EXPIRED"}) == Report("n1", ReportState.FAILED, "EXPIRED")
    assert gateway.read_report({"ticket": "n1", "state": "ENROUTE"}) == Report("n1", ReportState.WAITING, "ENROUTE")
    assert gateway.read_report({"state": "DELIVRD"}) is None


def test_a_text_that_looks_like_a_place_stays_what_it_is() -> None:
    from chopmark.messaging.http_template import filled

    odd = replace(MESSAGE, text=Secret("{to} {secret:token}"))
    assert filled({"a": "{text}", "b": "x{text}"}, odd) == {"a": "{to} {secret:token}", "b": "x{to} {secret:token}"}
    assert TEXT not in repr(filled({"a": 1}, MESSAGE))


@pytest.mark.parametrize(
    ("written", "holds"),
    [
        ("status == 200", True),
        ("status != 200", False),
        ("status in [200, 201] and $.a[1].b-c == \"x\"", True),
        ("$.a[2] == null", True),
        ("$.n == 1", True),
        ("$.n == true", False),
        ('$.n == "1"', False),
        ("$ == null", False),
    ],
)  # fmt: skip
def test_an_expression_holds_or_does_not(written: str, holds: bool) -> None:
    assert Expression.read(written).holds(200, {"a": [0, {"b-c": "x"}], "n": 1}) is holds


@pytest.mark.parametrize(
    "written", ["", "status", "status = 200", "body == 1", "$.a == x", "$..a == 1", "status == [1]"]
)
def test_what_is_no_expression_is_refused(written: str) -> None:
    with pytest.raises(ValueError, match=r"no|comes"):
        Expression.read(written)


def test_a_path_begins_with_a_dollar() -> None:
    with pytest.raises(ValueError, match="begins with"):
        JsonPath.read("a.b")


@pytest.mark.parametrize(
    ("changed", "sentence"),
    [
        ({"path": "/send/{to}"}, "belongs into form or json"),
        ({"headers": {"x": "{text}"}}, "belongs into form or json"),
        ({"query": {"x": "{secret:token}"}}, "nothing is known as"),
        ({"form": {"a": "{nobody}"}}, "nothing is known as"),
        ({"form": {"a": "{secret:other}"}}, "no file for"),
        ({"form": {}}, "one of the two"),
        ({"method": "GET"}, "POST or PUT"),
        ({"success": "yes"}, "no condition"),
        ({"refused": [{"when": "status == 1"}]}, "when, reason and verdict"),
        ({"refused": [{"when": "status == 1", "reason": "rain", "verdict": "later"}]}, "rain"),
        ({"sucess": "status == 1"}, "unknown option sucess"),
        ({"url": "http://hub.example"}, "https address"),
    ],
)
def test_a_template_that_is_wrong_says_why(changed: dict[str, object], sentence: str) -> None:
    config = examples(PAGES["en"])["twilio"]
    with pytest.raises(GatewayMisconfigured, match=sentence):
        gateway_of(replace(config, options={**config.options, **changed}), [])
