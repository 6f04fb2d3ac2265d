"""Alarms: operators are told what is wrong, and since when. An alarm contains nothing about customers.

A process may raise the same alarm any number of times. The store keeps one row for each alarm, and one worker sends
it: once when it is new or has become more urgent, once a day while it lasts, and once when it is over.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Final, Protocol

from chopmark.messaging.ports import FaultReason

AGAIN: Final = timedelta(days=1)
SETTLED: Final = timedelta(minutes=2)
"""How long the fault must be absent before operators are told that it is over."""
PAUSE: Final = timedelta(minutes=15)
"""The shortest time after which a fault that comes and goes is sent again."""
RAISED_AGAIN: Final = timedelta(minutes=1)
ENDS_IN: Final = (1, 7, 14, 30)
"""Operators are told about the end of a certificate when so many days are left."""
ENDED: Final = 0
ONCE: Final = 2
"""Alarms of this grade or a higher one are sent once, and not again every day."""


class AlarmKind(StrEnum):
    """What an alarm is about."""

    GATEWAY_DOWN = "gateway_down"
    GATEWAY_ACCOUNT = "gateway_account"
    BUDGET = "budget"
    PUMPING = "pumping"
    JOB = "job"
    ENDING = "ending"


@dataclass(frozen=True, slots=True)
class Alarm:
    """A fault that an operator has to know. `subject` says what is at fault; a lower `grade` is more urgent.

    `facts` has only words of this program and its settings: names of gateways, jobs and certificates, reasons, dates.
    """

    kind: AlarmKind
    subject: str
    facts: Mapping[str, str] = field(default_factory=dict)
    grade: int = ENDED


class AlarmBook(Protocol):
    """Stores the alarms of all processes."""

    async def raised(self, alarm: Alarm, now: datetime) -> None:
        """Store that something is wrong, or still is."""
        ...

    async def well(self, subject: str, now: datetime) -> None:
        """Store that nothing is wrong with this subject any more. Does nothing if nothing was wrong."""
        ...


@dataclass(frozen=True, slots=True)
class Due:
    """An alarm that is to be sent now. `over`: the fault is gone. `told`: operators were told about it before.

    `leased_until` is when the lease ends under which it was claimed, and what the lease is known by.
    """

    alarm: Alarm
    since: datetime
    over: bool
    told: bool
    leased_until: datetime | None = None


class AlarmStore(AlarmBook, Protocol):
    """Alarms that are to be sent, each leased to one process."""

    async def claim(self, now: datetime, lease_s: int) -> list[Due]:
        """Lease the due alarms. No two processes get the same one."""
        ...

    async def renew(self, due: Due, now: datetime, lease_s: int) -> Due | None:
        """Begin the lease of a claimed alarm anew. None if it ran out and another process has the alarm, or told it."""
        ...

    async def said(self, due: Due, now: datetime) -> None:
        """Store that operators were told.

        The alarm is due again in a day while it lasts, and never again if it is over.
        """
        ...

    async def lasting(self) -> list[Due]:
        """Return the alarms of what is wrong now, the oldest first."""
        ...


@dataclass(frozen=True, slots=True)
class Note:
    """The message to operators: a subject and a few lines, in English and Chinese."""

    subject: str
    text: str


class Teller(Protocol):
    """Sends messages to operators."""

    @property
    def name(self) -> str:
        """Its name in logs and in `chopmark check`, without a secret."""
        ...

    async def tell(self, note: Note, number: str, at: datetime) -> str | None:
        """Send the note; `number` is its id. Return None if it was taken, otherwise the reason, without a secret."""
        ...


class Alarming:
    """Stores what a process sees: each fault at most once a minute, and when it is gone."""

    def __init__(self, book: AlarmBook) -> None:
        self._book = book
        self._raised: dict[tuple[AlarmKind, str], datetime] = {}
        self._well: dict[str, datetime] = {}

    async def raised(self, alarm: Alarm, now: datetime) -> None:
        """As `AlarmBook.raised`."""
        if _is_new(self._raised.get((alarm.kind, alarm.subject)), now):
            self._raised[alarm.kind, alarm.subject] = now
            self._well.pop(alarm.subject, None)
            await self._book.raised(alarm, now)

    async def well(self, subject: str, now: datetime) -> None:
        """As `AlarmBook.well`. Another process may have raised the alarm."""
        if _is_new(self._well.get(subject), now):
            self._well[subject] = now
            for kind in AlarmKind:
                self._raised.pop((kind, subject), None)
            await self._book.well(subject, now)


def _is_new(last: datetime | None, now: datetime) -> bool:
    return last is None or not last <= now < last + RAISED_AGAIN


def of_gateway(gateway: str) -> str:
    """Return the subject of a gateway's alarms."""
    return f"gateway:{gateway}"


