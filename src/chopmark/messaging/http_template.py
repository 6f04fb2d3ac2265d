"""A gateway with any HTTPS interface, described in the settings: the request, the sign of success, the message id.

The recipient's number and the text may be in the body only, because proxies on the way log addresses and headers.
"""

import base64
import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final

from chopmark.core.types import Secret
from chopmark.messaging.configuration import GatewayConfig, GatewayMisconfigured, Options
from chopmark.messaging.json_path import Expression, JsonPath
from chopmark.messaging.mitake import client_id, endpoint_of
from chopmark.messaging.ports import FaultReason, GatewayFault, Message, Receipt, Verdict
from chopmark.messaging.probes import Reached
from chopmark.messaging.reports import Report, ReportState
from chopmark.messaging.sms import segments
from chopmark.messaging.wire import Answered, Wire, refused_by_status
from chopmark.tw.mobile import E164, local_form

_PLACE: Final = re.compile(r"\{([a-z_]+(?::[A-Za-z0-9_-]+)?)\}")
_OF_MESSAGE: Final[Mapping[str, Callable[[Message], str | int]]] = {
    "to": lambda message: message.destination.reveal(),
    "to_digits": lambda message: message.destination.reveal().removeprefix("+"),
    "to_local": lambda message: local_form(E164(message.destination.reveal())),
    "text": lambda message: message.text.reveal(),
    "id": lambda message: client_id(message.message_id),
    "left_s": lambda message: message.left_s,
    "left_ms": lambda message: message.left_s * 1000,
}


@dataclass(frozen=True, slots=True)
class Refusing:
    """The meaning of one kind of answer. The first one whose expression holds is used."""

    when: Expression
    reason: FaultReason
    verdict: Verdict


@dataclass(frozen=True, slots=True)
class Reporting:
    """Which fields of a report have the number and the state, and which states are final."""

    number: str
    state: str
    delivered: frozenset[str]
    failed: frozenset[str]


@dataclass(frozen=True, slots=True)
class Template:
    """The request and how to read the answer. Only `form` or `body` has placeholders for the message."""

    method: str
    path: str
    query: Mapping[str, str]
    headers: Mapping[str, str] = field(repr=False)
    form: Mapping[str, Any] | None
    body: Any
    success: Expression
    number: JsonPath
    refused: tuple[Refusing, ...]
    reporting: Reporting | None
    most_segments: int


class HttpTemplate:
    """Sends messages as a template describes."""

    repeats = False

    def __init__(self, config: GatewayConfig, wire: Wire, template: Template, report_secret: Secret | None) -> None:
        self.channel = config.channel
        self.name = config.name
        self.report_secret = report_secret
        self._wire = wire
        self._template = template

    async def send(self, message: Message) -> Receipt:
        """As `Gateway.send`."""
        template = self._template
        if segments(message.text.reveal()) > template.most_segments:
            raise GatewayFault(FaultReason.CONTENT, Verdict.OTHER, detail="long")
        form, content = None, None
        headers = dict(template.headers)
        if template.form is not None:
            form = {name: str(filled(value, message)) for name, value in template.form.items()}
        else:
            content = json.dumps(filled(template.body, message), ensure_ascii=False).encode()
            headers.setdefault("content-type", "application/json")
        said = await self._wire.post(
            template.path, query=template.query, form=form, content=content, headers=headers, method=template.method
        )
        outcome = said if isinstance(said, GatewayFault) else self._read(said)
        if isinstance(outcome, GatewayFault):
            raise outcome
        return outcome

    def _read(self, said: Answered) -> Receipt | GatewayFault:
        """Read an answer.

        In this order: a refusal that the template lists, success, the meaning of the HTTP status alone.
        """
        body = _json(said.text)
        for refusing in self._template.refused:
            if refusing.when.holds(said.status, body):
                return GatewayFault(refusing.reason, refusing.verdict, detail=str(said.status))
        if self._template.success.holds(said.status, body):
            number = self._template.number.of(body)
            if isinstance(number, str | int) and not isinstance(number, bool) and str(number):
                return Receipt(self.name, str(number)[:128])
        refused = refused_by_status(said.status)
        return refused or GatewayFault(FaultReason.PROTOCOL, Verdict.UNKNOWN, detail=str(said.status))

    def read_report(self, fields: Mapping[str, str]) -> Report | None:
        """Return the report with these fields, read as the template describes."""
        reporting = self._template.reporting
        if reporting is None or not fields.get(reporting.number):
            return None
        code = fields.get(reporting.state, "")
        state = ReportState.DELIVERED if code in reporting.delivered else ReportState.WAITING
        state = ReportState.FAILED if code in reporting.failed else state
        return Report(fields[reporting.number], state, code[:12])

    async def ask(self, provider_ids: Sequence[str]) -> list[Report]:
        """Return nothing: a template cannot ask. The provider sends reports by itself, or there are none."""
        del provider_ids
        return []

    async def probe(self) -> Reached | GatewayFault:
        """As `Probing.probe`. A template cannot ask, so only the connection is tried, not the account."""
        return await self._wire.reach() or Reached(tried=False)

    async def certificate_until(self) -> datetime | None:
        """As `Shown.certificate_until`."""
        return await self._wire.certificate_until()

    async def close(self) -> None:
        """Do nothing: no connection is kept open."""


