"""What a message is made of: read for a batch of work at one moment, in one go."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from chopmark.audit.record import StreamId, Tip, customer_stream, order_stream
from chopmark.core.types import ChallengeId
from chopmark.identity.ports import ContactRow
from chopmark.messaging.ports import Work, WorkKind
from chopmark.stepup.challenge import Challenge


@dataclass(frozen=True, slots=True)
class Papers:
    """The customers' contacts, the codes' challenges, and the newest leaves of the chains that delivery continues.

    `former` are contacts that were changed or removed a while ago: a notice may be for them, a code never.
    """

    contacts: tuple[ContactRow, ...]
    challenges: Mapping[ChallengeId, Challenge]
    tips: tuple[Tip, ...]
    former: tuple[ContactRow, ...] = ()

    def contact(self, work: Work) -> ContactRow | None:
        """Return where the message goes: exactly the version of the contact that the row names.

        A notice goes to whom the event concerned when it happened, even where the contact has changed since; a code
        whose contact has changed goes nowhere (I15).
        """
        wanted = work.customer, work.channel, work.contact_version
        rows = (*self.contacts, *self.former) if work.kind is WorkKind.NOTICE else self.contacts
        return next((row for row in rows if (row.customer, row.channel, row.version) == wanted), None)

    def challenge(self, work: Work) -> Challenge | None:
        """Return the challenge whose code the message carries."""
        return None if work.challenge is None else self.challenges.get(work.challenge)


class Dispatches(Protocol):
    """Reads papers."""

    async def papers(self, works: Sequence[Work]) -> Papers:
        """Return what the messages of these rows are made of."""
        ...


def chain_of(work: Work) -> StreamId | None:
    """Return the chain that tells what became of a row: its order's, else its customer's; None without either."""
    if work.customer is None:
        return None
    return customer_stream(work.customer) if work.order is None else order_stream(work.order)
