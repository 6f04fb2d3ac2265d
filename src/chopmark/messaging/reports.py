"""Delivery reports: what a gateway says later about a message that it took.

A gateway sends reports to an address that only it knows, or it is asked for them. A report may come late or twice. If
it comes before the message is stored as taken, it is kept and added to the message some seconds later. A report
changes only what is shown about the message. It never decides whether a code is right.
"""

import hmac
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Final, Protocol, runtime_checkable

from chopmark.core.clock import Clock
from chopmark.core.each import each, outcomes
from chopmark.core.refusal import Kind, Refused
from chopmark.core.types import Secret
from chopmark.messaging.ports import Gateway

ASKED_AT_ONCE: Final = 50
SHORTEST_SECRET: Final = 32
MOST_ARRIVED: Final = 10_000
"""So many reports are kept while the database is away, the newest ones."""


class ReportState(StrEnum):
    """What became of a message on its way."""

    WAITING = "waiting"  # at the carrier; the phone is off
    DELIVERED = "delivered"  # on the phone
    FAILED = "failed"  # not delivered, and not tried any more
    UNDELIVERED = "undelivered"  # the same, for a reason that says nothing about the address: too big, taken for spam


@dataclass(frozen=True, slots=True)
class Report:
    """One report. `provider_id` is the gateway's id of the message, `detail` its own code for the state."""

    provider_id: str
    state: ReportState
    detail: str = ""


@runtime_checkable
class Reports(Protocol):
    """A gateway that reports what became of its messages."""

    @property
    def name(self) -> str:
        """The gateway's name."""
        ...

    @property
    def report_secret(self) -> Secret | None:
        """The secret at the end of the address to which it sends reports; None: it only answers queries."""
        ...

    def read_report(self, fields: Mapping[str, str]) -> Report | None:
        """Return the report with these fields; None if they are no report of this gateway."""
        ...

    async def ask(self, provider_ids: Sequence[str]) -> list[Report]:
        """Ask what became of messages. A message without an answer has no report in the result."""
        ...


@runtime_checkable
class Arriving(Protocol):
    """A gateway that gets reports over its own connection."""

    def arrived(self) -> list[Report]:
        """Return the reports that came since the last call."""
        ...


@dataclass(frozen=True, slots=True)
class Unreported:
    """A message that a gateway took, without a final report yet."""

    gateway: str
    provider_id: str


class ReportStore(Protocol):
    """Stores reports."""

    async def reported(self, gateway: str, report: Report, now: datetime) -> bool:
        """Add a final report to its message. False if it is not new, or the message is not known (yet).

        DELIVERED may replace what failed, but not the other way round. A report of an unknown message is kept for
        `settle`.
        """
        ...

    async def returned(self, gateway: str, message: str, report: Report, now: datetime) -> bool:
        """Add a final report to a mail that the gateway took, by our own id of the message.

        False if it is not new, or there is no such message any more. A notice by mail has no stored attempt; it gets
        one.
        """
        ...

    async def settle(self, now: datetime) -> int:
        """Add reports that came too early to their messages; return how many messages were found."""
        ...

    async def unreported(self, gateways: Sequence[str], now: datetime, most: int) -> list[Unreported]:
        """Return the messages of these gateways that are due for a query, and store that they are queried now.

        A message is queried after half a minute, and then whenever its age has doubled, for one day.
        """
        ...


class DeliveryReports:
    """Receives reports, and asks for missing ones."""

    def __init__(self, gateways: Iterable[Gateway], store: ReportStore, clock: Clock) -> None:
        self._gateways: Mapping[str, Reports] = {one.name: one for one in gateways if isinstance(one, Reports)}
        self._store = store
        self._clock = clock
        self._arrived: list[tuple[str, Report]] = []
        """Reports that came over connections and are not stored yet, each with its gateway."""

    async def came(self, gateway: str, secret: str, fields: Mapping[str, str]) -> bool:
        """Receive a report at an address; False if there is no such address.

        A report with another fault is dropped and the result is still True, because sending it again would not help.
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
        """Store the reports that came over connections, and ask for the others.

        Return how many messages were asked for. While the database is away the reports that came are kept. A gateway
        that fails keeps no other from being asked.
        """
        await self._store_arrived()
        now = self._clock.now()
        due = await self._store.unreported(sorted(self._gateways), now, ASKED_AT_ONCE)
        await each(self._gateways.items(), lambda named: self._ask(*named, due))
        return len(due)

    async def _store_arrived(self) -> None:
        for name, one in self._gateways.items():
            if isinstance(one, Arriving):
                self._arrived += [(name, report) for report in one.arrived()]
        arrived, self._arrived = self._arrived[-MOST_ARRIVED:], []
        tried = await outcomes(arrived, lambda named: self._keep(*named))
        failed = [(named, failure) for named, failure in tried if failure is not None]
        self._arrived = [named for named, failure in failed if _is_away(failure)]
        for _, failure in failed:
            raise failure

    async def _ask(self, name: str, one: Reports, due: Sequence[Unreported]) -> None:
        numbers = [message.provider_id for message in due if message.gateway == name]
        if numbers:
            for report in await one.ask(numbers):
                await self._keep(name, report)

    async def settle(self) -> int:
        """Add reports that came before their message was known to that message; return how many there were."""
        return await self._store.settle(self._clock.now())

    async def _keep(self, gateway: str, report: Report | None) -> None:
        if report is not None and report.state is not ReportState.WAITING:
            await self._store.reported(gateway, report, self._clock.now())


def _is_away(failure: BaseException) -> bool:
    """Tell whether the database was away. A report that it refuses for another reason would be refused again."""
    return isinstance(failure, Refused) and failure.refusal.kind is Kind.UNAVAILABLE