def http_template(config: GatewayConfig) -> HttpTemplate:
    """Return the gateway for one entry of the list of gateways. Raises GatewayMisconfigured with what is wrong."""
    try:
        return _made(config)
    except GatewayMisconfigured:
        raise
    except ValueError as error:
        raise GatewayMisconfigured(f"gateway {config.name}: {error}") from None


def _made(config: GatewayConfig) -> HttpTemplate:
    options = Options(config)
    endpoint = endpoint_of(options, "")
    report_secret = options.secret_or_none("report")
    callback = options.take("callback", "")
    own = {**options.table("vars"), "callback": callback + (report_secret.reveal() if report_secret else "")}
    secrets = {name: options.secret(name).reveal() for name in config.secrets if name != "report"}
    known = _Known(own, secrets)
    headers = {name.lower(): known.open_part(value, secrets=True) for name, value in options.table("headers").items()}
    basic = options.table("basic")
    if basic:
        pair = f"{basic.get('user', '')}:{secrets.get(basic.get('secret', ''), '')}"
        headers["authorization"] = "Basic " + base64.b64encode(pair.encode()).decode()
    form, body = options.table("form"), options.table("json")
    if bool(form) is bool(body):
        raise ValueError("it has a form or a json table, one of the two")
    template = Template(
        method=options.take("method", "POST"),
        path=known.open_part(options.take("path", "")),
        query={name: known.open_part(value) for name, value in options.table("query").items()},
        headers=headers,
        form=known.body(form) if form else None,
        body=known.body(body),
        success=Expression.read(options.take("success", "status in [200, 201, 202]")),
        number=JsonPath.read(options.need("id")),
        refused=tuple(_refusing(one) for one in options.tables("refused")),
        reporting=_reporting(options.table("report")),
        most_segments=options.take("segments", 4),
    )
    if template.method not in {"POST", "PUT"}:
        raise ValueError("method is POST or PUT")
    options.finish()
    return HttpTemplate(config, Wire(endpoint), template, report_secret)


@dataclass(frozen=True, slots=True)
class _Known:
    """The values of placeholders when the settings are read. Those of the message are filled in when it is sent."""

    own: Mapping[str, str]
    secrets: Mapping[str, str] = field(repr=False)

    def open_part(self, written: str, *, secrets: bool = False) -> str:
        """Return a text for an address or a header, which must have no placeholder for the message."""

        def filled(found: re.Match[str]) -> str:
            name = found[1]
            if secrets and name.startswith("secret:"):
                return self._secret(name)
            if name in _OF_MESSAGE:
                raise ValueError(f"{{{name}}} belongs into form or json: addresses and headers are written to logs")
            if name not in self.own:
                raise ValueError(f"nothing is known as {{{name}}}")
            return self.own[name]

        return _PLACE.sub(filled, written)

    def body(self, written: Any) -> Any:
        """Return a form or JSON value with everything filled in except the placeholders for the message."""
        if isinstance(written, dict):
            return {name: self.body(value) for name, value in written.items()}
        if isinstance(written, list):
            return [self.body(value) for value in written]
        if not isinstance(written, str):
            return written

        def filled(found: re.Match[str]) -> str:
            name = found[1]
            if name in _OF_MESSAGE:
                return found[0]
            if name.startswith("secret:"):
                return self._secret(name)
            if name not in self.own:
                raise ValueError(f"nothing is known as {{{name}}}")
            return self.own[name]

        return _PLACE.sub(filled, written)

    def _secret(self, name: str) -> str:
        secret = self.secrets.get(name.partition(":")[2])
        if secret is None:
            raise ValueError(f"secrets has no file for {{{name}}}")
        return secret


def filled(written: Any, message: Message) -> Any:
    """Return a form or JSON value with the message filled in. A number that is the whole value stays a JSON number."""
    if isinstance(written, dict):
        return {name: filled(value, message) for name, value in written.items()}
    if isinstance(written, list):
        return [filled(value, message) for value in written]
    if not isinstance(written, str):
        return written
    alone = _PLACE.fullmatch(written)
    if alone is not None and alone[1] in _OF_MESSAGE:
        return _OF_MESSAGE[alone[1]](message)
    return _PLACE.sub(
        lambda found: str(_OF_MESSAGE[found[1]](message)) if found[1] in _OF_MESSAGE else found[0], written
    )


def _refusing(one: Mapping[str, Any]) -> Refusing:
    if set(one) != {"when", "reason", "verdict"}:
        raise ValueError("each of refused has when, reason and verdict")
    return Refusing(Expression.read(one["when"]), FaultReason(one["reason"]), Verdict(one["verdict"]))


def _reporting(found: Mapping[str, Any]) -> Reporting | None:
    if not found:
        return None
    if set(found) != {"id", "state", "delivered", "failed"}:
        raise ValueError("report has id, state, delivered and failed")
    return Reporting(found["id"], found["state"], frozenset(found["delivered"]), frozenset(found["failed"]))


def _json(text: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return None
