"""Answers kept under their Idempotency-Key, so that a repeat gets the same one (I42)."""

from datetime import datetime

from chopmark.errors import Kind, Refusal
from chopmark.ra.ports import Answer
from chopmark.store.columns import ms
from chopmark.store.engine import Engine
from chopmark.store.script import Script, at_once, guard, query, whole
from chopmark.words import text

_BEGIN = """
INSERT INTO idempotency (scope, name, body_sha256, created_at) VALUES (:scope, :name, :body, :now)
ON CONFLICT (scope, name) DO UPDATE SET created_at = :now
  WHERE idempotency.status IS NULL AND idempotency.created_at < :stale AND idempotency.body_sha256 = :body
RETURNING name
"""
_GET = "SELECT body_sha256, status, answer FROM idempotency WHERE scope = :scope AND name = :name"
_FINISH = "UPDATE idempotency SET status = :status, answer = :answer WHERE scope = :scope AND name = :name"
_FORGET = "DELETE FROM idempotency WHERE scope = :scope AND name = :name AND status IS NULL"
IN_FLIGHT_MS = 10_000

OTHER_BODY = Refusal(
    Kind.CONFLICT, text("This request was already made with other contents. Please reload the page."), code="key_reused"
)
IN_FLIGHT = Refusal(
    Kind.CONFLICT, text("This is being done already. Please wait a moment."), code="in_flight", retry_after_s=1
)


class IdempotencyLedger:
    """Implements `ra.ports.Idempotency`."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    async def begin(self, scope: str, name: str, body_sha256: bytes, now: datetime) -> Answer | Refusal | None:
        """Return None for a first request, the stored answer for a repeat, or a Refusal."""

        def script() -> Script[Answer | Refusal | None]:
            stale = ms(now) - IN_FLIGHT_MS
            started = yield from at_once(
                guard(_BEGIN, scope=scope, name=name, body=body_sha256, now=ms(now), stale=stale)
            )
            if started is not None:
                return None
            row = (yield query(_GET, scope=scope, name=name))[0]
            if bytes(row["body_sha256"]) != body_sha256:
                return OTHER_BODY
            return IN_FLIGHT if row["status"] is None else Answer(row["status"], row["answer"])

        return await self._engine.run(script)

    async def finish(self, scope: str, name: str, answer: Answer) -> None:
        """Store the answer."""

        def script() -> Script[None]:
            yield whole(_FINISH, scope=scope, name=name, status=answer.status, answer=answer.body)

        await self._engine.run(script)

    async def forget(self, scope: str, name: str) -> None:
        """Drop a request that failed without an answer, so that it may be tried again."""

        def script() -> Script[None]:
            yield whole(_FORGET, scope=scope, name=name)

        await self._engine.run(script)
