"""Delivery reports: what a gateway says later of a message that it took.

A report comes by itself, to an address that only the gateway knows, or is asked for. It may come late or twice; one
that comes before we know that the message was taken is kept, and put on its message a few seconds later. It changes
what is said of the message, and nothing else: a code is right or wrong whatever a gateway says of its message.
"""

import hmac
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Final, Protocol, runtime_checkable

from chopmark.core.clock import Clock
from chopmark.core.types import Secret
from chopmark.messaging.ports import Gateway

ASKED_AT_ONCE: Final = 50
SHORTEST_SECRET: Final = 32


class ReportState(StrEnum):
    """What became of a message on its way."""

    WAITING = "waiting"  # at the carrier; the phone is off
    DELIVERED = "delivered"  # on the handset
    FAILED = "failed"  # and nobody tries any more


@dataclass(frozen=True, slots=True)
class Report:
    """One report; `provider_id` is the gateway's number of the message, `detail` its own code for the state."""

    provider_id: str
    state: ReportState
    detail: str = ""


@runtime_checkable
class Reports(Protocol):
    """A gateway that reports, besides carrying messages."""

    @property
    def name(self) -> str:
        """The gateway's name."""
        ...

    @property
    def report_secret(self) -> Secret | None:
        """What stands at the end of the address to which it reports; None: it is only asked."""
        ...

    def read_report(self, fields: Mapping[str, str]) -> Report | None:
        """Return the report that came with these fields; None when it is none of this gateway's."""
        ...

    async def ask(self, provider_ids: Sequence[str]) -> list[Report]:
        """Ask what became of messages; an answer that is lost or says nothing of one is no report of it."""
        ...


@runtime_checkable
class Arriving(Protocol):
    """A gateway to which reports come over its own connection."""

    def arrived(self) -> list[Report]:
        """Return the reports that came since the last call."""
        ...


@dataclass(frozen=True, slots=True)
class Unreported:
    """A message that a gateway took, and of which it has said nothing final."""

    gateway: str
    provider_id: str


class ReportStore(Protocol):
    """Keeps what was reported."""

    async def reported(self, gateway: str, report: Report, now: datetime) -> bool:
        """Put a final report on its message; False when it is not new, or the message is not known (yet).

        A message that was said to have failed may turn out delivered, and not the other way round. The report of a
        message that is not known is kept for `settle`.
        """
        ...

    async def settle(self, now: datetime) -> int:
        """Put reports that came too early on their messages; return how many messages were found."""
        ...

    async def unreported(self, gateways: Sequence[str], now: datetime, most: int) -> list[Unreported]:
        """Return messages of these gateways that are due to be asked for, and note that they are asked for now.

        Each is asked for when half a minute has passed, and then whenever its age has doubled, for a day.
        """
        ...


class DeliveryReports:
    """Takes reports that come, and asks for those that do not."""

    def __init__(self, gateways: Iterable[Gateway], store: ReportStore, clock: Clock) -> None:
        self._gateways: Mapping[str, Reports] = {one.name: one for one in gateways if isinstance(one, Reports)}
        self._store = store
        self._clock = clock

    async def came(self, gateway: str, secret: str, fields: Mapping[str, str]) -> bool:
        """Take a report that came to an address; False when there is no such address.

        Whatever else is wrong with the report is nothing that the sender could mend: it is dropped.
        """
        one = self._gateways.get(gateway)
        expected = None if one is None else one.report_secret
        if one is None or expected is None or len(expected.reveal()) < SHORTEST_SECRET:
            return False
        if not hmac.compare_digest(expected.reveal().encode(), secret.encode()):
            return False
        await self._keep(gateway, one.read_report(fields))
        return True

    async def ask(self) -> int:
        """Keep what came over connections, and ask for the others; return how many messages were asked for."""
        for name, one in self._gateways.items():
            for report in one.arrived() if isinstance(one, Arriving) else ():
                await self._keep(name, report)
        now = self._clock.now()
        due = await self._store.unreported(sorted(self._gateways), now, ASKED_AT_ONCE)
        for name, one in self._gateways.items():
            numbers = [message.provider_id for message in due if message.gateway == name]
            if numbers:
                for report in await one.ask(numbers):
                    await self._keep(name, report)
        return len(due)

    async def settle(self) -> int:
        """Put reports that came before their message was known on it; return how many there were."""
        return await self._store.settle(self._clock.now())

    async def _keep(self, gateway: str, report: Report | None) -> None:
        if report is not None and report.state is not ReportState.WAITING:
            await self._store.reported(gateway, report, self._clock.now())