PUMPED: Final = "sms-pumping"


def gateway_alarm(kind: AlarmKind, gateway: str, reason: FaultReason, detail: str = "") -> Alarm:
    """Return the alarm of a gateway that does not take messages."""
    subject = PUMPED if kind is AlarmKind.PUMPING else of_gateway(gateway)
    return Alarm(kind, subject, {"gateway": gateway, "reason": reason.value, "detail": detail or "-"})


def ending_alarm(what: str, until: datetime, now: datetime, remedy: str, first: int = ENDS_IN[-1]) -> Alarm | None:
    """Return the alarm for a certificate that ends within `first` days or has ended; None for any other."""
    left = until - now
    grade = ENDED if left <= timedelta(0) else next((days for days in ENDS_IN if left <= timedelta(days=days)), None)
    if grade is None or grade > first:
        return None
    facts = {"what": what, "until": f"{until:%Y-%m-%d %H:%M} UTC", "remedy": remedy}
    return Alarm(AlarmKind.ENDING, f"ending:{what}", facts, grade)


_SAID: Final[Mapping[AlarmKind, tuple[str, str]]] = {
    AlarmKind.GATEWAY_DOWN: (
        "the gateway {gateway} takes no messages ({reason}); others carry them where there are any",
        "閘道 {gateway} 不收訊息（{reason}）；若有其他閘道，由其代送",
    ),
    AlarmKind.GATEWAY_ACCOUNT: (
        "the gateway {gateway} refuses us until you act ({reason}, its code: {detail}): account, credit, certificate",
        "閘道 {gateway} 拒絕我們，需要您處理（{reason}，代碼 {detail}）：帳號、點數或憑證",
    ),
    AlarmKind.BUDGET: (
        "the day's limit of the gateway {gateway} is used up: nothing goes out over it until the day is over",
        "閘道 {gateway} 今日額度已用完，額度恢復前不再經由它發送",
    ),
    AlarmKind.PUMPING: (
        "many codes by SMS are asked for, few are answered: none goes out for now. Somebody may earn by each SMS",
        "大量索取簡訊驗證碼而少有回填，簡訊驗證碼暫停發送；可能有人藉簡訊牟利",
    ),
    AlarmKind.JOB: (
        "the job {job} of the {place} keeps failing, last with {error}: its log has the reason",
        "{place} 的工作 {job} 持續失敗，最近一次為 {error}；原因見其紀錄檔",
    ),
    AlarmKind.ENDING: (
        "{what} ends on {until}: {remedy}",
        "{what} 將於 {until} 到期：{remedy}",
    ),
}
_ENDED: Final = ("{what} has ended on {until}: {remedy}", "{what} 已於 {until} 到期：{remedy}")
_OVER: Final = ("well again: ", "已恢復：")


def written(due: Due, installation: str) -> Note:
    """Return the message to operators. `installation` is the portal's address, to tell several installations apart."""
    alarm = due.alarm
    ended = alarm.kind is AlarmKind.ENDING and alarm.grade == ENDED
    facts = {name: " ".join(value.split())[:200] for name, value in alarm.facts.items()}
    english, chinese = (one.format(**facts) for one in (_ENDED if ended else _SAID[alarm.kind]))
    before = _OVER if due.over else ("", "")
    since = f"{due.since:%Y-%m-%d %H:%M} UTC"
    mark = "OK" if due.over else "ALARM"
    return Note(
        f"[Chopmark {mark}] {alarm.kind.value.replace('_', ' ')}: {_name(alarm)}",
        f"{before[1]}{chinese}。\n{before[0]}{english}.\n\nsince 自: {since}\n{installation}\n",
    )


def _name(alarm: Alarm) -> str:
    facts = alarm.facts
    return " ".join((facts.get("gateway") or facts.get("job") or facts.get("what") or alarm.subject).split())[:100]
