"""A gateway for trying the product out: messages land in the demo's inbox page instead of a phone.

It keeps no code: the stored text has a gap where the code was, and the page derives the code from the
challenge's id when it is shown.
Production mode refuses to start with it.
"""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Final, Protocol

from chopmark.core.types import ChallengeId, Channel, CustomerId
from chopmark.messaging.ports import Message, Purpose, Receipt

CODE_GAP: Final = "{code}"
"""What stands for the code in a stored text; the page puts the derived code there."""


@dataclass(frozen=True, slots=True)
class InboxEntry:
    """What the demo's inbox keeps of a message: `body` is the text as sent, with CODE_GAP for the code."""

    message_id: str
    channel: Channel
    customer: CustomerId
    challenge: ChallengeId | None
    purpose: Purpose
    masked: str
    subject: str
    body: str
    at: datetime


class InboxPort(Protocol):
    """Where the demo's messages are kept."""

    async def store(self, entry: InboxEntry) -> None:
        """Keep the entry; a second one with the same message id changes nothing."""
        ...


class DemoGateway:
    """Hands messages of one channel to the inbox; `mask` makes the shown form of a destination."""

    def __init__(self, channel: Channel, inbox: InboxPort, mask: Callable[[str], str]) -> None:
        self.channel = channel
        self.name = f"demo-{channel.value}"
        self.repeats = True  # the inbox keeps one entry a message
        self._inbox = inbox
        self._mask = mask

    async def send(self, message: Message) -> Receipt:
        """Store the message without its code; the receipt names the message's own id.

        Raises ValueError for a message about a code that does not say which part of its text is the code.
        """
        body = message.text.reveal()
        if message.code is not None:
            body = body.replace(message.code.reveal(), CODE_GAP)
        elif message.purpose.is_code:
            raise ValueError("a message about a code must carry the code apart from its text")
        entry = InboxEntry(
            message_id=message.message_id,
            channel=message.channel,
            customer=message.customer,
            challenge=message.challenge,
            purpose=message.purpose,
            masked=self._mask(message.destination.reveal()),
            subject=message.subject,
            body=body,
            at=message.at,
        )
        await self._inbox.store(entry)
        return Receipt(self.name, message.message_id, message.at)

    async def close(self) -> None:
        """Nothing is kept open."""
