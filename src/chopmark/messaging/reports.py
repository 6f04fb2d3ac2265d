"""Delivery reports: what a gateway says later of a message that it took.

A report comes by itself, to an address that only the gateway knows, or is asked for. It may come late, twice, or
before we know that the message was taken. It changes what is said of the message, and nothing else: a code is right
or wrong whatever a gateway says of its message.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol, runtime_checkable

from chopmark.core.types import Secret


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
