"""When one gateway fails the next one carries the same message; one that keeps failing rests for a while.

What a gateway says about one recipient is no fault of the gateway: everybody else's messages go on. A gateway whose
answer was lost may have sent the message: it does not get it again, and the next one carries the same code.
"""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Final, Protocol

import structlog

from chopmark.core.types import Channel
from chopmark.messaging.alarms import PUMPED, AlarmBook, Alarming, AlarmKind, gateway_alarm, of_gateway
from chopmark.messaging.attempts import Attempts
from chopmark.messaging.ports import (
    OF_RECIPIENT,
    CodesOnce,
    FaultReason,
    Gateway,
    GatewayFault,
    Message,
    Receipt,
    Verdict,
)
from chopmark.messaging.sms import segments

PUMPING_DETAIL: Final = "pumping"
SAID_AGAIN: Final = timedelta(minutes=10)
"""A reason that lasts has one line in the log in so long, however many messages meet it."""
log = structlog.get_logger()


class Spending(Protocol):
    """Counts what each gateway sends in a day; shared by all processes."""

    async def take(self, gateway: str, segments: int, now: datetime) -> bool:
        """Count a message of so many SMS; False, and nothing counted, when the gateway's day is used up."""
        ...

    async def give_back(self, gateway: str, segments: int) -> None:
        """Take a message out of the count again that was not sent."""
        ...

    async def pumped(self, now: datetime) -> bool:
        """Tell whether codes by SMS are asked for and not answered, as those who earn by each SMS do."""
        ...


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

    def failed(self, now: datetime, *, at_once: bool = False) -> "Breaker":
        """Return the breaker after a fault of the gateway; `at_once` opens it, whatever went before."""
        faults = self.faults + 1
        opens = at_once or faults >= self.threshold
        return replace(self, faults=faults, open_until=now + self.rest if opens else None)


