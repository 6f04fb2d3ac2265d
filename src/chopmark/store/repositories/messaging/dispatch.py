"""Read everything that a batch of messages is made of, at one moment and in one round trip."""

import json
from collections.abc import Iterable, Sequence

from chopmark.audit.record import StreamId
from chopmark.messaging.ports import OutboxJob, OutboxJobKind
from chopmark.ra.dispatch import Papers, stream_of
from chopmark.store.engine.port import Engine
from chopmark.store.engine.script import Query, Row, Script, at_once, query
from chopmark.store.repositories.identity.customers import contact_of
from chopmark.store.repositories.listed import LISTED
from chopmark.store.repositories.records import tip_of
from chopmark.store.repositories.stepup.challenges import challenge_of

_CONTACTS = """
SELECT customer, channel, version, value_sealed, destination_hash, verified_at, cool_until, disputed_at
FROM contacts WHERE customer {listed}
"""
_FORMER = """
SELECT customer, channel, version, value_sealed, destination_hash, verified_at, cool_until, disputed_at
FROM former_contacts WHERE customer {listed}
"""
_CHALLENGES = """
SELECT id, order_id, customer, channel, contact_version, nonce, kid, operation, spki, digits, reference, attempts,
  max_attempts, created_at, expires_at, resend_at, state
FROM challenges WHERE id {listed}
"""
_TIPS = "SELECT chain, version, tip FROM chains WHERE chain {listed}"


class DispatchRepository:
    """Implements `ra.dispatch.Dispatches`."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    async def papers(self, works: Sequence[OutboxJob]) -> Papers:
        """Return contacts, challenges and tips of audit streams for the messages of these rows."""
        listed = LISTED[self._engine.dialect]
        parts: tuple[Query, ...] = (
            query(_CONTACTS.format(listed=listed), listed=_list(work.customer for work in works)),
            query(_CHALLENGES.format(listed=listed), listed=_list(work.challenge for work in works)),
            query(_TIPS.format(listed=listed), listed=_list(map(stream_of, works))),
        )
        told = _list(work.customer for work in works if work.kind is OutboxJobKind.NOTICE)
        if told != _NOBODY:
            parts += (query(_FORMER.format(listed=listed), listed=told),)

        def script() -> Script[list[list[Row]] | None]:
            return (yield from at_once(*parts))

        contacts, challenges, tips, *former = await self._engine.read(script) or ([], [], [])
        return Papers(
            tuple(map(contact_of, contacts)),
            {one.id: one for one in map(challenge_of, challenges)},
            tuple(tip_of(StreamId(row["chain"]), [row]) for row in tips),
            tuple(contact_of(row) for rows in former for row in rows),
        )


_NOBODY = "[]"


def _list(values: Iterable[str | None]) -> str:
    return json.dumps(sorted({str(value) for value in values if value is not None}))
