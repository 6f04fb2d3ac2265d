"""When one gateway fails the next one carries the same message; one that keeps failing rests for a while.

What a gateway says about one recipient is no fault of the gateway: everybody else's messages go on.
"""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Final

import structlog

from chopmark.core.types import Channel
from chopmark.messaging.ports import OF_RECIPIENT, FaultReason, Gateway, GatewayFault, Message, Receipt

SAID_AGAIN: Final = timedelta(minutes=10)
"""A reason that lasts has one line in the log in so long, however many messages meet it."""
log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Breaker:
    """A circuit breaker as a value: closed, open after `threshold` faults in a row, half open after `rest`.

    Half open admits one probe; a probe of unknown fate is forgotten after another `rest`.
    """

    threshold: int = 3
    rest: timedelta = timedelta(seconds=30)
    faults: int = 0
    open_until: datetime | None = None
    """None while messages pass; otherwise the moment from which one probe may pass."""

    def admit(self, now: datetime) -> "Breaker | None":
        """Return the breaker to keep when a message may pass now, None when the gateway rests."""
        if self.open_until is None:
            return self
        return replace(self, open_until=now + self.rest) if now >= self.open_until else None

    def succeeded(self) -> "Breaker":
        """Return the breaker after the gateway answered as it should."""
        return replace(self, faults=0, open_until=None)

    def failed(self, now: datetime) -> "Breaker":
        """Return the breaker after a fault of the gateway."""
        faults = self.faults + 1
        return replace(self, faults=faults, open_until=now + self.rest if faults >= self.threshold else None)


class Router:
    """Sends over the gateways of a channel, in their order. Each process keeps breakers of its own."""

    def __init__(self, gateways: Iterable[Gateway], breaker: Breaker | None = None) -> None:
        self._gateways = tuple(gateways)
        names = [gateway.name for gateway in self._gateways]
        if len(set(names)) != len(names):
            raise ValueError("two gateways share a name")
        self._breakers = dict.fromkeys(names, breaker or Breaker())
        self._said: dict[tuple[str, FaultReason], datetime] = {}
        self._why: dict[Channel, FaultReason] = {}
        """What opened the breaker that opened last."""

    async def send(self, message: Message, now: datetime) -> Receipt:
        """Return the receipt of the first gateway that takes the message.

        Raises GatewayFault: a final one at once, because no gateway can mend a wrong number; the last
        retryable one when all failed; TOO_LATE, unsent, when the message's life is over.
        """
        if now >= message.at + timedelta(seconds=message.ttl_s):
            raise GatewayFault(FaultReason.TOO_LATE, retryable=False)
        fault: GatewayFault | None = None
        known = False
        for gateway in self._gateways:
            if gateway.channel is not message.channel:
                continue
            known = True
            outcome = await self._through(gateway, message, now)
            if isinstance(outcome, Receipt):
                return outcome
            if outcome is not None:
                fault = outcome
                if not fault.retryable:
                    break
        if not known:
            raise GatewayFault(FaultReason.NO_GATEWAY, retryable=False)
        raise fault or GatewayFault(FaultReason.BREAKERS_OPEN, retryable=True, because=self._why.get(message.channel))

    async def close(self) -> None:
        """End what the gateways keep open between messages."""
        for gateway in self._gateways:
            await gateway.close()

    async def _through(self, gateway: Gateway, message: Message, now: datetime) -> Receipt | GatewayFault | None:
        """Return the receipt, the fault, or None when the gateway rests."""
        admitted = self._breakers[gateway.name].admit(now)
        if admitted is None:
            return None
        self._breakers[gateway.name] = admitted
        try:
            receipt = await gateway.send(message)
        except GatewayFault as fault:
            current = self._breakers[gateway.name]
            fails = fault.retryable and fault.reason not in OF_RECIPIENT
            self._breakers[gateway.name] = current.failed(now) if fails else current.succeeded()
            if fails:
                self._why[gateway.channel] = fault.reason
            self._say(gateway.name, fault.reason, now)
            return fault
        self._breakers[gateway.name] = self._breakers[gateway.name].succeeded()
        return receipt

    def _say(self, gateway: str, reason: FaultReason, now: datetime) -> None:
        """Log that a gateway did not take a message: a line a reason, and no words of the server or the message."""
        last = self._said.get((gateway, reason))
        if last is None or not last <= now < last + SAID_AGAIN:
            self._said[gateway, reason] = now
            log.warning("message not taken", code="post.not_taken", gateway=gateway, kind=reason.value)
