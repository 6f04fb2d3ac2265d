"""The gateway of the demo: messages go to the inbox page of the demo instead of a phone.

It stores no codes. The stored text has a gap in place of the code, and the page derives the code from the id of the
challenge when it is shown. Production mode refuses to start with this gateway.
"""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Final, Protocol

from chopmark.core.types import ChallengeId, Channel, CustomerId
from chopmark.messaging.ports import Attachment, Message, Purpose, Receipt

CODE_GAP: Final = "{code}"
"""Replaces the code in a stored text. The page puts the derived code there."""


@dataclass(frozen=True, slots=True)
class InboxEntry:
    """A message in the inbox of the demo: `body` is the text as sent, with CODE_GAP in place of the code."""

    message_id: str
    channel: Channel
    customer: CustomerId
    challenge: ChallengeId | None
    purpose: Purpose
    masked: str
    subject: str
    body: str
    at: datetime
    attachment: Attachment | None = None


class InboxPort(Protocol):
    """Stores the messages of the demo."""

    async def store(self, entry: InboxEntry) -> None:
        """Store the entry. A second one with the same message id changes nothing."""
        ...


class DemoGateway:
    """Hands the messages of one channel to the inbox; `mask` returns the masked form of a destination."""

    def __init__(self, channel: Channel, inbox: InboxPort, mask: Callable[[str], str]) -> None:
        self.channel = channel
        self.name = f"demo-{channel.value}"
        self.repeats = True  # the inbox keeps one entry per message
        self._inbox = inbox
        self._mask = mask

    async def send(self, message: Message) -> Receipt:
        """Store the message without its code. The receipt has the message's own id.

        Raises ValueError if the message is about a code, but does not say which part of its text is the code.
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
            attachment=message.attachment,
        )
        await self._inbox.store(entry)
        return Receipt(self.name, message.message_id, message.at)

    async def close(self) -> None:
        """Do nothing: no connection is kept open."""
