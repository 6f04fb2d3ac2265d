"""SMSGO: the request is a form, the answer has `name=value` lines.

The encodings ASCII, BIG5 and UCS2 cut a text after one SMS; those that begin with L take up to 335 characters. So every
text is sent as LASCII or LUCS2, and none is cut. The interface takes no id of ours and no validity. The status codes
are from its public document; the document of the firm's contract takes precedence. Any other code counts as a refusal
after which another gateway may take the message.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Final

from chopmark.core.types import Channel, Secret
from chopmark.messaging.configuration import GatewayConfig, Options
from chopmark.messaging.mitake import endpoint_of, fields_of
from chopmark.messaging.ports import FaultReason, GatewayFault, Message, Receipt, Verdict
from chopmark.messaging.probes import Reached, plain_number
from chopmark.messaging.reports import Report, ReportState
from chopmark.messaging.sms import is_gsm7
from chopmark.messaging.wire import Answered, Endpoint, Wire, refused_by_status
from chopmark.tw.mobile import E164, is_local, local_form

LONGEST: Final = 335
REFUSED: Final[Mapping[str, tuple[FaultReason, Verdict]]] = {
    "-1": (FaultReason.PROTOCOL, Verdict.OTHER),  # a wrong parameter
    "-2": (FaultReason.AUTHENTICATION, Verdict.ALARM),
    "-4": (FaultReason.SENDER, Verdict.ALARM),  # our sender number at SMSGO
    "-5": (FaultReason.DESTINATION, Verdict.FINAL),
    "-6": (FaultReason.BARRED, Verdict.FINAL),
    "-1000": (FaultReason.CONTENT, Verdict.OTHER),  # no approved template matches the text
    "-60002": (FaultReason.CREDIT, Verdict.ALARM),
    "-60014": (FaultReason.BARRED, Verdict.FINAL),  # the customer has barred such messages
    "-999979999": (FaultReason.NOT_ALLOWED, Verdict.ALARM),  # our network address is not on SMSGO's list
}
STATES: Final[Mapping[str, ReportState]] = {"0": ReportState.DELIVERED, "1": ReportState.WAITING}


class Smsgo:
    """Sends over one account at SMSGO. The API key is sent in place of a password."""

    repeats = False

    def __init__(
        self,
        name: str,
        endpoint: Endpoint,
        user: str,
        key: Secret,
        *,
        callback: str = "",
        report_secret: Secret | None = None,
    ) -> None:
        self.channel = Channel.MOBILE
        self.name = name
        self.report_secret = report_secret
        self._wire = Wire(endpoint)
        self._user = user
        self._key = key
        self._callback = callback

    async def send(self, message: Message) -> Receipt:
        """As `Gateway.send`."""
        text, number = message.text.reveal(), E164(message.destination.reveal())
        if not is_local(number):
            raise GatewayFault(FaultReason.DESTINATION, Verdict.OTHER, detail="abroad")
        if len(text) > LONGEST:
            raise GatewayFault(FaultReason.CONTENT, Verdict.OTHER, detail="long")
        form = {
            "username": self._user,
            "password": self._key.reveal(),
            "dstaddr": local_form(number),
            "encoding": "LASCII" if is_gsm7(text) and text.isascii() else "LUCS2",
            "smbody": text,
        }
        if self._callback and self.report_secret is not None:
            form["response"] = self._callback + self.report_secret.reveal()
        said = await self._wire.post("/sms_gw/sendsms.aspx", form=form)
        outcome = said if isinstance(said, GatewayFault) else self._read(said)
        if isinstance(outcome, GatewayFault):
            raise outcome
        return outcome

    def _read(self, said: Answered) -> Receipt | GatewayFault:
        refused = refused_by_status(said.status)
        if refused is not None:
            return refused
        fields = fields_of(said.text)
        code, number = fields.get("statuscode", ""), fields.get("msgid", "")
        if code == "0" and number:
            return Receipt(self.name, number)
        if code.startswith("-"):
            reason, verdict = REFUSED.get(code, (FaultReason.PROTOCOL, Verdict.OTHER))
            return GatewayFault(reason, verdict, detail=code[:12])
        return GatewayFault(FaultReason.PROTOCOL, Verdict.UNKNOWN, detail=code[:12])

    def read_report(self, fields: Mapping[str, str]) -> Report | None:
        """Return the report that was sent to our address, with msgid and statuscode."""
        number, code = fields.get("msgid", ""), fields.get("statuscode", "")
        state = ReportState.FAILED if code.startswith("-") else STATES.get(code)
        return Report(number, state, code[:12]) if number and state is not None else None

    async def ask(self, provider_ids: Sequence[str]) -> list[Report]:
        """Ask what became of messages, one by one."""
        found: list[Report] = []
        for number in provider_ids:
            form = {"username": self._user, "password": self._key.reveal(), "msgid": number}
            said = await self._wire.post("/sms_gw/query.aspx", form=form)
            if isinstance(said, GatewayFault) or said.status != 200:
                continue
            report = self.read_report({**fields_of(said.text), "msgid": number})
            if report is not None:
                found.append(report)
        return found

    async def probe(self) -> Reached | GatewayFault:
        """As `Probing.probe`: ask how many points are left."""
        form = {"username": self._user, "password": self._key.reveal()}
        said = await self._wire.post("/sms_gw/query_point.aspx", form=form)
        if isinstance(said, GatewayFault):
            return said
        refused = refused_by_status(said.status)
        if refused is not None:
            return refused
        fields = fields_of(said.text)
        code = fields.get("statuscode", "")
        if code.startswith("-"):
            return GatewayFault(*REFUSED.get(code, (FaultReason.PROTOCOL, Verdict.LATER)), detail=code[:12])
        left = plain_number(fields.get("point", ""))
        return Reached(left) if left else GatewayFault(FaultReason.PROTOCOL, Verdict.LATER, detail=code[:12])

    async def certificate_until(self) -> datetime | None:
        """As `Shown.certificate_until`."""
        return await self._wire.certificate_until()

    async def close(self) -> None:
        """Do nothing: no connection is kept open."""


def smsgo(config: GatewayConfig) -> Smsgo:
    """Return the gateway for one entry of the list of gateways."""
    options = Options(config)
    made = Smsgo(
        config.name,
        endpoint_of(options, "https://www.smsgo.com.tw"),
        options.need("user"),
        options.secret("key"),
        callback=options.take("callback", ""),
        report_secret=options.secret_or_none("report"),
    )
    options.finish()
    return made
