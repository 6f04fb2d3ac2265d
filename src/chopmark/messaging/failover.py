"""Failover: if one gateway fails, the next one gets the same message. One that keeps failing is not used for a while.

If a gateway refuses a message because of its recipient, that is no fault of the gateway, and it stays in use for other
messages. If its answer was lost, it may have sent the message, so it does not get it again; the next gateway gets the
same message, with the same code.
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
"""A reason that persists is logged once in this time, however many messages are affected."""
log = structlog.get_logger()


class Spending(Protocol):
    """Counts what each gateway sends in a day; shared by all processes."""

    async def take(self, gateway: str, segments: int, now: datetime) -> bool:
        """Count a message of so many SMS. False, with nothing counted, if the gateway's limit of the day is reached."""
        ...

    async def give_back(self, gateway: str, segments: int) -> None:
        """Undo the count of a message that was not sent."""
        ...

    async def pumped(self, now: datetime) -> bool:
        """Tell whether many codes are sent by SMS and few are entered, which indicates SMS pumping."""
        ...


@dataclass(frozen=True, slots=True)
class Breaker:
    """A circuit breaker as a value: closed, open after `threshold` faults in a row, half open after `rest`.

    Half open lets one probe pass. If its result never becomes known, another probe may pass after `rest`.
    """

    threshold: int = 3
    rest: timedelta = timedelta(seconds=30)
    faults: int = 0
    open_until: datetime | None = None
    """None while closed; otherwise the time from which one probe may pass."""

    def admit(self, now: datetime) -> "Breaker | None":
        """Return the breaker to store if a message may pass now; None if the gateway must not be used now."""
        if self.open_until is None:
            return self
        return replace(self, open_until=now + self.rest) if now >= self.open_until else None

    def succeeded(self) -> "Breaker":
        """Return the breaker after the gateway answered as it should."""
        return replace(self, faults=0, open_until=None)

    def failed(self, now: datetime, *, at_once: bool = False) -> "Breaker":
        """Return the breaker after a fault of the gateway; `at_once` opens it even after the first fault."""
        faults = self.faults + 1
        opens = at_once or faults >= self.threshold
        return replace(self, faults=faults, open_until=now + self.rest if opens else None)


class Router:
    """Sends messages over the gateways of a channel, in their order. Each process has its own breakers.

    `attempts` are stored durably; they are needed unless every gateway `repeats`. `spending` has the daily limits of
    some gateways. `alarms` gets what operators have to know. With `once`, no message is sent twice, not even by the
    next gateway or by one that `repeats`: if it may have been sent, the result is UNKNOWN.
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
        """The reason of the newest fault of a channel that counted for a breaker."""

    async def send(self, message: Message, now: datetime) -> Receipt:
        """Return the receipt of the first gateway that takes the message, or that took it before a crash.

        Raises GatewayFault: TOO_LATE, with nothing sent, if the message has expired; a final fault as soon as a gateway
        reports one, because no other gateway can do better with a wrong number. If no gateway took the message: a
        retryable fault if one of them may take it later, else UNKNOWN if one of them may have taken it, else the last
        refusal.
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
        """Close the connections that the gateways keep open between messages."""
        for gateway in self._gateways:
            await gateway.close()

    async def _through(self, gateway: Gateway, message: Message, now: datetime) -> Receipt | GatewayFault:
        """Return the receipt or the fault of one gateway.

        Do not send if its breaker or an earlier attempt forbids it.
        """
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
        """Raise an alarm if operators have to know of a fault of the gateway, and end its alarm after a success.

        The alarm of pumping ends only when a code was sent by SMS. Messages sent with `once` may use only a share of a
        gateway's daily limit, so there is no alarm when that share is used up.
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
        """Update the gateway's breaker, and log its fault."""
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
        """Hand a message over unless the gateway's daily limit is reached.

        A message that was certainly not sent is not counted.
        """
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
        """Log that a gateway did not take a message: once per reason and `SAID_AGAIN`, and only with codes.

        `alarm`: an operator has to act before this gateway works again.
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
    """Return the fault that `Router.send` raises after all gateways failed."""
    if faults[-1].verdict is Verdict.FINAL:
        return faults[-1]
    if once and faults[-1].verdict is Verdict.UNKNOWN:
        return faults[-1]
    later = [fault for fault in faults if fault.retryable]
    if later:
        return next((fault for fault in reversed(later) if fault.reason is not FaultReason.BREAKERS_OPEN), later[-1])
    unknown = [fault for fault in faults if fault.verdict is Verdict.UNKNOWN]
    return unknown[-1] if unknown else faults[-1]
