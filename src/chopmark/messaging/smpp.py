"""SMPP 3.4: sends to the message centre of a carrier or an aggregator, over a permanent connection.

A text is sent as ASCII if it is the same in the GSM alphabet, otherwise as UCS-2. A text of several SMS is split into
parts that the phone joins. The validity period is the time until the code expires.
"""

import asyncio
import re
import ssl
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Final

from chopmark.core.types import Channel, Secret
from chopmark.messaging.configuration import GatewayConfig, GatewayMisconfigured, Options
from chopmark.messaging.ports import FaultReason, GatewayFault, Message, Receipt, Verdict
from chopmark.messaging.probes import Reached, certificate_until
from chopmark.messaging.reports import Report, ReportState
from chopmark.messaging.smpp_session import Address, Answer, BindRefused, Lost, Session, Submit
from chopmark.messaging.sms import GSM7_JOINED, GSM7_SINGLE, UCS2_JOINED, UCS2_SINGLE, segments

_SAME_IN_GSM: Final = re.compile(r"[A-Za-z0-9 \n\r!\"#%&'()*+,\-./:;<=>?]*")
_FIELD: Final = re.compile(r"(id|stat):(\S+)")
REFUSED: Final[Mapping[int, tuple[FaultReason, Verdict]]] = {  # s.5.1.3
    0x01: (FaultReason.CONTENT, Verdict.OTHER),  # ESME_RINVMSGLEN
    0x08: (FaultReason.BUSY, Verdict.LATER),  # ESME_RSYSERR
    0x0A: (FaultReason.SENDER, Verdict.ALARM),  # ESME_RINVSRCADR
    0x0B: (FaultReason.DESTINATION, Verdict.FINAL),  # ESME_RINVDSTADR
    0x0D: (FaultReason.NOT_ALLOWED, Verdict.ALARM),  # ESME_RBINDFAIL
    0x0E: (FaultReason.AUTHENTICATION, Verdict.ALARM),  # ESME_RINVPASWD
    0x0F: (FaultReason.AUTHENTICATION, Verdict.ALARM),  # ESME_RINVSYSID
    0x14: (FaultReason.BUSY, Verdict.LATER),  # ESME_RMSGQFUL
    0x45: (FaultReason.CONTENT, Verdict.OTHER),  # ESME_RSUBMITFAIL
    0x58: (FaultReason.BUSY, Verdict.LATER),  # ESME_RTHROTTLED
    0xFF: (FaultReason.PROTOCOL, Verdict.UNKNOWN),  # ESME_RUNKNOWNERR
}
STATES: Final[Mapping[str, ReportState]] = {  # appendix B
    "DELIVRD": ReportState.DELIVERED,
    "ACCEPTD": ReportState.WAITING,
    "ENROUTE": ReportState.WAITING,
    **dict.fromkeys(("EXPIRED", "DELETED", "UNDELIV", "REJECTD"), ReportState.FAILED),
}
MOST_REPORTS: Final = 10_000


