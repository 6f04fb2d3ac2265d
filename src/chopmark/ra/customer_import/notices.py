"""The notices that an import queues: customers are told at the contacts that they had before the change: pure.

A notice names the version of the contact that it goes to, so that it still reaches an address that was just replaced.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from chopmark.core.clock import Entropy
from chopmark.core.types import Channel, CustomerId
from chopmark.identity.ports import ContactRow
from chopmark.messaging.ports import OutboxJob, OutboxJobKind, Purpose
from chopmark.ra.customer_import.differences import CHANNELS, Difference, Turn
from chopmark.ra.customer_import.ports import Borne, DirectoryState, Past, Trait
from chopmark.ra.customer_import.sheet import Column

AFTERWARDS = timedelta(milliseconds=1)
"""How much later the notices to contacts that stay are due than those to contacts that were replaced or removed."""
_IDENTITY = {Column.PERSON_ID, Column.BIRTH_DATE}


@dataclass(slots=True)
class Notices:
    """Gathers the notices of one batch; the same notice goes to the same contact only once."""

    entropy: Entropy
    new_id: Callable[[Entropy], str]
    channels: frozenset[Channel]
    now: datetime
    past: Past
    works: list[OutboxJob] = field(default_factory=list)
    _sent: set[tuple[str, CustomerId, Channel, int]] = field(default_factory=set)

    def tell(
        self, customer: CustomerId, standing: DirectoryState | None, found: Sequence[Difference], moved: Sequence[Borne]
    ) -> None:
        """Queue the notices of one row: to this customer, and to the customers who had its id or an account before."""
        late = self.past.contacts.get(customer, ())
        before = tuple(standing.contacts.values()) if standing is not None and standing.contacts else late
        turned = {CHANNELS[one.column]: one.turn for one in found if one.column in CHANNELS}
        gone = {channel for channel, turn in turned.items() if turn is not Turn.ADDED}
        if turned:
            first = next(iter(turned))
            ordered = sorted(self._reachable(before), key=lambda one: one.channel not in gone)
            for one in ordered:
                about = one.channel if one.channel in turned else first
                at = self.now if one.channel in gone else self.now + AFTERWARDS
                self._queue(Purpose.CONTACT_CHANGED, one, at, about)
        persons = [one for one in moved if one.kind is not Trait.CONTACT]
        if standing is not None and (persons or any(one.column in _IDENTITY for one in found)):
            for one in self._reachable(before):
                self._queue(Purpose.RECORD_CHANGED, one, self.now)
        for borne in persons:
            for other in self.past.others(borne, customer):
                for one in self._reachable(self.past.contacts.get(other, ())):
                    self._queue(Purpose.RECORD_CHANGED, one, self.now)

    def _reachable(self, contacts: Iterable[ContactRow]) -> list[ContactRow]:
        """Return the contacts whose channel has a gateway; if none has, all, so that a failure is recorded."""
        there = list(contacts)
        return [one for one in there if one.channel in self.channels] or there

    def _queue(self, purpose: Purpose, to: ContactRow, at: datetime, about: Channel | None = None) -> None:
        place = (purpose.value, to.customer, to.channel, to.version)
        if place in self._sent:
            return
        self._sent.add(place)
        facts = {"template": purpose.value} | ({} if about is None else {"channel": about.value})
        self.works.append(
            OutboxJob(
                id=self.new_id(self.entropy),
                kind=OutboxJobKind.NOTICE,
                customer=to.customer,
                order=None,
                challenge=None,
                channel=to.channel,
                contact_version=to.version,
                facts=facts,
                attempts=0,
                not_before=at,
                expires_at=None,
            )
        )
