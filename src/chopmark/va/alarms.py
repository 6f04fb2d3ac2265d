"""Alarms about what ends soon or is late: certificates of CA and responder, revocation lists, OCSP answers (I28)."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

from chopmark.core.clock import Clock
from chopmark.core.types import IssuerId
from chopmark.pki.x509 import IssuerView, not_after
from chopmark.va import publisher
from chopmark.va.ports import StatusRecords

DAYS = (1, 7, 14, 30)
"""An alarm becomes more urgent when this many days are left."""
LIST_LEFT = publisher.LIFE / 2
"""A CA makes a new list every six hours; with less than this left, two lists were missed."""
ANSWER_LATE = timedelta(hours=1)
"""OCSP answers are signed again at half their life; when one is overdue by more than this, something is wrong."""


class Subject(StrEnum):
    """What an alarm is about."""

    CA = "ca"
    RESPONDER = "responder"
    LIST = "list"
    ANSWERS = "answers"


@dataclass(frozen=True, slots=True)
class Alarm:
    """Something that ends in `left`; a negative time means that it has ended or is overdue.

    `name` says which one of its kind. `days` is the step of DAYS that it has reached.
    """

    subject: Subject
    name: str
    left: timedelta
    days: int

    @property
    def ended(self) -> bool:
        """Whether it has ended already."""
        return self.left <= timedelta(0)


def step(left: timedelta) -> int | None:
    """Return the smallest of 1, 7, 14 and 30 days within which the end comes; None if more than 30 days are left."""
    return next((days for days in DAYS if left <= timedelta(days=days)), None)


class Watch:
    """Looks for alarms of one issuing CA.

    `above` are the certificates above it, DER, the root last; `root` is the root's short name.
    """

    def __init__(
        self,
        issuer: IssuerView,
        above: tuple[bytes, ...],
        root: IssuerId,
        shards: int,
        records: StatusRecords,
        clock: Clock,
    ) -> None:
        self._issuer = issuer
        self._above = above
        self._root = root
        self._shards = shards
        self._records = records
        self._clock = clock

    async def look(self) -> tuple[Alarm, ...]:
        """Return an alarm for everything that ends within thirty days or is late, the most urgent first."""
        now = self._clock.now()
        found = list(self._authorities(now))
        responder = await self._records.responder_certificate(self._issuer.id)
        if responder is not None:
            found += _ending(Subject.RESPONDER, self._issuer.id, not_after(responder) - now)
        for shard in range(self._shards):
            found += await self._list(self._issuer.id, shard, now, LIST_LEFT)
        found += await self._list(self._root, 0, now, timedelta(days=DAYS[-1]))
        found += await self._answers(now)
        return tuple(sorted(found, key=lambda alarm: alarm.left))

    def _authorities(self, now: datetime) -> Iterator[Alarm]:
        yield from _ending(Subject.CA, self._issuer.id, self._issuer.not_after - now)
        for number, certificate in enumerate(reversed(self._above)):
            yield from _ending(
                Subject.CA, f"{self._root}-{number}" if number else self._root, not_after(certificate) - now
            )

    async def _list(self, issuer: IssuerId, shard: int, now: datetime, early: timedelta) -> list[Alarm]:
        crl = await self._records.crl(issuer, shard)
        left = timedelta(0) if crl is None else crl.next_update - now
        return [Alarm(Subject.LIST, f"{issuer}-{shard}", left, step(left) or DAYS[-1])] if left <= early else []

    async def _answers(self, now: datetime) -> list[Alarm]:
        due = await self._records.oldest_due(self._issuer.id)
        if due is None or now < due + ANSWER_LATE:
            return []
        return [Alarm(Subject.ANSWERS, self._issuer.id, due - now, DAYS[0])]


def _ending(subject: Subject, name: str, left: timedelta) -> list[Alarm]:
    days = step(left)
    return [] if days is None else [Alarm(subject, name, left, days)]