class Router:
    """Sends over the gateways of a channel, in their order. Each process keeps breakers of its own.

    `attempts` is what outlives the process; only gateways that `repeats` do without. `spending` knows the limits that
    some gateways have a day; `alarms` is told what operators have to know. `once`: no message goes out twice, not even
    by the next gateway or one that `repeats`; what may have been sent ends as UNKNOWN.
    """

    def __init__(
        self,
        gateways: Iterable[Gateway],
        attempts: Attempts | None = None,
        *,
        breaker: Breaker | None = None,
        spending: Spending | None = None,
        alarms: AlarmBook | None = None,
        once: bool = False,
    ) -> None:
        self._alarms = None if alarms is None else Alarming(alarms)
        self._gateways = tuple(gateways)
        self._attempts = attempts
        self._spending = spending
        self._once = once
        names = [gateway.name for gateway in self._gateways]
        if len(set(names)) != len(names):
            raise ValueError("two gateways share a name")
        if once and attempts is None:
            raise ValueError("what goes out once needs attempts on record")
        if attempts is None and not all(gateway.repeats for gateway in self._gateways):
            raise ValueError("a gateway that must not get a message twice needs attempts on record")
        self._breakers = dict.fromkeys(names, breaker or Breaker())
        self._said: dict[tuple[str, FaultReason], datetime] = {}
        self._why: dict[Channel, FaultReason] = {}
        """What opened the breaker that opened last."""

    async def send(self, message: Message, now: datetime) -> Receipt:
        """Return the receipt of the first gateway that takes the message, or that took it before a crash.

        Raises GatewayFault: a final one at once, because no gateway can mend a wrong number. When nobody took the
        message: a retryable fault, if one of them may take it later; else UNKNOWN, if one of them may have it; else
        the last refusal. TOO_LATE, unsent, when the message's life is over.
        """
        if now >= message.at + timedelta(seconds=message.ttl_s):
            raise GatewayFault(FaultReason.TOO_LATE, Verdict.FINAL)
        mine = [gateway for gateway in self._gateways if gateway.channel is message.channel]
        if not mine:
            raise GatewayFault(FaultReason.NO_GATEWAY, Verdict.FINAL)
        faults: list[GatewayFault] = []
        for gateway in mine:
            outcome = await self._through(gateway, message, now)
            if isinstance(outcome, Receipt):
                return outcome
            faults.append(outcome)
            if outcome.verdict is Verdict.FINAL or (self._once and outcome.verdict is Verdict.UNKNOWN):
                break
        raise _worst(faults, once=self._once)

    async def close(self) -> None:
        """End what the gateways keep open between messages."""
        for gateway in self._gateways:
            await gateway.close()

    async def _through(self, gateway: Gateway, message: Message, now: datetime) -> Receipt | GatewayFault:
        """Return the receipt or the fault of one gateway; one that rests, or must not be asked, is not asked."""
        admitted = self._breakers[gateway.name].admit(now)
        if admitted is None:
            why = self._why.get(gateway.channel)
            return GatewayFault(FaultReason.BREAKERS_OPEN, Verdict.LATER, because=why)
        repeats = gateway.repeats and (message.code is None or not isinstance(gateway, CodesOnce))
        attempts = None if repeats and not self._once else self._attempts
        if attempts is not None:
            earlier = await attempts.begin(message.message_id, gateway.name, now)
            if earlier is not None:
                return earlier.outcome
        self._breakers[gateway.name] = admitted
        outcome = await self._within_limits(gateway, message, now)
        if self._once and isinstance(outcome, GatewayFault) and outcome.perhaps:
            outcome = GatewayFault(FaultReason.FATE_UNKNOWN, Verdict.UNKNOWN, because=outcome.named)
        if attempts is not None:
            await attempts.end(message.message_id, gateway.name, outcome, now)
        self._learn(gateway, outcome, now)
        if self._alarms is not None:
            await self._tell(self._alarms, gateway, outcome, now, is_code=message.code is not None)
        return outcome

    async def _tell(
        self, alarms: Alarming, gateway: Gateway, outcome: Receipt | GatewayFault, now: datetime, *, is_code: bool
    ) -> None:
        """Raise what operators have to know of a gateway; one that carries again is well.

        Only a code that went by SMS says that pumping is over. What goes out `once` has a part of a gateway's day,
        and a part that is used up is no alarm.
        """
        if isinstance(outcome, Receipt):
            await alarms.well(of_gateway(gateway.name), now)
            if is_code and gateway.channel is Channel.MOBILE and not gateway.repeats:
                await alarms.well(PUMPED, now)
            return
        kind = None
        if outcome.verdict is Verdict.ALARM:
            kind = AlarmKind.GATEWAY_ACCOUNT
        elif outcome.reason is FaultReason.BUDGET and not self._once:
            kind = AlarmKind.PUMPING if outcome.detail == PUMPING_DETAIL else AlarmKind.BUDGET
        elif self._breakers[gateway.name].open_until is not None:
            kind = AlarmKind.GATEWAY_DOWN
        if kind is not None:
            await alarms.raised(gateway_alarm(kind, gateway.name, outcome.named, outcome.detail), now)

    def _learn(self, gateway: Gateway, outcome: Receipt | GatewayFault, now: datetime) -> None:
        """Open or close the gateway's breaker, and say what is wrong with it."""
        current = self._breakers[gateway.name]
        if isinstance(outcome, Receipt):
            self._breakers[gateway.name] = current.succeeded()
            return
        fails = outcome.verdict is not Verdict.FINAL and outcome.reason not in OF_RECIPIENT
        at_once = outcome.verdict is Verdict.ALARM
        self._breakers[gateway.name] = current.failed(now, at_once=at_once) if fails else current.succeeded()
        if fails:
            self._why[gateway.channel] = outcome.reason
        self._say(gateway.name, outcome.reason, now, alarm=at_once or outcome.reason is FaultReason.BUDGET)

    async def _within_limits(self, gateway: Gateway, message: Message, now: datetime) -> Receipt | GatewayFault:
        """Hand a message over unless the gateway's day is used up. What was certainly not sent is not counted."""
        if self._spending is None:
            return await _handed(gateway, message)
        size = segments(message.text.reveal())
        paid = message.code is not None and gateway.channel is Channel.MOBILE and not gateway.repeats
        if paid and await self._spending.pumped(now):
            return GatewayFault(FaultReason.BUDGET, Verdict.OTHER, detail=PUMPING_DETAIL)
        if not await self._spending.take(gateway.name, size, now):
            return GatewayFault(FaultReason.BUDGET, Verdict.OTHER)
        outcome = await _handed(gateway, message)
        if isinstance(outcome, GatewayFault) and outcome.verdict is not Verdict.UNKNOWN:
            await self._spending.give_back(gateway.name, size)
        return outcome

    def _say(self, gateway: str, reason: FaultReason, now: datetime, *, alarm: bool) -> None:
        """Log that a gateway did not take a message: a line a reason, and no words of the server or the message.

        `alarm`: nothing gets better until an operator acts.
        """
        last = self._said.get((gateway, reason))
        if last is None or not last <= now < last + SAID_AGAIN:
            self._said[gateway, reason] = now
            log.warning("message not taken", code="post.not_taken", gateway=gateway, kind=reason.value)
            if alarm:
                log.error("a gateway needs an operator", code="gateway.alarm", gateway=gateway, kind=reason.value)


async def _handed(gateway: Gateway, message: Message) -> Receipt | GatewayFault:
    try:
        return await gateway.send(message)
    except GatewayFault as fault:
        return fault


def _worst(faults: list[GatewayFault], *, once: bool) -> GatewayFault:
    """Return what the faults of all gateways come to for the message: see `Router.send`."""
    if faults[-1].verdict is Verdict.FINAL:
        return faults[-1]
    if once and faults[-1].verdict is Verdict.UNKNOWN:
        return faults[-1]
    later = [fault for fault in faults if fault.retryable]
    if later:
        return next((fault for fault in reversed(later) if fault.reason is not FaultReason.BREAKERS_OPEN), later[-1])
    unknown = [fault for fault in faults if fault.verdict is Verdict.UNKNOWN]
    return unknown[-1] if unknown else faults[-1]