class SmppGateway:
    """Sends over one account at a message centre. It connects when the first message is sent."""

    repeats = False
    report_secret: Secret | None = None

    def __init__(
        self,
        name: str,
        address: Address,
        source: str,
        *,
        reach_s: float = 1.5,
        answer_s: float = 3.0,
        most_segments: int = 4,
    ) -> None:
        self.channel = Channel.MOBILE
        self.name = name
        self._address = address
        self._source = source
        self._reach_s = reach_s
        self._answer_s = answer_s
        self._most_segments = most_segments
        self.session: Session | None = None
        self._binding = asyncio.Lock()
        self._reference = 0
        self._reports: list[Report] = []

    async def send(self, message: Message) -> Receipt:
        """As `Gateway.send`."""
        outcome = await self._sent(message)
        if isinstance(outcome, GatewayFault):
            raise outcome
        return outcome

    async def _sent(self, message: Message) -> Receipt | GatewayFault:
        text = message.text.reveal()
        if segments(text) > self._most_segments:
            return GatewayFault(FaultReason.CONTENT, Verdict.OTHER, detail="long")
        session = await self._bound()
        if isinstance(session, GatewayFault):
            return session
        answers: list[Answer] = []
        try:
            async with asyncio.timeout(self._answer_s):
                for part in self._parts(message, text):
                    answers.append(await session.submit(part))
                    if answers[-1].status:
                        break
        except TimeoutError:
            session.drop()  # nothing waits for a later answer any more
            return GatewayFault(FaultReason.TIMEOUT, Verdict.UNKNOWN)
        except (Lost, OSError):
            return GatewayFault(FaultReason.DROPPED, Verdict.UNKNOWN)
        return self._read(answers)

    def _read(self, answers: Sequence[Answer]) -> Receipt | GatewayFault:
        """Return the receipt if all parts of a text were taken. If only some were, the fate is unknown."""
        last = answers[-1]
        if not last.status:
            return Receipt(self.name, answers[0].message_id or None)
        if len(answers) > 1:
            return GatewayFault(FaultReason.PROTOCOL, Verdict.UNKNOWN, detail=f"{last.status:x}")
        return _refused(last.status)

    async def _bound(self) -> Session | GatewayFault:
        async with self._binding:
            if self.session is not None and not self.session.ended:
                return self.session
            try:
                async with asyncio.timeout(2 * self._reach_s):
                    self.session = await Session.bound(self._address, self._receipt)
            except TimeoutError:
                return GatewayFault(FaultReason.TIMEOUT, Verdict.LATER)
            except BindRefused as refused:
                return _refused(refused.status)
            except ssl.SSLError:
                return GatewayFault(FaultReason.TLS, Verdict.ALARM)
            except OSError:
                return GatewayFault(FaultReason.UNREACHABLE, Verdict.LATER)
            except Lost:
                return GatewayFault(FaultReason.DROPPED, Verdict.LATER)
            return self.session

    def _parts(self, message: Message, text: str) -> list[Submit]:
        plain = _SAME_IN_GSM.fullmatch(text) is not None
        coding, content = (0, text.encode("ascii")) if plain else (8, text.encode("utf-16-be"))
        single, joined = (GSM7_SINGLE, GSM7_JOINED) if plain else (2 * UCS2_SINGLE, 2 * UCS2_JOINED)
        pieces = [content] if len(content) <= single else pieces_of(content, joined, 1 if plain else 2)
        self._reference = (self._reference + 1) % 256
        return [
            Submit(
                source=self._source,
                source_ton=1 if self._source.isdigit() else 5,  # international, or letters
                source_npi=1 if self._source.isdigit() else 0,
                destination=message.destination.reveal().removeprefix("+"),
                data_coding=coding,
                content=piece if len(pieces) == 1 else bytes((5, 0, 3, self._reference, len(pieces), number)) + piece,
                validity=_validity(message.left_s),
                has_header=len(pieces) > 1,
            )
            for number, piece in enumerate(pieces, 1)
        ]

    def _receipt(self, text: str) -> None:
        found = {field[1]: field[2] for field in _FIELD.finditer(text)}
        state = STATES.get(found.get("stat", ""))
        if state is not None and "id" in found and len(self._reports) < MOST_REPORTS:
            self._reports.append(Report(found["id"][:128], state, found["stat"]))

    def read_report(self, fields: Mapping[str, str]) -> Report | None:
        """Return None: delivery receipts come over the connection."""
        del fields
        return None

    async def ask(self, provider_ids: Sequence[str]) -> list[Report]:
        """Return nothing: the message centre sends receipts without being asked."""
        del provider_ids
        return []

    def arrived(self) -> list[Report]:
        """Return the receipts that came since the last call."""
        arrived, self._reports = self._reports, []
        return arrived

    async def probe(self) -> Reached | GatewayFault:
        """As `Probing.probe`: bind, as the first message would."""
        session = await self._bound()
        return session if isinstance(session, GatewayFault) else Reached()

    async def certificate_until(self) -> datetime | None:
        """As `Shown.certificate_until`."""
        address = self._address
        if address.tls is None:
            return None
        return await certificate_until(address.host, address.port, address.tls, self._reach_s + self._answer_s)

    async def close(self) -> None:
        """Unbind and close the connection."""
        if self.session is not None:
            await self.session.leave()
            self.session = None


def _refused(status: int) -> GatewayFault:
    reason, verdict = REFUSED.get(status, (FaultReason.PROTOCOL, Verdict.OTHER))
    return GatewayFault(reason, verdict, detail=f"{status:x}")


def pieces_of(content: bytes, size: int, unit: int) -> list[bytes]:
    """Return content in pieces of at most `size` octets, without splitting a surrogate pair."""
    pieces: list[bytes] = []
    while content:
        end = min(size, len(content))
        if unit == 2 and end < len(content) and 0xD8 <= content[end - 2] <= 0xDB:
            end -= 2
        pieces.append(content[:end])
        content = content[end:]
    return pieces


def _validity(seconds: int) -> str:
    """Return a relative validity period (s.7.1.1): years, months, days, hours, minutes, seconds, then 000R."""
    minutes, left = divmod(seconds, 60)
    hours, minutes = divmod(minutes, 60)
    days, hours = divmod(hours, 24)
    return f"0000{min(days, 99):02}{hours:02}{minutes:02}{left:02}000R"


def smpp(config: GatewayConfig) -> SmppGateway:
    """Return the gateway for one entry of the list of gateways."""
    options = Options(config)
    host, port = options.need("host"), options.take("port", 2775)
    trust, tls = options.path("trust"), options.take("tls", True)
    if not tls and host not in {"127.0.0.1", "::1", "localhost"} and not options.take("private_line", False):
        raise GatewayMisconfigured(f"gateway {config.name}: without tls codes are readable: say private_line = true")
    context = None
    if tls:
        context = ssl.create_default_context(cafile=None if trust is None else str(trust))
        context.minimum_version = ssl.TLSVersion.TLSv1_2
    made = SmppGateway(
        config.name,
        Address(host, port, options.need("user"), options.secret("password"), options.take("system_type", ""), context),
        options.take("source", ""),
        reach_s=options.seconds("reach_s", 1.5),
        answer_s=options.seconds("answer_s", 3.0),
        most_segments=options.take("segments", 4),
    )
    options.finish()
    return made
