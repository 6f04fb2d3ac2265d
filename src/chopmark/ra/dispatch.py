"""What the messages of a batch are made of: contacts, challenges and audit tips, read in one go."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from chopmark.audit.record import StreamId, Tip, customer_stream, order_stream
from chopmark.core.types import ChallengeId
from chopmark.identity.ports import ContactRow
from chopmark.messaging.ports import OutboxJob, OutboxJobKind
from chopmark.stepup.challenge import Challenge


@dataclass(frozen=True, slots=True)
class Papers:
    """The customers' contacts, the codes' challenges, and the tips of the audit streams to which delivery adds records.

    `former` are contacts that were changed or removed lately: a notice may go to them, a code never.
    """

    contacts: tuple[ContactRow, ...]
    challenges: Mapping[ChallengeId, Challenge]
    tips: tuple[Tip, ...]
    former: tuple[ContactRow, ...] = ()

    def contact(self, work: OutboxJob) -> ContactRow | None:
        """Return the contact that the message goes to: exactly the version that the row names, or None.

        A notice is sent to the contact that was on record when the event happened, even if the contact has changed
        since. A code is not sent if its contact has changed (I15).
        """
        wanted = work.customer, work.channel, work.contact_version
        rows = (*self.contacts, *self.former) if work.kind is OutboxJobKind.NOTICE else self.contacts
        return next((row for row in rows if (row.customer, row.channel, row.version) == wanted), None)

    def challenge(self, work: OutboxJob) -> Challenge | None:
        """Return the challenge whose code the message carries."""
        return None if work.challenge is None else self.challenges.get(work.challenge)


class Dispatches(Protocol):
    """Reads what messages are made of."""

    async def papers(self, works: Sequence[OutboxJob]) -> Papers:
        """Return what the messages of these outbox rows are made of."""
        ...


def stream_of(work: OutboxJob) -> StreamId | None:
    """Return the audit stream that records what became of a row: its order's, else its customer's.

    Return None for a row without a customer.
    """
    if work.customer is None:
        return None
    return customer_stream(work.customer) if work.order is None else order_stream(work.order)
