"""The inbox of the demo. The code in a text is replaced by a gap before it is stored."""

from __future__ import annotations

import json
from base64 import b64decode, b64encode
from collections.abc import Mapping
from dataclasses import dataclass

from chopmark.core.types import ChallengeId, Channel, CustomerId
from chopmark.messaging.demo import InboxEntry
from chopmark.messaging.ports import Attachment, Purpose
from chopmark.store.engine.columns import moment, ms
from chopmark.store.engine.port import Engine
from chopmark.store.engine.script import Script, whole

_STORE = """
INSERT INTO inbox (id, channel, customer, challenge, facts, at)
VALUES (:id, :channel, :customer, :challenge, :facts, :at) ON CONFLICT (id) DO NOTHING
"""
_LIST = "SELECT id, channel, customer, challenge, facts, at FROM inbox ORDER BY at DESC, id LIMIT :most"


@dataclass(frozen=True, slots=True)
class InboxRepository:
    """Implements `messaging.demo.InboxPort` and lists what is there."""

    engine: Engine

    async def store(self, entry: InboxEntry) -> None:
        """Store the entry. A second one with the same message id changes nothing."""
        facts = {"purpose": entry.purpose.value, "masked": entry.masked, "subject": entry.subject, "body": entry.body}
        if entry.attachment is not None:
            content = b64encode(entry.attachment.content).decode()
            facts |= {
                "file": entry.attachment.name,
                "file_type": entry.attachment.content_type,
                "file_content": content,
            }

        def script() -> Script[None]:
            yield whole(
                _STORE,
                id=entry.message_id,
                channel=entry.channel.value,
                customer=entry.customer,
                challenge=entry.challenge,
                facts=json.dumps(facts, ensure_ascii=False),
                at=ms(entry.at),
            )

        await self.engine.run(script)

    async def newest(self, most: int) -> list[InboxEntry]:
        """Return the newest messages first."""

        def script() -> Script[list[InboxEntry]]:
            entries = []
            for row in (yield whole(_LIST, most=most)):
                facts = json.loads(row["facts"])
                entries.append(
                    InboxEntry(
                        row["id"],
                        Channel(row["channel"]),
                        CustomerId(row["customer"]),
                        None if row["challenge"] is None else ChallengeId(row["challenge"]),
                        Purpose(facts["purpose"]),
                        facts["masked"],
                        facts["subject"],
                        facts["body"],
                        moment(row["at"]),
                        _attachment(facts),
                    )
                )
            return entries

        return await self.engine.read(script)


def _attachment(facts: Mapping[str, str]) -> Attachment | None:
    """Return the file of a mail; a message that was stored by an earlier release has none."""
    if "file" not in facts:
        return None
    return Attachment(facts["file"], facts["file_type"], b64decode(facts["file_content"]))
