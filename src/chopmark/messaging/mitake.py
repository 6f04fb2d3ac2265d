"""Mitake (三竹): the request is a form, the answer a text like an INI file; errors come with HTTP 200.

The default character set is Big5, a line break in a text is character 6, and a message without `vldtime` is tried for
24 hours. `clientid` identifies the message: if it comes again within twelve hours, Mitake does not send it again and
answers with the number of the first one. The status codes are from its public document; the document of the firm's
contract takes precedence.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from hashlib import sha256
from typing import Final

from chopmark.core.types import Channel, Secret
from chopmark.messaging.configuration import GatewayConfig, Options
from chopmark.messaging.ports import FaultReason, GatewayFault, Message, Receipt, Verdict
from chopmark.messaging.probes import Reached, plain_number
from chopmark.messaging.reports import Report, ReportState
from chopmark.messaging.sms import segments
from chopmark.messaging.wire import Answered, Endpoint, Wire, refused_by_status
from chopmark.tw.mobile import E164, is_local, local_form
from chopmark.tw.zone import TAIPEI

LINE_BREAK: Final = "\x06"
LONGEST_CLIENT_ID: Final = 36
ASKED_AT_ONCE: Final = 100

REFUSED: Final[Mapping[str, tuple[FaultReason, Verdict]]] = {
    # a fault of Mitake: use another gateway now, and Mitake again later
    "*": (FaultReason.BUSY, Verdict.LATER),  # a system error
    "a": (FaultReason.BUSY, Verdict.LATER),  # sending is stopped for now
    "b": (FaultReason.BUSY, Verdict.LATER),
    "l": (FaultReason.BUSY, Verdict.LATER),  # too many connections at the same time
    "r": (FaultReason.BUSY, Verdict.LATER),  # the system is stopped
    "w": (FaultReason.BUSY, Verdict.LATER),  # too many queries
    # our account at Mitake: an operator has to act
    "c": (FaultReason.AUTHENTICATION, Verdict.ALARM),  # no user name
    "d": (FaultReason.AUTHENTICATION, Verdict.ALARM),  # no password
    "e": (FaultReason.AUTHENTICATION, Verdict.ALARM),  # wrong user name or password
    "f": (FaultReason.AUTHENTICATION, Verdict.ALARM),  # the account has ended
    "h": (FaultReason.AUTHENTICATION, Verdict.ALARM),  # the account is blocked
    "k": (FaultReason.NOT_ALLOWED, Verdict.ALARM),  # our network address is not on Mitake's list
    "m": (FaultReason.AUTHENTICATION, Verdict.ALARM),  # the password must be changed
    "n": (FaultReason.AUTHENTICATION, Verdict.ALARM),  # the password has ended
    "p": (FaultReason.NOT_ALLOWED, Verdict.ALARM),  # the account may not send by HTTP
    "s": (FaultReason.CREDIT, Verdict.ALARM),  # it cannot be charged
    # the message: no other gateway can do better
    "t": (FaultReason.TOO_LATE, Verdict.FINAL),
    "u": (FaultReason.CONTENT, Verdict.FINAL),  # an empty text
    "v": (FaultReason.DESTINATION, Verdict.FINAL),  # no such number
    "x": (FaultReason.CONTENT, Verdict.FINAL),
    "y": (FaultReason.CONTENT, Verdict.FINAL),  # a wrong parameter
    "5": (FaultReason.CONTENT, Verdict.FINAL),  # the text is refused
    "6": (FaultReason.DESTINATION, Verdict.FINAL),
    "7": (FaultReason.BARRED, Verdict.FINAL),  # the number is disabled
    # it expired at Mitake, or was cancelled there: the page offers the other channel
    "8": (FaultReason.TOO_LATE, Verdict.FINAL),
    "9": (FaultReason.TOO_LATE, Verdict.FINAL),
}
TAKEN: Final = frozenset("01234")
STATES: Final[Mapping[str, ReportState]] = {
    **dict.fromkeys("0123", ReportState.WAITING),
    "4": ReportState.DELIVERED,
    **dict.fromkeys("56789", ReportState.FAILED),
}


class Mitake:
    """Sends over one account at Mitake. Mitake would silently cut a text of more than `most_segments` SMS."""

    repeats = False

    def __init__(
        self,
        name: str,
        endpoint: Endpoint,
        user: str,
        password: Secret,
        *,
        most_segments: int = 1,
        callback: str = "",
        report_secret: Secret | None = None,
    ) -> None:
        self.channel = Channel.MOBILE
        self.name = name
        self.report_secret = report_secret
        self.wire = Wire(endpoint)
        self._user = user
        self._password = password
        self._most_segments = most_segments
        self._callback = callback

    async def send(self, message: Message) -> Receipt:
        """As `Gateway.send`."""
        text, number = message.text.reveal(), E164(message.destination.reveal())
        if not is_local(number):
            raise GatewayFault(FaultReason.DESTINATION, Verdict.OTHER, detail="abroad")
        if segments(text) > self._most_segments:
            raise GatewayFault(FaultReason.CONTENT, Verdict.OTHER, detail="long")
        ends = (message.at + timedelta(seconds=message.ttl_s)).astimezone(TAIPEI)
        form = {
            "username": self._user,
            "password": self._password.reveal(),
            "dstaddr": local_form(number),
            "smbody": text.replace("\r\n", "\n").replace("\n", LINE_BREAK),
            "vldtime": ends.strftime("%Y%m%d%H%M%S"),
            "clientid": client_id(message.message_id),
        }
        if self._callback and self.report_secret is not None:
            form["response"] = self._callback + self.report_secret.reveal()
        said = await self.wire.post("/api/mtk/SmSend", query={"CharsetURL": "UTF8"}, form=form)
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
        if code in REFUSED:
            reason, verdict = REFUSED[code]
            return GatewayFault(reason, verdict, detail="star" if code == "*" else code)
        if number and (code in TAKEN or not code):
            return Receipt(self.name, number)
        return GatewayFault(FaultReason.PROTOCOL, Verdict.UNKNOWN, detail=code[:8])

    def read_report(self, fields: Mapping[str, str]) -> Report | None:
        """Return the report of a GET to our address: msgid, dstaddr, dlvtime, donetime, statuscode, statusstr."""
        number, code = fields.get("msgid", ""), fields.get("statuscode", "")
        state = STATES.get(code)
        return Report(number, state, code) if number and state is not None else None

    async def ask(self, provider_ids: Sequence[str]) -> list[Report]:
        """Ask what became of messages.

        The answer has one line for each: msgid, statuscode and time, separated by tabs.
        """
        found: list[Report] = []
        for first in range(0, len(provider_ids), ASKED_AT_ONCE):
            asked = provider_ids[first : first + ASKED_AT_ONCE]
            form = {"username": self._user, "password": self._password.reveal(), "msgid": ",".join(asked)}
            said = await self.wire.post("/api/mtk/SmQuery", query={"CharsetURL": "UTF8"}, form=form)
            if isinstance(said, GatewayFault) or said.status != 200:
                continue
            for line in said.text.splitlines():
                number, _, rest = line.strip().partition("\t")
                code = rest.partition("\t")[0].strip()
                if number in asked and code in STATES:
                    found.append(Report(number, STATES[code], code))
        return found

    async def probe(self) -> Reached | GatewayFault:
        """As `Probing.probe`: a query without a message is answered with the points that are left."""
        form = {"username": self._user, "password": self._password.reveal()}
        said = await self.wire.post("/api/mtk/SmQuery", query={"CharsetURL": "UTF8"}, form=form)
        if isinstance(said, GatewayFault):
            return said
        refused = refused_by_status(said.status)
        if refused is not None:
            return refused
        fields = fields_of(said.text)
        code = fields.get("statuscode", "")
        if code in REFUSED:
            return GatewayFault(*REFUSED[code], detail="star" if code == "*" else code)
        left = plain_number(fields.get("accountpoint", ""))
        return Reached(left) if left else GatewayFault(FaultReason.PROTOCOL, Verdict.LATER, detail=code[:8])

    async def certificate_until(self) -> datetime | None:
        """As `Shown.certificate_until`."""
        return await self.wire.certificate_until()

    async def close(self) -> None:
        """Do nothing: no connection is kept open."""


def fields_of(body: str) -> dict[str, str]:
    """Return the `name=value` lines of all sections of an answer, with the names in lower case."""
    lines = (line.partition("=") for line in body.splitlines())
    return {name.strip().lower(): value.strip() for name, between, value in lines if between}


def client_id(message_id: str) -> str:
    """Return the id of a message at the gateway: its own id, or a digest of it if that is too long."""
    return message_id if len(message_id) <= LONGEST_CLIENT_ID else sha256(message_id.encode()).hexdigest()[:32]


def mitake(config: GatewayConfig) -> Mitake:
    """Return the gateway for one entry of the list of gateways."""
    options = Options(config)
    made = Mitake(
        config.name,
        endpoint_of(options, "https://smsapi.mitake.com.tw"),
        options.need("user"),
        options.secret("password"),
        most_segments=options.take("segments", 1),
        callback=options.take("callback", ""),
        report_secret=options.secret_or_none("report"),
    )
    options.finish()
    return made


def endpoint_of(options: Options, usual: str) -> Endpoint:
    """Return the endpoint of a gateway, from the options that all HTTPS gateways have."""
    return Endpoint(
        options.take("url", usual),
        options.path("trust"),
        options.seconds("reach_s", 1.5),
        options.seconds("answer_s", 3.0),
    )
