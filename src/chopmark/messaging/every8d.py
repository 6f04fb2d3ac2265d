"""EVERY8D (互動資通): the request is a form, the answer one line of CSV; a line that begins with "-" is an error.

The interface takes no id of ours. If an answer is lost, nobody can say whether the message was taken, so it is not sent
there again. It takes no validity either: a message may arrive after its code has ended, and the page then says so.
The status codes are from its public document; the document of the firm's contract takes precedence.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Final

from chopmark.core.types import Channel, Secret
from chopmark.messaging.configuration import GatewayConfig, Options
from chopmark.messaging.mitake import endpoint_of
from chopmark.messaging.ports import FaultReason, GatewayFault, Message, Receipt, Verdict
from chopmark.messaging.probes import Reached, plain_number
from chopmark.messaging.reports import Report, ReportState
from chopmark.messaging.sms import segments
from chopmark.messaging.wire import Answered, Endpoint, Wire, refused_by_status

REFUSED: Final[Mapping[str, tuple[FaultReason, Verdict]]] = {
    "-1": (FaultReason.PROTOCOL, Verdict.OTHER),  # a wrong parameter
    "-2": (FaultReason.AUTHENTICATION, Verdict.ALARM),
    "-3": (FaultReason.BARRED, Verdict.FINAL),  # a wrong number, or one on the provider's block list
    "-4": (FaultReason.TOO_LATE, Verdict.FINAL),
    "-5": (FaultReason.CONTENT, Verdict.OTHER),  # too long
    "-6": (FaultReason.PROTOCOL, Verdict.OTHER),  # a wrong time
    "-99": (FaultReason.BUSY, Verdict.LATER),
}
STATES: Final[Mapping[str, ReportState]] = {
    "0": ReportState.WAITING,
    "100": ReportState.DELIVERED,
    **dict.fromkeys(("101", "107", "102", "300"), ReportState.WAITING),  # phone off, network trouble, scheduled
    **dict.fromkeys(("103", "104", "105", "106", "303", "500"), ReportState.FAILED),
    **dict.fromkeys(("-1", "-2", "-3", "-4", "-5", "-6", "-99"), ReportState.FAILED),
}


class Every8d:
    """Sends to one account at EVERY8D."""

    repeats = False
    report_secret = None

    def __init__(self, name: str, endpoint: Endpoint, user: str, password: Secret, *, most_segments: int = 4) -> None:
        self.channel = Channel.MOBILE
        self.name = name
        self._wire = Wire(endpoint)
        self._user = user
        self._password = password
        self._most_segments = most_segments

    async def send(self, message: Message) -> Receipt:
        """As `Gateway.send`. The subject (SB) is only a remark in the account at the provider; it stays empty."""
        text = message.text.reveal()
        if segments(text) > self._most_segments:
            raise GatewayFault(FaultReason.CONTENT, Verdict.OTHER, detail="long")
        form = {
            "UID": self._user,
            "PWD": self._password.reveal(),
            "SB": "",
            "MSG": text,
            "DEST": message.destination.reveal(),
            "ST": "",
        }
        said = await self._wire.post("/API21/HTTP/sendSMS.ashx", form=form)
        outcome = said if isinstance(said, GatewayFault) else self._read(said)
        if isinstance(outcome, GatewayFault):
            raise outcome
        return outcome

    def _read(self, said: Answered) -> Receipt | GatewayFault:
        refused = refused_by_status(said.status)
        if refused is not None:
            return refused
        parts = [part.strip() for part in said.text.strip().split(",")]
        if parts[0].startswith("-"):
            reason, verdict = REFUSED.get(parts[0], (FaultReason.PROTOCOL, Verdict.OTHER))
            return GatewayFault(reason, verdict, detail=parts[0][:8])
        if len(parts) != 5 or not parts[4]:  # credit, sended, cost, unsend, batch
            return GatewayFault(FaultReason.PROTOCOL, Verdict.UNKNOWN)
        if parts[1] == "0":  # nothing was sent: no credit is left, or the number is wrong
            return GatewayFault(FaultReason.CREDIT, Verdict.ALARM, detail="unsent")
        return Receipt(self.name, parts[4])

    def read_report(self, fields: Mapping[str, str]) -> Report | None:
        """Return None: EVERY8D sends no reports; it has to be asked."""
        del fields
        return None

    async def ask(self, provider_ids: Sequence[str]) -> list[Report]:
        """Ask what became of messages, one by one.

        Answer: a line with the count, then name, number, time, cost, status.
        """
        found: list[Report] = []
        for number in provider_ids:
            form = {"UID": self._user, "PWD": self._password.reveal(), "BID": number, "PNO": ""}
            said = await self._wire.post("/API21/HTTP/getDeliveryStatus.ashx", form=form)
            if isinstance(said, GatewayFault) or said.status != 200:
                continue
            for line in said.text.splitlines():
                parts = line.split("\t")
                state = STATES.get(parts[4].strip()) if len(parts) >= 5 else None
                if state is not None:
                    found.append(Report(number, state, parts[4].strip()))
                    break
        return found

    async def probe(self) -> Reached | GatewayFault:
        """As `Probing.probe`: ask how much credit is left."""
        form = {"UID": self._user, "PWD": self._password.reveal()}
        said = await self._wire.post("/API21/HTTP/getCredit.ashx", form=form)
        if isinstance(said, GatewayFault):
            return said
        refused = refused_by_status(said.status)
        if refused is not None:
            return refused
        first = said.text.strip().partition(",")[0]
        if first.startswith("-"):
            return GatewayFault(*REFUSED.get(first, (FaultReason.PROTOCOL, Verdict.LATER)), detail=first[:8])
        left = plain_number(first)
        return Reached(left) if left else GatewayFault(FaultReason.PROTOCOL, Verdict.LATER)

    async def certificate_until(self) -> datetime | None:
        """As `Shown.certificate_until`."""
        return await self._wire.certificate_until()

    async def close(self) -> None:
        """Do nothing: no connection is kept open."""


def every8d(config: GatewayConfig) -> Every8d:
    """Return the gateway for one entry of the list of gateways."""
    options = Options(config)
    made = Every8d(
        config.name,
        endpoint_of(options, "https://oms.every8d.com"),
        options.need("user"),
        options.secret("password"),
        most_segments=options.take("segments", 4),
    )
    options.finish()
    return made
