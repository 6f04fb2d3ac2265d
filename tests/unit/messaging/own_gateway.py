"""A gateway of a firm's own, as its package would bring it: one JSON request, and the kit of the counter."""

import json
from pathlib import Path

from chopmark.core.types import Channel, Secret
from chopmark.messaging.configuration import GatewayConfig, Options
from chopmark.messaging.ports import FaultReason as Why
from chopmark.messaging.ports import Gateway, GatewayFault, Message, Receipt, Verdict
from chopmark.messaging.wire import Endpoint, Wire, refused_by_status
from chopmark.testing.http_stub import Heard, HttpStub, Says


class Own:
    """Sends to the firm's own hub."""

    channel, repeats = Channel.MOBILE, False

    def __init__(self, name: str, endpoint: Endpoint, token: Secret) -> None:
        self.name = name
        self._wire = Wire(endpoint)
        self._token = token

    async def send(self, message: Message) -> Receipt:
        body = json.dumps({"to": message.destination.reveal(), "text": message.text.reveal()}).encode()
        headers = {"authorization": f"Bearer {self._token.reveal()}", "content-type": "application/json"}
        said = await self._wire.post("/messages", content=body, headers=headers)
        fault = said if isinstance(said, GatewayFault) else refused_by_status(said.status)
        if fault is not None:
            raise fault
        assert not isinstance(said, GatewayFault)
        number = _number(said.text)
        if number is None:
            raise GatewayFault(Why.PROTOCOL, Verdict.UNKNOWN)
        return Receipt(self.name, number)

    async def close(self) -> None:
        """Nothing is kept open."""


def _number(text: str) -> str | None:
    try:
        return str(json.loads(text)["id"])
    except (ValueError, KeyError, TypeError):
        return None


def own(config: GatewayConfig) -> Own:
    options = Options(config)
    options.need("user")
    made = Own(config.name, Endpoint(options.take("url", "https://hub.example")), options.secret("password"))
    options.finish()
    return made


class OwnStub(HttpStub):
    """The firm's hub."""

    def __init__(self) -> None:
        super().__init__()
        self.phone: list[str] = []

    def answer(self, heard: Heard) -> Says:
        if heard.headers.get("authorization") != "Bearer right":
            return Says("{}", 401)
        self.phone.append(json.loads(heard.body)["text"])
        return Says(json.dumps({"id": len(self.phone), "note": "已收"}, ensure_ascii=False))


class OwnSpecimen:
    """What the kit needs of it."""

    def stub(self) -> HttpStub:
        return OwnStub()

    def gateway(self, address: str, trust: Path | None, answer_s: float) -> Gateway:
        return Own("hub", Endpoint(address, trust, 5.0, answer_s), Secret("right"))

    def with_wrong_password(self, address: str) -> Gateway:
        return Own("hub", Endpoint(address, None, 5.0, 10.0), Secret("wrong"))

    def shown(self, stub: HttpStub) -> list[str]:
        assert isinstance(stub, OwnStub)
        return stub.phone
