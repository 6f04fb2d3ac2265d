"""Which gateways a message was handed to. This is written before each attempt, so that it is known after a crash.

If the answer of a gateway was lost, or the process died before it came, the gateway may have taken the message. Then
that gateway never gets it again; the next gateway gets the same message, with the same code.
"""

from dataclasses import dataclass, replace
from datetime import datetime
from enum import StrEnum
from typing import Protocol

from chopmark.messaging.ports import FaultReason, GatewayFault, Receipt, Verdict


class Fate(StrEnum):
    """What became of one message at one gateway."""

    BEGUN = "begun"  # handed over, no answer yet; if the process that waited has died, the fate is unknown
    TAKEN = "taken"
    LATER = "later"  # not taken; this gateway may be tried again
    REFUSED = "refused"  # not taken; this gateway must not be tried again
    UNKNOWN = "unknown"


_FATES = {
    Verdict.LATER: Fate.LATER,
    Verdict.ALARM: Fate.LATER,
    Verdict.OTHER: Fate.REFUSED,
    Verdict.FINAL: Fate.REFUSED,
    Verdict.UNKNOWN: Fate.UNKNOWN,
}


def fate_of(outcome: Receipt | GatewayFault) -> Fate:
    """Return what an outcome means for the message at this gateway."""
    return Fate.TAKEN if isinstance(outcome, Receipt) else _FATES[outcome.verdict]


@dataclass(frozen=True, slots=True)
class Attempt:
    """The stored attempt to send one message over one gateway."""

    message: str
    gateway: str
    fate: Fate
    provider_id: str | None = None
    reason: FaultReason | None = None

    @property
    def outcome(self) -> Receipt | GatewayFault:
        """The result of this attempt, for a caller that wanted to make another one."""
        if self.fate is Fate.TAKEN:
            return Receipt(self.gateway, self.provider_id)
        if self.fate is Fate.REFUSED:
            return GatewayFault(self.reason or FaultReason.CONTENT, Verdict.OTHER)
        return GatewayFault(FaultReason.FATE_UNKNOWN, Verdict.UNKNOWN)


class Attempts(Protocol):
    """Stores attempts durably, for all processes."""

    async def begin(self, message: str, gateway: str, now: datetime) -> Attempt | None:
        """Store that the message is about to be handed to the gateway, and return None: the caller may send it.

        If it must not be sent, return the earlier attempt that forbids it: one at the same gateway whose fate is not
        LATER, or one at any gateway that took the message.
        """
        ...

    async def end(self, message: str, gateway: str, outcome: Receipt | GatewayFault, now: datetime) -> None:
        """Store what the gateway answered, or that its answer was lost."""
        ...


class MemoryAttempts:
    """Attempts in the memory of one process, for tests and tools. They are lost in a crash."""

    def __init__(self) -> None:
        self._all: dict[tuple[str, str], Attempt] = {}

    async def begin(self, message: str, gateway: str, now: datetime) -> Attempt | None:
        """As `Attempts.begin`."""
        del now
        mine = [attempt for attempt in self._all.values() if attempt.message == message]
        taken = next((attempt for attempt in mine if attempt.fate is Fate.TAKEN), None)
        here = self._all.get((message, gateway))
        if taken is not None or (here is not None and here.fate is not Fate.LATER):
            return taken or here
        self._all[message, gateway] = Attempt(message, gateway, Fate.BEGUN)
        return None

    async def end(self, message: str, gateway: str, outcome: Receipt | GatewayFault, now: datetime) -> None:
        """As `Attempts.end`."""
        del now
        begun = self._all[message, gateway]
        if isinstance(outcome, Receipt):
            self._all[message, gateway] = replace(begun, fate=Fate.TAKEN, provider_id=outcome.provider_id)
        else:
            self._all[message, gateway] = replace(begun, fate=fate_of(outcome), reason=outcome.named)
